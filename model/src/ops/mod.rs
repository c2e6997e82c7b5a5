//! The operations worth a formula of their own: a backend-extension trait whose defaults are plain Burn
//! operations, with a hand-written backward pass where autodiff would keep too much.
//!
//! A backend joins with an empty `impl`; one that has a faster kernel overrides the method it is faster at.

mod adamw;
mod attention;
mod autodiff;
mod backends;
mod backward_from;
mod biased;
mod cached_attention;
mod cross_entropy;
#[cfg(feature = "cubes")]
mod cube;
mod dora;
mod draws;
mod dropout;
mod embedding;
mod few_rows;
#[cfg(feature = "flex")]
mod flex;
mod gelu;
mod layer_norm;
mod likeliest;
mod linear;
mod neo_backend;
mod precision;
mod reading;
mod so_far;
#[cfg(test)]
mod testing;

pub use adamw::{AdamWRule, AdamWStep, AdamWTensors};
pub use attention::{AttentionRule, causal_attention};
pub use backward_from::backward_from;
pub use biased::{biased_gelu, biased_sum};
pub use cached_attention::{CachedText, CachedTexts, appended_attention, cached_attention};
pub(crate) use cross_entropy::CHUNK as HEAD_ROWS;
pub use cross_entropy::{cross_entropy_sum, token_nll};
#[cfg(feature = "cubes")]
pub use cube::{OnCubes, product_by};
pub(crate) use dora::row_norms;
pub use dora::{dropped, updated_row_norms};
pub use draws::Draws;
pub use dropout::Dropout;
pub use embedding::embedding_rows;
pub use few_rows::{Follow, few_rows_product, few_rows_products};
pub use gelu::gelu_new;
#[cfg(feature = "cubes")]
pub use gptneo_cubes::{SOURCES as KERNEL_SOURCES, product_ways};
pub use layer_norm::{layer_norm, layer_norm_in_half};
pub use linear::{
    LinearGradients, LinearInputs, LinearWeights, LoraInputs, LoraUpdate, add_low_rank, linear,
    linear_drawing,
};
pub use neo_backend::NeoBackend;
pub use precision::Precision;
pub use reading::Reading;

/// The fewest rows of a pass of whole blocks over prompts; it has a multiple of these.
pub(crate) const WIDE_ROWS: usize = 64;

/// The most rows that go through a backend without kernels of its own beside rows that are decoded.
const PLAIN_NARROW_ROWS: usize = 512;

/// Whether an operation's own weights are trained: then its backward pass makes their gradients as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// They stay as they are, and get no gradient.
    Frozen,
    /// They get gradients.
    Trained,
}

impl Parameters {
    /// As what they are used for says.
    pub(crate) fn trained_if(trained: bool) -> Self {
        if trained { Self::Trained } else { Self::Frozen }
    }

    /// Whether they get gradients.
    pub fn are_trained(self) -> bool {
        self == Self::Trained
    }
}
