//! The GGUF file of a GPT-2. What is in the metadata beside the shape, such as the vocabulary, comes from the caller.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use burn::tensor::backend::Backend;
use gptneo_files::FileError;
use gptneo_gguf::{GgufError, Metadata, Reader, TensorInfo, TensorType, Value, write};
use serde::{Deserialize, Serialize};

use super::parameter::{Layer, Parameter, Part};
use super::shape::Gpt2Shape;
use super::{fold, rebuild};
use crate::device::failure;
use crate::{GptNeo, ModelError};

/// The number type of the matrices in a GGUF file. Norms, biases and positions are f32 in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GgufType {
    /// 32-bit floats: the weights as they are.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// 8-bit integers, 32 of which share a scale.
    Q8_0,
}

impl GgufType {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    fn tensor(self) -> TensorType {
        match self {
            Self::F32 => TensorType::F32,
            Self::F16 => TensorType::F16,
            Self::Q8_0 => TensorType::Q8_0,
        }
    }

    /// The number by which a file says what most of its tensors are.
    fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 7,
        }
    }
}

impl fmt::Display for GgufType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GgufType {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("type of a GGUF file", name, &Self::ALL.map(Self::name)))
    }
}

/// How the matrices of a file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Matrices in the type that was asked for.
    pub matrices: usize,
    /// Matrices in f16, because their rows are no multiple of the 32 values that share a scale in q8_0.
    pub in_f16_instead: usize,
}

/// Writes a model's first `positions` as a GPT-2 to the file at `path`, in place of one that may be there. `metadata`
/// come before those of the shape.
///
/// # Errors
/// As [`super::write_folder`]; or metadata that the format does not allow.
pub fn write_gguf<B: Backend>(
    model: &GptNeo<B>,
    positions: usize,
    kind: GgufType,
    mut metadata: Metadata,
    path: &Path,
) -> Result<Stored, ModelError> {
    let shape = Gpt2Shape::of(model, positions)?;
    metadata.extend(shape_metadata(&shape, kind));
    let parameters = Parameter::all(&shape);
    let tensors: Vec<TensorInfo> =
        parameters.iter().map(|parameter| tensor(*parameter, &shape, kind)).collect();
    let mut next = parameters.iter();
    let values = |_: &TensorInfo| -> Result<Vec<f32>, GgufError> {
        // Asked for in the order of the table.
        Ok(next.next().map(|parameter| fold::values(model, &shape, *parameter)).unwrap_or_default())
    };
    let mut file = BufWriter::new(File::create(path).map_err(FileError::on("write", path))?);
    write(&mut file, &metadata, &tensors, values).map_err(failed(path, "write"))?;
    file.flush().map_err(FileError::on("write", path))?;
    // Numbers of a failed device must not become a file.
    failure::check()?;
    let matrices: Vec<TensorType> = parameters
        .iter()
        .zip(&tensors)
        .filter(|(parameter, _)| parameter.is_quantised())
        .map(|(_, tensor)| tensor.kind)
        .collect();
    let asked = matrices.iter().filter(|found| **found == kind.tensor()).count();
    Ok(Stored { matrices: asked, in_f16_instead: matrices.len() - asked })
}

/// A parameter in the file's table.
fn tensor(parameter: Parameter, shape: &Gpt2Shape, kind: GgufType) -> TensorInfo {
    let sizes = parameter.shape(shape);
    let kind = match (parameter.is_quantised(), kind.tensor(), sizes.last()) {
        (false, ..) => TensorType::F32,
        // As llama.cpp's own conversion does.
        (true, TensorType::Q8_0, Some(row)) if !row.is_multiple_of(TensorType::Q8_0.block()) => {
            TensorType::F16
        }
        (true, asked, _) => asked,
    };
    TensorInfo { name: parameter.gguf(), shape: sizes, kind }
}

