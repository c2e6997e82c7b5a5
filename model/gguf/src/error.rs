//! What can be wrong with a GGUF file, or with what was to become one.

use std::io;

/// An error of writing or reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is none, or it is cut short or damaged.
    #[error("this is not a whole GGUF file: {0}")]
    Damaged(String),
    /// The file holds something that this crate does not read.
    #[error("this GGUF file is not read here: {0}")]
    Unsupported(String),
    /// What was to be written breaks the format's rules.
    #[error("this cannot be written as GGUF: {0}")]
    Unfit(String),
    /// The file has no such tensor.
    #[error("the GGUF file has no tensor {0}")]
    NoTensor(String),
}
