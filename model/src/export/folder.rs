//! The Hugging Face folder of a GPT-2: `config.json`, `generation_config.json` and `model.safetensors`, all in float32.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::backend::Backend;
use gptneo_files::{FileError, read_small_text};
use safetensors::tensor::{Dtype as FileDtype, View};
use serde::Deserialize;
use serde_json::{Value, json};

use super::parameter::Parameter;
use super::shape::Gpt2Shape;
use super::{fold, rebuild};
use crate::checkpoint::{Found, TensorFile, WHOLE_FILE};
use crate::config::CONFIG_FILE;
use crate::device::failure;
use crate::{GptNeo, ModelError};

/// The file with the defaults of generation.
const GENERATION_FILE: &str = "generation_config.json";

/// Writes a model's first `positions` as a GPT-2 into a folder that exists.
///
/// # Errors
/// [`ModelError::Positions`] where the model has not so many; [`ModelError::Activation`]; an adapter that is not merged
/// yet; a file that cannot be written.
pub fn write_folder<B: Backend>(
    model: &GptNeo<B>,
    positions: usize,
    folder: &Path,
) -> Result<(), ModelError> {
    let shape = Gpt2Shape::of(model, positions)?;
    write_json(&folder.join(CONFIG_FILE), &config(&shape, model.config().initializer_range))?;
    let generation = match model.config().eos_token_ids.as_slice() {
        [] => json!({}),
        [id] => json!({ "bos_token_id": id, "eos_token_id": id }),
        ids => json!({ "bos_token_id": ids[0], "eos_token_id": ids }),
    };
    write_json(&folder.join(GENERATION_FILE), &generation)?;
    let path = folder.join(WHOLE_FILE);
    // One tensor is fetched at a time, when it is written.
    let tensors = Parameter::all(&shape).into_iter().map(|parameter| {
        (
            parameter.hugging_face(shape.tied),
            Lazy { model, shape: &shape, parameter, sizes: sizes(parameter, &shape) },
        )
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(tensors, Some(metadata), &path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => FileError::on("write", &path)(source).into(),
        other => ModelError::Format { path: path.clone(), reason: other.to_string() },
    })?;
    // Numbers of a failed device must not become a file.
    failure::check()
}

fn config(shape: &Gpt2Shape, range: f64) -> Value {
    let inner = (shape.inner != 4 * shape.hidden).then_some(shape.inner);
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": shape.vocabulary,
        "n_positions": shape.positions,
        "n_ctx": shape.positions,
        "n_embd": shape.hidden,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_inner": inner,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": shape.epsilon,
        "initializer_range": range,
        "scale_attn_weights": true,
        "scale_attn_by_inverse_layer_idx": false,
        "reorder_and_upcast_attn": false,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": shape.end_of_text,
        "eos_token_id": shape.end_of_text,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "float32",
        "use_cache": true,
    })
}

fn write_json(path: &Path, value: &Value) -> Result<(), ModelError> {
    Ok(std::fs::write(path, format!("{value:#}\n")).map_err(FileError::on("write", path))?)
}

/// The sizes in the file.
fn sizes(parameter: Parameter, shape: &Gpt2Shape) -> Vec<usize> {
    let mut sizes = parameter.shape(shape);
    if parameter.is_conv1d() {
        sizes.reverse();
    }
    sizes
}

/// A tensor whose values are worked out when they are written.
struct Lazy<'a, B: Backend> {
    model: &'a GptNeo<B>,
    shape: &'a Gpt2Shape,
    parameter: Parameter,
    sizes: Vec<usize>,
}

impl<B: Backend> View for Lazy<'_, B> {
    fn dtype(&self) -> FileDtype {
        FileDtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.sizes
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = fold::values(self.model, self.shape, self.parameter);
        let values = match (self.parameter.is_conv1d(), &self.sizes[..]) {
            (true, &[columns, rows]) => transposed(&values, rows, columns),
            _ => values,
        };
        Cow::Owned(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.sizes.iter().product::<usize>()
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let at = |index: usize| values[index % rows * columns + index / rows];
    (0..rows * columns).map(at).collect()
}

/// The fields of a GPT-2's `config.json` that its arithmetic needs.
#[derive(Deserialize)]
struct RawConfig {
    model_type: String,
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    activation_function: String,
    layer_norm_epsilon: f64,
    tie_word_embeddings: bool,
    eos_token_id: Option<u32>,
}

/// Reads a folder that [`write_folder`] wrote, as the network that computes what its GPT-2 does.
///
/// # Errors
/// A file is missing or damaged, or it is no such GPT-2; the first tensor that is missing or misshapen is named.
pub fn read_folder<B: Backend>(folder: &Path, device: &B::Device) -> Result<GptNeo<B>, ModelError> {
    let path = folder.join(CONFIG_FILE);
    let text = read_small_text(&path).map_err(FileError::on("read", &path))?;
    let format = |path: &Path, reason: String| ModelError::Format { path: path.into(), reason };
    let raw: RawConfig = serde_json::from_str(&text).map_err(|error| format(&path, error.to_string()))?;
    if raw.model_type != "gpt2" || raw.activation_function != "gelu_new" {
        let RawConfig { model_type, activation_function, .. } = raw;
        return Err(format(
            &path,
            format!("it is a {model_type} with {activation_function}, expected gpt2 with gelu_new"),
        ));
    }
    let shape = Gpt2Shape {
        hidden: raw.n_embd,
        inner: raw.n_inner.unwrap_or(4 * raw.n_embd),
        layers: raw.n_layer,
        heads: raw.n_head,
        vocabulary: raw.vocab_size,
        positions: raw.n_positions,
        epsilon: raw.layer_norm_epsilon,
        tied: raw.tie_word_embeddings,
        end_of_text: raw.eos_token_id,
    };
    let path = folder.join(WHOLE_FILE);
    let mut file = TensorFile::open(&path)?;
    let tensors: BTreeMap<String, Found> = file.entries().into_iter().collect();
    let read = |parameter: Parameter| {
        let name = parameter.hugging_face(shape.tied);
        let Some(Found::Tensor(found)) = tensors.get(&name) else {
            return Err(format(&path, format!("{name} is missing")));
        };
        let expected = sizes(parameter, &shape);
        if *found != expected {
            return Err(format(&path, format!("{name}: expected shape {expected:?}, found {found:?}")));
        }
        let values: Vec<f32> = file.read(&name)?.iter::<f32>().collect();
        Ok(match (parameter.is_conv1d(), &expected[..]) {
            (true, &[rows, columns]) => transposed(&values, rows, columns),
            _ => values,
        })
    };
    rebuild::rebuild(&shape, read, device)
}
