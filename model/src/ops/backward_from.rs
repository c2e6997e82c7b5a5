//! A backward pass that begins with a gradient which is there already: Burn's begins with ones, below a scalar.

use burn::tensor::{FloatDType, Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, unary};

use super::NeoBackend;

/// The gradients of all that `y` was made from, where `dy` is the gradient of `y`, of its shape.
///
/// It is the backward pass of `sum(y * dy)` without that product, and without `y`, whose memory is free before.
pub fn backward_from<B: NeoBackend, const D: usize>(
    y: Tensor<Autodiff<B>, D>,
    dy: Tensor<B, D>,
) -> Gradients {
    let (device, node) = (y.device(), y.into_primitive().tensor().node);
    let dy = dy.into_primitive().tensor();
    let nothing = B::float_zeros([1].into(), &device, FloatDType::F32);
    let below = match Given.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(nothing),
        OpsKind::Tracked(prep) => prep.finish(dy, nothing),
    };
    Tensor::<Autodiff<B>, 1>::from_primitive(TensorPrimitive::Float(below)).backward()
}

#[derive(Debug)]
struct Given;

impl<B: NeoBackend> Backward<B, 1> for Given {
    type State = B::FloatTensorPrimitive;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |_ones| ops.state);
    }
}

#[cfg(test)]
mod tests {
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn gradients_are_those_of_the_sum_of_y_times_its_gradient() {
        let device = Default::default();
        let x =
            || Tensor::<Autodiff<Flex>, 2>::from_floats([[0.5, -2.0], [3.0, 0.25]], &device).require_grad();
        let dy = Tensor::<Flex, 2>::from_floats([[1.0, -0.5], [0.125, 7.0]], &device);

        let (given, summed) = (x(), x());
        let found = given.grad(&backward_from(given.clone().exp(), dy.clone()));
        let sum = (summed.clone().exp() * Tensor::from_inner(dy)).sum();
        let wanted = summed.grad(&sum.backward());
        assert_eq!(found.map(Tensor::into_data), wanted.map(Tensor::into_data));
    }
}
