//! Hugging Face model folders: reading any of their weight formats, writing safetensors.
//!
//! | file | key | here |
//! |---|---|---|
//! | all | `transformer.…`, `lm_head.weight` | the parameter at that path, unchanged |
//! | published checkpoints | `…attn.attention.bias`, `…attn.attention.masked_bias` | ignored: masks, worked out anew |
//! | tied models | `lm_head.weight` | ignored: it is `transformer.wte.weight` |
//!
//! Weights are float32 in memory whatever the file holds: Burn takes a file's type over the backend's, and mixed
//! types never promote.

mod shards;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};
use burn_store::pytorch::PytorchStore;
use burn_store::{ApplyError, ModuleSnapshot, ModuleStore, SafetensorsStore, TensorSnapshot};
use gptneo_files::{FileError, write_folder};
use safetensors::tensor::{Dtype as FileDtype, TensorView};
use serde::{Deserialize, Serialize};

pub use self::shards::{BadShardSize, INDEX_FILE, ShardSize, WHOLE_FILE};
use crate::error::list_problems;
use crate::{GptNeo, GptNeoConfig, ModelError, WeightFormat, device_failure};

/// Problems shown before the rest is only counted.
const PROBLEMS_SHOWN: usize = 30;

/// The number type of saved weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// Brain floats.
    Bf16,
}

impl Dtype {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The name in `config.json`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    pub(crate) fn file(self) -> FileDtype {
        match self {
            Self::F32 => FileDtype::F32,
            Self::F16 => FileDtype::F16,
            Self::Bf16 => FileDtype::BF16,
        }
    }

    /// Bytes of a number.
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    pub(crate) fn burn(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("number type", name, &Self::ALL.map(Self::name)))
    }
}

/// How weights are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveFormat {
    /// The number type.
    pub dtype: Dtype,
    /// The size that a file may have before the next is begun; one file for everything where there is none.
    pub max_shard_size: Option<ShardSize>,
}

impl From<Dtype> for SaveFormat {
    /// In one file.
    fn from(dtype: Dtype) -> Self {
        Self { dtype, max_shard_size: None }
    }
}

/// The weight files of a folder, the best format first.
///
/// # Errors
///
/// None of the known files is there, or an index names no shard.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let whole = folder.join(WHOLE_FILE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    for index in [INDEX_FILE, "pytorch_model.bin.index.json"] {
        let index = folder.join(index);
        if index.is_file() {
            return shards(&index);
        }
    }
    let pickle = folder.join("pytorch_model.bin");
    if pickle.is_file() { Ok(vec![pickle]) } else { Err(ModelError::NoWeights { path: folder.into() }) }
}

fn shards(index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(FileError::on("read", index))?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|error| ModelError::Format { path: index.into(), reason: error.to_string() })?;
    let mut files: Vec<String> = parsed.weight_map.into_values().collect();
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Err(ModelError::Format { path: index.into(), reason: "weight_map is empty".into() });
    }
    Ok(files.into_iter().map(|file| index.with_file_name(file)).collect())
}

/// Reads a model folder onto a device, as float32.
///
/// # Errors
///
/// A missing or unreadable file, a configuration that is not supported, or weights that do not fit: every
/// missing, unexpected and misshapen tensor is named in one error.
pub fn load_model<B: Backend>(folder: &Path, device: &B::Device) -> Result<GptNeo<B>, ModelError> {
    load_model_for(WeightFormat::F32, folder, device)
}

/// As [`load_model`], for [`GptNeo::with_weights`] of this format: token embedding and head come onto the device in the
/// type that they will be kept in, where it holds no larger one.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_model_for<B: Backend>(
    format: WeightFormat,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    load_model_of(&GptNeoConfig::from_file(&folder.join("config.json"))?, format, folder, device)
}

/// As [`load_model_for`], of a folder whose configuration was read already.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_model_of<B: Backend>(
    config: &GptNeoConfig,
    format: WeightFormat,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    load_into(GptNeo::init(config, device), folder, format.of_table())
}

/// Replaces all weights of a model without an adapter by those of a folder.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_weights<B: Backend>(model: GptNeo<B>, folder: &Path) -> Result<GptNeo<B>, ModelError> {
    load_into(model, folder, DType::F32)
}

