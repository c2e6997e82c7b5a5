//! GELU in its tanh form, `gelu_new` (Hendrycks and Gimpel 2016):
//! `x/2 * (1 + tanh(u)) = x * sigmoid(2u)` with `u = sqrt(2/pi) * (x + 0.044715 x^3)`.
//!
//! The sigmoid form is the same function with one operation less. With `s = sigmoid(2u)` its derivative is
//! `s + x * s * (1 - s) * d(2u)/dx`. The backward pass keeps x alone and works the rest out again.

use burn::tensor::activation::sigmoid;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, unary};

use super::NeoBackend;

/// 2 sqrt(2 / pi).
const TWICE_ROOT: f64 = 1.595_769_121_605_730_8;
/// The cubic coefficient.
const CUBIC: f64 = 0.044_715;
/// Beyond it, either way, the derivative is within 1e-34 of 0 or 1, and x^2 may overflow in f16.
const SATURATED: f64 = 10.0;

/// GELU in its tanh form, elementwise: `[rows, columns]` to the same shape.
pub fn gelu_new<B: NeoBackend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(B::gelu_new(x.into_primitive().tensor())))
}

/// The default of [`NeoBackend::gelu_new`].
pub(super) fn forward<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x));
    let slope = (x.clone().square() * CUBIC + 1.0) * TWICE_ROOT;
    (x.clone() * sigmoid(x * slope)).into_primitive().tensor()
}

/// The default of [`NeoBackend::gelu_new_backward`].
pub(super) fn backward<B: Backend>(x: FloatTensor<B>, dy: FloatTensor<B>) -> FloatTensor<B> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x)).clamp(-SATURATED, SATURATED);
    let dy = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(dy));
    let square = x.clone().square();
    let slope = (square.clone() * CUBIC + 1.0) * TWICE_ROOT;
    let gate = sigmoid(x.clone() * slope);
    let inner = (square * (3.0 * CUBIC) + 1.0) * TWICE_ROOT;
    let of_gate = gate.clone() * (-gate.clone() + 1.0);
    (dy * (gate + x * of_gate * inner)).into_primitive().tensor()
}

/// GELU on an autodiff backend.
pub(super) fn tracked<B: NeoBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    match GeluNew.prepare::<C>([x.node.clone()]).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::gelu_new(x.primitive)),
        OpsKind::Tracked(prep) => prep.finish(x.primitive.clone(), B::gelu_new(x.primitive)),
    }
}

#[derive(Debug)]
struct GeluNew;

impl<B: NeoBackend> Backward<B, 1> for GeluNew {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |dy| B::gelu_new_backward(ops.state, dy));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{assert_close, differences, random, values};
    use super::*;
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    /// The tanh form in f64.
    fn tanh_form(x: f64) -> f64 {
        let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        0.5 * x * (1.0 + u.tanh())
    }

    /// Values and slopes from far below to far above zero.
    fn equals_the_tanh_form<B: NeoBackend>() {
        let points: Vec<f32> = (-400..=400).map(|x| x as f32 / 20.0).collect();
        let x = Tensor::<Autodiff<B>, 1>::from_data(points.as_slice(), &Default::default()).require_grad();
        let y = gelu_new(x.clone().unsqueeze());
        let exact: Vec<f64> = points.iter().map(|&x| f64::from(x)).collect();
        // Of f32's 6e-8, a few roundings.
        let expected: Vec<f64> = exact.iter().map(|&x| tanh_form(x)).collect();
        assert_close(&y.to_data(), &expected, 5e-7, "value");
        let expected = differences(&exact, |x| x.iter().copied().map(tanh_form).sum());
        // `1 - sigmoid` of the default is good to 6e-8, and is multiplied by up to 30.
        assert_close(&x.grad(&y.sum().backward()).unwrap().to_data(), &expected, 3e-6, "slope");
    }

    #[test]
    fn equals_the_tanh_form_on_flex_and_ndarray() {
        equals_the_tanh_form::<Flex>();
        equals_the_tanh_form::<NdArray>();
    }

    fn saturates<B: NeoBackend>() {
        let x = Tensor::<Autodiff<B>, 2>::from_data([[-1e30f32, -300.0, 300.0, 1e30]], &Default::default());
        let x = x.require_grad();
        let y = gelu_new(x.clone());
        assert_close(&y.to_data(), &[0.0, 0.0, 300.0, 1e30], 1e-6, "value");
        let slope = x.grad(&y.sum().backward()).unwrap().to_data();
        assert_close(&slope, &[0.0, 0.0, 1.0, 1.0], 1e-34, "slope");
    }

    #[test]
    fn slopes_far_out_are_zero_and_one() {
        saturates::<Flex>();
        saturates::<NdArray>();
    }

    /// The output and, for the loss `sum(y^2)`, the gradient.
    fn outcome<B: Backend>(
        shape: [usize; 2],
        gelu: impl Fn(Tensor<Autodiff<B>, 2>) -> Tensor<Autodiff<B>, 2>,
    ) -> [Vec<f64>; 2] {
        let x = random::<Autodiff<B>, 2>(shape, 5).mul_scalar(2.0).require_grad();
        let y = gelu(x.clone());
        let gradient = x.grad(&y.clone().square().sum().backward()).unwrap();
        [values(&y.to_data()), values(&gradient.to_data())]
    }

    #[test]
    fn equals_what_autodiff_finds_in_the_default() {
        for shape in [[1, 1], [1, 37], [37, 1], [1000, 37], [3, 20_000]] {
            let plain = |x: Tensor<Autodiff<NdArray>, 2>| {
                let y = forward::<Autodiff<NdArray>>(x.into_primitive().tensor());
                Tensor::from_primitive(TensorPrimitive::Float(y))
            };
            let expected = outcome::<NdArray>(shape, plain);
            for found in [outcome::<Flex>(shape, gelu_new), outcome::<NdArray>(shape, gelu_new)] {
                for (found, expected) in found.iter().zip(&expected) {
                    let found = burn::tensor::TensorData::new(found.clone(), [found.len()]);
                    assert_close(&found, expected, 2e-6, &format!("{shape:?}"));
                }
            }
        }
    }
}
