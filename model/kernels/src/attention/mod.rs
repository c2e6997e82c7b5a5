//! Causal attention, global or windowed, with key padding. Queries are taken in blocks against the keys that a block can
//! see, so that the future and what lies before a window cost nothing, and no more than a block's scores exist at a time.
//!
//! For each head with queries Q `[queries, head size]`, keys K and values V `[keys, head size]`: `P = softmax(Q K^T)`
//! over the keys that a query sees, `O = P V`; the scores are not scaled. Backward, from the gradient dO: `dV = P^T dO`,
//! `dP = dO V^T`, `dS = P * (dP - rowsum(P * dP))`, `dQ = dS K`, `dK = dS^T Q`.
//!
//! A task's work does not depend on how many threads there are, so results do not either.

mod backward;
mod cached;
mod forward;
mod head;
mod inputs;
mod one_query;
mod softmax;

pub use self::backward::attention_backward;
pub use self::cached::{CachedAttention, cached_attention};
pub use self::forward::attention;
pub use self::inputs::{Attention, Tokens};
