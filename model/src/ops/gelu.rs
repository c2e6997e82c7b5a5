//! GELU in its tanh form, `gelu_new` (Hendrycks and Gimpel 2016):
//! `x/2 * (1 + tanh(u)) = x * sigmoid(2u)` with `u = sqrt(2/pi) * (x + 0.044715 x^3)`.
//!
//! The sigmoid form is the same function with one operation less.

use burn::tensor::activation::sigmoid;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use super::NeoBackend;

/// 2 sqrt(2 / pi).
const TWICE_ROOT: f64 = 1.595_769_121_605_730_8;
/// The cubic coefficient.
const CUBIC: f64 = 0.044_715;

/// GELU in its tanh form, elementwise: `[rows, columns]` to the same shape.
pub fn gelu_new<B: NeoBackend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(B::gelu_new(x.into_primitive().tensor())))
}

/// The default: plain Burn operations, which autodiff follows.
pub(super) fn with_burn_operations<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x));
    let slope = (x.clone().square() * CUBIC + 1.0) * TWICE_ROOT;
    (x.clone() * sigmoid(x * slope)).into_primitive().tensor()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn_flex::Flex;

    /// The tanh form in f64, for x = -3, -1, 0, 0.5, 4.
    #[test]
    fn equals_the_tanh_form() {
        let points = [-3.0f64, -1.0, 0.0, 0.5, 4.0];
        let x = Tensor::<Flex, 2>::from_data([points.map(|x| x as f32)], &Default::default());
        let found = gelu_new(x).to_data().to_vec::<f32>().unwrap();
        for (x, found) in points.iter().zip(found) {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let expected = 0.5 * x * (1.0 + u.tanh());
            assert!((f64::from(found) - expected).abs() < 1e-6, "{x}: {found} {expected}");
        }
    }
}
