//! GPT-Neo's operations on slices of f32, for the CPU: each makes one pass over memory, on all threads, in code compiled
//! for what the processor can do.
//!
//! | operation | forward | backward |
//! |---|---|---|
//! | causal attention, global or windowed | [`attention()`] | [`attention_backward`] |
//! | attention to a cache that many texts share | [`cached_attention`] | |
//! | linear layer, with or without a low-rank part | [`linear()`] | [`linear_backward`], [`linear_input_gradient`] |
//! | the weight of a linear layer | | [`linear_weight_gradient`] |
//! | low-rank part alone | [`add_low_rank`] | [`low_rank_backward`] |
//! | lengths of an updated weight's rows | [`updated_row_norms`] | |
//! | layer norm | [`layer_norm`] | [`layer_norm_backward`], [`layer_norm_input_gradient`] |
//! | GELU in its tanh form | [`gelu`] | [`gelu_backward`] |
//! | cross-entropy of logits | [`cross_entropy`] | [`cross_entropy_gradients`] |
//!
//! Matrices are slices in row-major order. A [`Weight`] may be stored in bf16 or in bytes with a scale for each block; a
//! [`TileUnit`] multiplies bf16 where the processor has such a unit. The processor is asked at run time: the same program
//! uses AMX, AVX-512, AVX2 or neither. No result depends on the number of threads.
//!
//! A layer of two inputs and three outputs, and the gradient of its input:
//!
//! ```
//! use gptneo_kernels::{Linear, Weight, gelu, linear, linear_input_gradient};
//!
//! let weight = Weight::F32(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]); // [3, 2]
//! let layer = Linear {
//!     x: &[2.0, 5.0], // [1, 2]
//!     weight,
//!     bias: Some(&[0.0, 0.0, -7.0]),
//!     low_rank: None,
//!     unit: None,
//!     rows: 1,
//!     input: 2,
//!     output: 3,
//! };
//! let y = linear(&layer);
//! assert_eq!(y, [2.0, 5.0, 0.0]);
//! assert_eq!(gelu(&y)[2], 0.0);
//!
//! let of_x = linear_input_gradient(weight, layer.unit, &[1.0, 10.0, 100.0], [1, 3, 2]);
//! assert_eq!(of_x, [101.0, 110.0]);
//! ```
//!
//! The rooms: `attention`, `linear` and `rows` hold the operations, `products` and `tiles` the matrix products beneath
//! them, `memory` buffers and prefetching, `tasks` how work is cut and handed to threads. All `unsafe` code is in
//! `memory`, `tiles`, where `products` name an instruction, and where a kernel fills a buffer that was not cleared, each with
//! what it relies on.

mod attention;
mod linear;
mod memory;
mod products;
mod rates;
mod registers;
mod rows;
mod tasks;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tiles;

pub use attention::{Attention, CachedAttention, Tokens, attention, attention_backward, cached_attention};
pub use linear::{
    Linear, LinearGradients, LowRank, SeededDropout, add_low_rank, linear, linear_backward,
    linear_input_gradient, linear_weight_gradient, low_rank_backward, updated_row_norms,
};
pub use products::{FEW as FEW_ROWS, Weight};
pub use rates::multiply_adds;
pub use registers::{Registers, register_bits};
pub use rows::{
    cross_entropy, cross_entropy_gradients, gelu, gelu_backward, layer_norm, layer_norm_backward,
    layer_norm_input_gradient,
};
pub use tiles::TileUnit;