/// What readers need to know of the network, under the names of the format's own page on GPT-2.
fn shape_metadata(shape: &Gpt2Shape, kind: GgufType) -> Metadata {
    let mut metadata: Metadata = [
        ("gpt2.context_length", shape.positions),
        ("gpt2.embedding_length", shape.hidden),
        ("gpt2.block_count", shape.layers),
        ("gpt2.feed_forward_length", shape.inner),
        ("gpt2.attention.head_count", shape.heads),
    ]
    .map(|(name, size)| (name.to_string(), Value::U32(size as u32)))
    .into();
    metadata.push(("gpt2.attention.layer_norm_epsilon".into(), Value::F32(shape.epsilon as f32)));
    metadata.push(("general.file_type".into(), kind.file_type().into()));
    if kind == GgufType::Q8_0 {
        // The version of ggml's block layouts.
        metadata.push(("general.quantization_version".into(), 2_u32.into()));
    }
    metadata
}

/// Reads a file that [`write_gguf`] wrote, as the network that computes what its GPT-2 does.
///
/// # Errors
/// The file is missing or not whole, or it is no such GPT-2; the first tensor that is missing or misshapen is named.
pub fn read_gguf<B: Backend>(path: &Path, device: &B::Device) -> Result<GptNeo<B>, ModelError> {
    let file = File::open(path).map_err(FileError::on("read", path))?;
    let mut reader = Reader::new(BufReader::new(file)).map_err(failed(path, "read"))?;
    let shape = read_shape(&reader).map_err(|reason| ModelError::Format { path: path.into(), reason })?;
    let read = |parameter: Parameter| {
        let (name, expected) = (parameter.gguf(), parameter.shape(&shape));
        let found = reader.tensors().find(|tensor| tensor.name == name).map(|tensor| tensor.shape.clone());
        match found {
            Some(found) if found != expected => Err(ModelError::Format {
                path: path.into(),
                reason: format!("{name}: expected shape {expected:?}, found {found:?}"),
            }),
            _ => reader.values(&name).map_err(failed(path, "read")),
        }
    };
    rebuild::rebuild(&shape, read, device)
}

/// What the file says of its network.
fn read_shape<R: std::io::Read + std::io::Seek>(reader: &Reader<R>) -> Result<Gpt2Shape, String> {
    if reader.value("general.architecture") != Some(&Value::String("gpt2".into())) {
        return Err("its architecture is not gpt2".into());
    }
    let size = |name: &str| match reader.value(name) {
        Some(Value::U32(size)) => Ok(*size as usize),
        found => Err(format!("{name} is {found:?}, expected a number")),
    };
    let epsilon = match reader.value("gpt2.attention.layer_norm_epsilon") {
        Some(Value::F32(epsilon)) => f64::from(*epsilon),
        found => return Err(format!("gpt2.attention.layer_norm_epsilon is {found:?}, expected a number")),
    };
    let named = |layer: Layer| {
        let name = Parameter { layer, part: Part::Weight }.gguf();
        reader.tensors().find(|tensor| tensor.name == name)
    };
    let embedding = named(Layer::TokenEmbedding).ok_or("it has no token embedding")?;
    Ok(Gpt2Shape {
        hidden: size("gpt2.embedding_length")?,
        inner: size("gpt2.feed_forward_length")?,
        layers: size("gpt2.block_count")?,
        heads: size("gpt2.attention.head_count")?,
        vocabulary: embedding.shape[0],
        positions: size("gpt2.context_length")?,
        epsilon,
        tied: named(Layer::Head).is_none(),
        end_of_text: size("tokenizer.ggml.eos_token_id").ok().map(|id| id as u32),
    })
}

/// An error of the file at `path`.
fn failed(path: &Path, action: &'static str) -> impl Fn(GgufError) -> ModelError {
    move |error| match error {
        GgufError::Io(source) => FileError::on(action, path)(source).into(),
        other => ModelError::Format { path: path.into(), reason: other.to_string() },
    }
}