/// Replaces all weights; token embedding and head are of type `table`.
fn load_into<B: Backend>(mut model: GptNeo<B>, folder: &Path, table: DType) -> Result<GptNeo<B>, ModelError> {
    let tied = model.config().tie_word_embeddings;
    let mut snapshots = BTreeMap::new();
    for file in weight_files(folder)? {
        snapshots.extend(read_tensors(&file)?);
    }
    snapshots.retain(|name, _| !is_ignored(name, tied));
    for name in ["transformer.wte.weight", "lm_head.weight"] {
        snapshots.entry(name.to_string()).and_modify(|tensor| *tensor = converted(tensor, table));
    }
    if !tied && !snapshots.contains_key("lm_head.weight") {
        return Err(ModelError::Config(
            "tie_word_embeddings is false, but the weights hold no lm_head.weight; \
             set tie_word_embeddings to true or add the head"
                .into(),
        ));
    }
    let result = model.apply(snapshots.into_values().collect(), None, None, true);
    let mut problems: Vec<String> =
        result.missing.iter().map(|(path, _)| format!("{path}: missing")).collect();
    problems.extend(result.unused.iter().map(|path| format!("{path}: unexpected")));
    problems.extend(result.errors.iter().map(|error| match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            format!("{path}: expected shape {expected:?}, found {found:?}")
        }
        other => other.to_string(),
    }));
    if problems.is_empty() {
        return Ok(model);
    }
    problems.sort();
    problems.dedup();
    Err(ModelError::Weights { path: folder.into(), problems: list_problems(&problems, PROBLEMS_SHOWN) })
}

/// Reads every weight back from the device and compares it with the folder that the model was loaded from.
///
/// # Errors
///
/// [`ModelError::Damaged`] with the first tensor that is not the file's in the type it is held in, bit for bit; or a
/// file cannot be read.
pub fn check_loaded<B: Backend>(model: &GptNeo<B>, folder: &Path) -> Result<(), ModelError> {
    let held: HashMap<String, TensorSnapshot> =
        model.collect(None, None, true).into_iter().map(|tensor| (tensor.full_path(), tensor)).collect();
    for file in weight_files(folder)? {
        for (name, tensor) in read_tensors(&file)? {
            // What the file holds beyond the network is not loaded.
            let Some(held) = held.get(&name) else { continue };
            let read = |tensor: &TensorSnapshot| {
                tensor.to_data().map_err(|error| ModelError::Format {
                    path: file.clone(),
                    reason: format!("{name}: {error}"),
                })
            };
            if read(held)?.as_bytes() != read(&converted(&tensor, held.dtype))?.as_bytes() {
                return Err(ModelError::Damaged { tensor: name, path: folder.into() });
            }
        }
    }
    Ok(())
}

/// Whether a key of the checkpoint holds nothing that the network reads; see the table above.
fn is_ignored(name: &str, tied: bool) -> bool {
    let buffer = [".attn.attention.bias", ".attn.attention.masked_bias"];
    buffer.iter().any(|suffix| name.ends_with(suffix)) || (tied && name == "lm_head.weight")
}

/// The tensors of one file, read when they are used and turned into float32.
pub(crate) fn read_tensors(file: &Path) -> Result<Vec<(String, TensorSnapshot)>, ModelError> {
    let format = |reason: String| ModelError::Format {
        path: file.into(),
        reason: format!("{reason}; the file may be cut short or of another kind: fetch it again"),
    };
    std::fs::File::open(file).map_err(FileError::on("read", file))?;
    let snapshots = if file.extension().is_some_and(|extension| extension == "safetensors") {
        let mut store = SafetensorsStore::from_file(file);
        store.get_all_snapshots().map_err(|error| format(error.to_string()))?.clone()
    } else {
        // A shard, and an adapter of some layers, holds few of them: their numbers must stay as they are.
        let mut store = PytorchStore::from_file(file).map_indices_contiguous(false);
        store.get_all_snapshots().map_err(|error| format(error.to_string()))?.clone()
    };
    Ok(snapshots.into_iter().map(|(name, tensor)| (name, converted(&tensor, DType::F32))).collect())
}

