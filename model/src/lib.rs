//! GPT-Neo with LoRA on Burn, generic over the backend.
//!
//! [`GptNeo`] is the network. It comes from a configuration, with random weights, or from a Hugging Face folder
//! ([`checkpoint::load_model`]); it carries LoRA adapters in PEFT's format ([`adapter`]), computes in the
//! [`Precision`] and keeps its weights in the [`WeightFormat`] that it is told, and continues prompts
//! ([`generate::generate`]). It computes on any backend that is a [`NeoBackend`], and trains on `Autodiff` of one.
//!
//! ```
//! # #[cfg(feature = "ndarray")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use burn::tensor::{Int, Tensor};
//! use burn_ndarray::NdArray;
//! use gptneo_model::generate::{GenerationConfig, generate};
//! use gptneo_model::{GptNeo, GptNeoConfig};
//!
//! let config = GptNeoConfig::from_json(serde_json::from_str(
//!     r#"{
//!         "vocab_size": 50, "hidden_size": 16, "num_heads": 2, "num_layers": 2, "max_position_embeddings": 32,
//!         "attention_types": [[["global", "local"], 1]]
//!     }"#,
//! )?)?;
//! let device = Default::default();
//! let model = GptNeo::<NdArray>::init(&config, &device);
//!
//! // Two texts of three tokens: hidden states, then logits of each position.
//! let ids = Tensor::<NdArray, 2, Int>::from_data([[1, 2, 3], [4, 5, 6]], &device);
//! let hidden = model.hidden(ids);
//! assert_eq!(hidden.dims(), [2, 3, 16]);
//! assert_eq!(model.logits(hidden.reshape([6, 16])).dims(), [6, 50]);
//!
//! // The likeliest token, four times.
//! let config = GenerationConfig { max_new_tokens: 4, sampling: Default::default(), end_tokens: Vec::new() };
//! let continued = generate(&model, &[vec![1, 2, 3]], &config, |_, _| {})?;
//! assert_eq!(continued[0].ids.len(), 4);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "ndarray"))]
//! # fn main() {}
//! ```
//!
//! What is where:
//!
//! | | |
//! |---|---|
//! | the network, one idea a file | [`GptNeoConfig`], [`GptNeo`], [`Block`], [`SelfAttention`], [`Mlp`], [`LayerNorm`], [`LoraLinear`] |
//! | [`ops`] | the few operations that gain from a backward pass of their own: defaults in plain Burn, their autodiff, the backends |
//! | [`adapter`] | attaching, merging, PEFT's folder |
//! | [`checkpoint`] | Hugging Face folders, read in any of their formats and written |
//! | [`export`] | a GPT-Neo written as a GPT-2, as a Hugging Face folder or as GGUF |
//! | [`engine`] | many prompts at once: sequences that join and leave, adapters mixed, one cache |
//! | [`mod@generate`] | prompts to texts, and the choice of a token |
//! | [`device_failure`] | failures of a GPU that no call returns |
//! | [`small_medical`] | a small base of our own, as the bytes of its files |
//!
//! The crate reads and writes local files only. Its errors are [`ModelError`]. The CPU's kernels, on slices, are a crate of
//! their own, `gptneo-kernels`, those of GPUs are `gptneo-cubes`, what writes whole files and folders is `gptneo-files`, and
//! the GGUF format `gptneo-gguf`.

mod activations;
pub mod adapter;
mod attention;
mod base_weights;
mod block;
mod cache;
pub mod checkpoint;
mod config;
mod device;
mod dora;
pub mod engine;
mod error;
pub mod export;
pub mod generate;
mod gpt_neo;
mod lora;
mod mlp;
mod norm;
pub mod ops;
mod pass;
mod products;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod reference_tests;
mod sampling;
pub mod small_medical;
mod target;
mod then;
mod weight_format;

pub use activations::Activations;
pub use attention::SelfAttention;
pub use block::Block;
pub use config::{Activation, AttentionKind, GptNeoConfig, PublishedShape};
pub use device::failure as device_failure;
pub use error::ModelError;
pub use gpt_neo::{GptNeo, Transformer};
pub use lora::{Lora, LoraConfig, LoraLinear};
pub use mlp::Mlp;
pub use norm::LayerNorm;
pub use ops::{NeoBackend, Precision};
pub use sampling::{PenaltyScope, Sampler, SamplingConfig};
pub use target::{ModuleName, Target};
pub use weight_format::WeightFormat;
