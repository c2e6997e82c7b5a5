//! What is made of each number, or of each row, by itself: GELU, layer norm, cross-entropy, and the exponential and the
//! sums that these need.

mod cross_entropy;
mod exp;
mod gelu;
mod layer_norm;
mod reduce;

pub use self::cross_entropy::{cross_entropy, cross_entropy_gradients};
pub(crate) use self::exp::exp;
pub use self::gelu::{gelu, gelu_backward};
pub use self::layer_norm::{layer_norm, layer_norm_backward, layer_norm_input_gradient};
pub(crate) use self::reduce::{dot, largest, sum};
