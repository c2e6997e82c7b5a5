//! Why a file's tensors cannot be read. The messages are phrases; whoever knows the file's name puts it in front.

use std::io;

/// An error of reading a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum PickleError {
    /// The system cannot read it.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is a file of another kind.
    #[error("it is {found}, expected a file of tensors that torch.save wrote: {remedy}")]
    Foreign {
        /// What it is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It was cut or altered.
    #[error("{0}; the file is damaged: fetch it again")]
    Damaged(String),
    /// It asks for more than files of weights do.
    #[error("{0}, more than a file of weights needs")]
    Limit(String),
    /// It holds something that is not read here.
    #[error("{0}")]
    Unsupported(String),
}

/// What helps where a file is of another kind.
pub(crate) const SAVE_AGAIN: &str =
    "save the model with transformers' save_pretrained, or fetch the file again";

impl PickleError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    pub(crate) fn foreign(found: impl Into<String>) -> Self {
        Self::Foreign { found: found.into(), remedy: SAVE_AGAIN }
    }
}
