//! What a backend computes on.

use serde::Serialize;

/// A device that can be computed on.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// What its maker calls it.
    pub name: String,
    /// How it is reached, such as its driver; or that it is a CPU.
    pub kind: String,
    /// All of its memory; none where it does not tell.
    pub memory_bytes: Option<u64>,
    /// The most bytes of one tensor; none where only the memory bounds it.
    pub largest_tensor_bytes: Option<u64>,
    /// Whether software plays the GPU.
    #[serde(skip)]
    pub software: bool,
    /// Whether it trains in f16.
    pub f16: bool,
    /// Whether it trains in bf16.
    pub bf16: bool,
}
