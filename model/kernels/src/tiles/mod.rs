//! Matrix products in tiles of bf16 with sums in f32, for processors whose units for that are many times faster than
//! those for f32.
//!
//! A factor enters a product in one or in three parts. One is the number rounded to bf16. Three, each the rounded rest
//! of those before, hold the 24 bits of an f32; of their nine products the six that matter are summed. What is left out
//! is at most 2^-23 of a product, so that the result is as good as one of f32 (Henry, Tang and Heinecke 2019,
//! "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations"), but at the ends of the
//! range: the units take numbers below 1.2e-38 for zero, and three parts of a factor above 3.39e38 give NaN.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_variables))]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
#[cfg(test)]
mod emulated;
mod native;
mod pack;
mod product;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod unit;

pub use self::native::TileUnit;
pub(crate) use self::pack::Values;
