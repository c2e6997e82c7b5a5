//! What can go wrong with a model folder, an adapter or a generation: each error says what was expected,
//! what was found and what to do.

use std::path::{Path, PathBuf};

use gptneo_files::{FileError, excerpt, is_git_lfs_pointer};
use serde_json::{Map, Value};

/// Problems of a file that an error shows before it only counts the rest.
pub(crate) const PROBLEMS_SHOWN: usize = 30;

/// An error of the model crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A word that names none of the values that there are.
    #[error("{what} is \"{found}\"; expected {expected}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The word.
        found: String,
        /// The names that there are.
        expected: String,
    },
    /// A JSON file does not hold what it should.
    #[error("{path} is not what was expected: {reason}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model configuration that this program does not implement.
    #[error("this GPT-Neo configuration is not supported: {0}")]
    Config(String),
    /// As [`ModelError::Config`], with the file that holds it.
    #[error("the GPT-Neo configuration in {path} is not supported: {reason}", path = path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Everything that is not supported.
        reason: String,
    },
    /// A weight that the number type of a file cannot hold.
    #[error("{tensor} holds {value:e}, which is too large for {dtype}: write the weights as f32 or bf16")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// The weight.
        value: f32,
        /// The type's name.
        dtype: &'static str,
    },
    /// A LoRA adapter takes more than all memory of a device.
    #[error(
        "an adapter of this rank takes {size:.2} GB to train, but {device} has {memory:.2} GB",
        size = *size as f64 / 1e9,
        memory = *memory as f64 / 1e9
    )]
    AdapterTooLarge {
        /// Its bytes.
        size: u64,
        /// The device's name.
        device: String,
        /// Its bytes.
        memory: u64,
    },
    /// A folder without weights.
    #[error(
        "no weights in {path}: expected model.safetensors, model.safetensors.index.json or pytorch_model.bin",
        path = path.display()
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// Tensors that are missing, unexpected or of another shape: all of them at once.
    #[error("the weights in {path} do not fit the model:\n{problems}", path = path.display())]
    Weights {
        /// The file or folder.
        path: PathBuf,
        /// A line per tensor.
        problems: String,
    },
    /// An adapter configuration that this program does not implement.
    #[error("the adapter in {path} is not supported: {reason}", path = path.display())]
    Adapter {
        /// The adapter's folder.
        path: PathBuf,
        /// What is not supported and what to do.
        reason: String,
    },
    /// LoRA settings that make no sense.
    #[error("these LoRA settings do not work: {0}")]
    Lora(String),
    /// Products in numbers that the device cannot compute in.
    #[error(
        "the precision is {precision}, but the backend {backend} cannot compute in it on this device: take another \
         precision (f32 always works) or another backend"
    )]
    Precision {
        /// The precision's name.
        precision: &'static str,
        /// The backend's name.
        backend: String,
    },
    /// A prompt or a generation setting that does not work.
    #[error("{0}")]
    Generation(String),
    /// An answer that broke off though what was asked is right, as where the model's output is not a number.
    #[error("{0}")]
    Unanswered(String),
    /// A device failed while it computed; see [`crate::device_failure`].
    #[error(
        "the device failed, and what it computed since is worth nothing: {0}. Where memory is short, lower \
         the batch size or the longest length, or take another device"
    )]
    Device(String),
    /// An export with more positions than the model has, or too few to be of use.
    #[error("the export would have {found} positions; expected {fewest} to {most}, the model's own")]
    Positions {
        /// The positions asked for.
        found: usize,
        /// The fewest that make sense.
        fewest: usize,
        /// The model's.
        most: usize,
    },
    /// An export of a model whose activation, of this name, is not the tanh form of GELU.
    #[error(
        "the model's activation_function is \"{0}\", but a GPT-2 of other engines computes \"gelu_new\", the tanh form of \
         GELU: the export would be another model; use this one here or in transformers"
    )]
    Activation(String),
    /// A tensor is larger than anything that a device can hold in one piece.
    #[error(
        "{tensor} {shape:?} takes {size:.1} MB, but the device {device} holds at most {limit:.1} MB in one piece: \
         {remedy}",
        size = *size as f64 / 1e6,
        limit = *limit as f64 / 1e6
    )]
    TooLarge {
        /// What the tensor is.
        tensor: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Its bytes.
        size: u64,
        /// The device's name.
        device: String,
        /// The most bytes of one tensor there.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The weights take more than all memory of a device.
    #[error(
        "the weights take {size:.2} GB, but {device} has {memory:.2} GB: take a smaller model, or a device with more \
         memory",
        size = *size as f64 / 1e9,
        memory = *memory as f64 / 1e9
    )]
    WeightsTooLarge {
        /// Their bytes.
        size: u64,
        /// The device's name.
        device: String,
        /// Its bytes.
        memory: u64,
    },
    /// Weights that a device holds are not those of the files.
    #[error(
        "{tensor} was loaded, but the device holds other numbers than the files in {path}: the device or its driver is \
         at fault. Use another one, or the backend flex",
        path = path.display()
    )]
    Damaged {
        /// The first such tensor.
        tensor: String,
        /// The model's folder.
        path: PathBuf,
    },
}

/// The object that a JSON file holds.
///
/// # Errors
///
/// It is a pointer of Git LFS, no JSON, or something else.
pub(crate) fn json_object(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, ModelError> {
    let refuse = |reason: String| ModelError::Format { path: path.into(), reason };
    if is_git_lfs_pointer(bytes) {
        let what = "it is a pointer of Git LFS, which stands for a file that was not fetched: git lfs pull fetches it";
        return Err(refuse(what.into()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(refuse(format!("expected a JSON object, found {}", shown(&other)))),
        Err(error) => Err(refuse(format!("expected a JSON object: {}", excerpt(&error.to_string())))),
    }
}

/// A value of a file, short enough for a message.
pub(crate) fn shown(value: &Value) -> String {
    excerpt(&value.to_string())
}

/// Joins at most `limit` lines and counts the rest, so that a list of problems stays readable.
pub(crate) fn list_problems(problems: &[String], limit: usize) -> String {
    let mut text: String =
        problems.iter().take(limit).map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n");
    if problems.len() > limit {
        text.push_str(&format!("\n  ... and {} more", problems.len() - limit));
    }
    text
}

impl ModelError {
    /// A [`ModelError::Name`] for a word that is none of `names`.
    pub(crate) fn name(what: &'static str, found: &str, names: &[&str]) -> Self {
        Self::Name { what, found: excerpt(found), expected: names.join(" or ") }
    }
}
