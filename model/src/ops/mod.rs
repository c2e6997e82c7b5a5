//! The operations worth a formula of their own: a backend-extension trait whose defaults are plain Burn
//! operations, with a hand-written backward pass where autodiff would keep too much.
//!
//! A backend joins with an empty `impl`; one that has a faster kernel overrides the method it is faster at.

mod backends;
mod cross_entropy;
mod gelu;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};

pub use cross_entropy::{cross_entropy_sum, token_nll};
pub use gelu::gelu_new;

/// What GPT-Neo asks of a backend beyond Burn's own operations.
pub trait NeoBackend: Backend {
    /// GELU in its tanh form, elementwise; see [`gelu_new`].
    fn gelu_new(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::with_burn_operations::<Self>(x)
    }

    /// The summed cross-entropy of a linear head, `[1]`; see [`cross_entropy_sum`].
    ///
    /// Shapes: `hidden` `[rows, hidden]`, `weight` `[vocabulary, hidden]`, `targets` `[rows]`.
    fn cross_entropy_sum(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        cross_entropy::in_chunks::<Self>(hidden, weight, targets)
    }
}
