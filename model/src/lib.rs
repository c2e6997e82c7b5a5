//! GPT-Neo with LoRA on Burn, generic over the backend.
//!
//! The network ([`GptNeo`]) reads and writes Hugging Face model folders ([`checkpoint`]), carries LoRA
//! adapters in PEFT's format ([`adapter`]) and continues prompts with a KV cache ([`generate`]). The few
//! operations that gain from a backward pass of their own are in [`ops`].

pub mod adapter;
mod attention;
mod block;
mod cache;
pub mod checkpoint;
mod config;
pub mod device_failure;
mod error;
pub mod generate;
mod gpt_neo;
mod lora;
mod mlp;
mod norm;
pub mod ops;
mod products;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference_tests;
mod sampling;
mod target;
mod tensor_sizes;
mod weight_format;

pub use attention::SelfAttention;
pub use block::Block;
pub use cache::KvCache;
pub use config::{AttentionKind, GptNeoConfig};
pub use error::ModelError;
pub use gpt_neo::{GptNeo, Transformer};
pub use lora::{Lora, LoraConfig, LoraLinear};
pub use mlp::Mlp;
pub use norm::LayerNorm;
pub use ops::{NeoBackend, Precision};
pub use sampling::{Sampler, SamplingConfig};
pub use target::{ModuleName, Target};
pub use weight_format::WeightFormat;
