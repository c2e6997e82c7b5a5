//! GPT-Neo's operations as CubeCL kernels, one source for every GPU: CUDA, Vulkan, Metal.
//!
//! The twin of `gptneo-kernels`, which has the CPU's. It knows handles, shapes and number types and no Burn: what calls it
//! allocates the outputs. All tensors are f32 unless a function says otherwise, and all but the logits are contiguous.
//! A kernel stands in a file of its own, under its formula; each uses what every GPU has: shared memory and barriers, no
//! subgroups and no atomics.

mod adamw;
mod attention;
mod biased;
mod cached_attention;
mod cross_entropy;
mod dropout;
mod few_rows;
mod gradient_sums;
mod layer_norm;
mod likeliest;
mod low_rank;
mod products;
mod reduce;
mod sums;

pub use adamw::{AdamWFactors, AdamWTensors, adamw};
pub use attention::{AttentionShape, attention, attention_backward};
pub use biased::{biased_gelu, biased_gelu_backward, biased_sum};
pub use cached_attention::cached_attention;
pub use cross_entropy::cross_entropy_rows;
pub use dropout::{DropoutRule, dropout_factors};
pub use few_rows::{FewRowsFollow, MOST_FEW_ROWS, few_rows};
pub use gradient_sums::gradient_sums;
pub use layer_norm::{layer_norm, layer_norm_backward, layer_norm_parameters};
pub use likeliest::likeliest;
pub use low_rank::{LARGEST_RANK, LowRankGradients, LowRankShape, add_low_rank, low_rank_backward};
pub use products::{product, product_by, product_ways};
pub use sums::column_sums;

/// A hash, in hexadecimal, of these sources and of the versions of cubecl and cubek that they are built with: compiled
/// kernels that are kept belong to one value of it.
pub const SOURCES: &str = env!("GPTNEO_CUBES_SOURCES");