/// The tensor in another type, converted when it is read.
fn converted(tensor: &TensorSnapshot, dtype: DType) -> TensorSnapshot {
    let read = tensor.clone_data_fn();
    TensorSnapshot::from_closure(
        Rc::new(move || Ok(read()?.convert_dtype(dtype))),
        dtype,
        tensor.shape.clone(),
        tensor.path_stack.clone().unwrap_or_default(),
        tensor.container_stack.clone().unwrap_or_default(),
        tensor.tensor_id.unwrap_or_default(),
    )
}

/// Writes a model folder that transformers loads as it is: `config.json`, `generation_config.json`,
/// `model.safetensors` (or its shards and their index) and the extra files (the tokenizer's). The folder appears
/// whole or not at all.
///
/// # Errors
///
/// The model still carries an adapter (merge it first), or a file cannot be written.
pub fn save_model<B: Backend>(
    model: &GptNeo<B>,
    folder: &Path,
    format: impl Into<SaveFormat>,
    extra_files: &[(String, Vec<u8>)],
) -> Result<(), ModelError> {
    write_folder(folder, |path| {
        for (name, bytes) in extra_files {
            let file = path.join(name);
            std::fs::write(&file, bytes).map_err(FileError::on("write", file))?;
        }
        write_model(model, path, format)
    })
}

/// Writes the configuration and the weights of [`save_model`] into a folder that exists.
///
/// # Errors
///
/// As [`save_model`].
pub fn write_model<B: Backend>(
    model: &GptNeo<B>,
    path: &Path,
    format: impl Into<SaveFormat>,
) -> Result<(), ModelError> {
    let SaveFormat { dtype, max_shard_size } = format.into();
    if model.linears().any(|(_, _, linear)| linear.lora.is_some()) {
        return Err(ModelError::Lora(
            "the model still carries an adapter: merge it before it is saved whole".into(),
        ));
    }
    let config = model.config();
    write_json(&path.join("config.json"), &config.to_json(dtype.torch_name()))?;
    let mut generation = serde_json::Map::new();
    if let Some(id) = config.eos_token_id {
        generation.insert("bos_token_id".into(), id.into());
        generation.insert("eos_token_id".into(), id.into());
    }
    write_json(&path.join("generation_config.json"), &generation.into())?;
    let tensors = model.collect(None, None, true);
    let size = |tensor: &TensorSnapshot| (tensor.shape.num_elements() * dtype.bytes()) as u64;
    let sizes: Vec<u64> = tensors.iter().map(size).collect();
    let files = shards::split(&sizes, max_shard_size);
    let mut places = BTreeMap::new();
    for (number, indices) in files.iter().enumerate() {
        let file = shards::name(number + 1, files.len());
        let named = indices.iter().map(|&index| (tensors[index].full_path(), &tensors[index]));
        write_tensors(&path.join(&file), named, dtype)?;
        places.extend(indices.iter().map(|&index| (tensors[index].full_path(), file.clone())));
    }
    if files.len() > 1 {
        write_json(&path.join(INDEX_FILE), &shards::index(sizes.iter().sum(), places))?;
    }
    Ok(())
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), ModelError> {
    let text = format!("{value:#}\n");
    Ok(std::fs::write(path, text).map_err(FileError::on("write", path))?)
}

/// Writes named tensors as one safetensors file that transformers and PEFT accept (`format: pt`).
pub(crate) fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (String, &'a TensorSnapshot)>,
    dtype: Dtype,
) -> Result<(), ModelError> {
    let format = |reason: String| ModelError::Format { path: path.into(), reason };
    let mut data: Vec<(String, Vec<usize>, TensorData)> = Vec::new();
    for (name, tensor) in tensors {
        let values = tensor.to_data().map_err(|error| format(format!("{name}: {error}")))?;
        data.push((name, tensor.shape.to_vec(), values.convert_dtype(dtype.burn())));
    }
    // Numbers of a failed device must not become a file.
    device_failure::check()?;
    let views = data
        .iter()
        .map(|(name, shape, values)| {
            let view = TensorView::new(dtype.file(), shape.clone(), values.as_bytes())
                .map_err(|error| format(format!("{name}: {error}")))?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => FileError::on("write", path)(source).into(),
        other => format(other.to_string()),
    })
}
