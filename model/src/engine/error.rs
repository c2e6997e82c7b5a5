//! Why the engine takes no request, or does not start.

use crate::ModelError;

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// As many requests as are allowed run or wait already.
    #[error("{limit} requests run or wait already, which is as many as are allowed: ask again later")]
    QueueFull {
        /// Requests that may run or wait together.
        limit: usize,
    },
    /// The engine finishes what it has and takes nothing new.
    #[error("no more requests are taken: the engine is ending")]
    Closed,
    /// The engine broke down.
    #[error("the engine broke down and answers nothing more: {0}")]
    Failed(String),
    /// A name that no adapter has.
    #[error("there is no adapter {name:?}; there are: {known}")]
    UnknownAdapter {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// More tokens than the cache can ever hold.
    #[error(
        "the prompt and its new tokens take {needed} tokens of the cache, which holds {limit}: shorten the prompt, ask for \
         fewer new tokens or enlarge the cache"
    )]
    CacheTooSmall {
        /// Tokens that the request may need.
        needed: usize,
        /// Tokens that there are in all.
        limit: usize,
    },
    /// A request that makes no sense for this model.
    #[error("{0}")]
    Request(String),
}

impl From<ModelError> for EngineError {
    fn from(error: ModelError) -> Self {
        Self::Request(error.to_string())
    }
}
