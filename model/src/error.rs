//! What can go wrong with a model folder, an adapter or a generation: each error says what was expected,
//! what was found and what to do.

use std::path::PathBuf;

use gptneo_files::FileError;

/// An error of the model crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A word that names none of the values that there are.
    #[error("{what} is {found:?}; expected {expected}")]
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
        "the weights take {size:.2} GB, but the device {device} has {memory:.2} GB: take a smaller model, a device \
         with more memory, or the backend flex",
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
        Self::Name { what, found: found.to_string(), expected: names.join(" or ") }
    }
}
