//! What follows a product, with the layer's bias on the way: GELU, `y = gelu(x + b)`, or the sum with the residual stream,
//! `y = r + x + b`.
//!
//! A backend that joins them saves a pass over the product each, and takes the product in the half type that it was made
//! in: z = x + b and all that is made of it are f32 until y is rounded to the type of x, or is the stream's own. Backward,
//! from dy: `dx = dy gelu'(z)` or `dx = dy`, in the type of x; `db = colsum(dx)`; `dr = dy`.

use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::NeoBackend;

/// GELU of `x + bias`: `x` `[rows, columns]` to the same shape and type, `bias` `[columns]`.
pub fn biased_gelu<B: NeoBackend>(x: Tensor<B, 2>, bias: Tensor<B, 1>) -> Tensor<B, 2> {
    wrap(B::biased_gelu(unwrap(x), unwrap(bias)))
}

/// `residual + x + bias` in the type of the residual stream: `x` and `residual` `[rows, columns]`, `bias` `[columns]`.
pub fn biased_sum<B: NeoBackend>(
    x: Tensor<B, 2>,
    bias: Tensor<B, 1>,
    residual: Tensor<B, 2>,
) -> Tensor<B, 2> {
    wrap(B::biased_sum(unwrap(x), unwrap(bias), unwrap(residual)))
}

fn wrap<B: NeoBackend, const D: usize>(tensor: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

fn unwrap<B: NeoBackend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// `x + bias` in the type of the bias.
fn biased<B: NeoBackend>(x: FloatTensor<B>, bias: FloatTensor<B>) -> Tensor<B, 2> {
    let bias = wrap::<B, 1>(bias);
    wrap::<B, 2>(x).cast(bias.dtype()) + bias.unsqueeze()
}

/// The default of [`NeoBackend::biased_gelu`].
pub(super) fn plain_gelu<B: NeoBackend>(x: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = wrap::<B, 2>(x.clone()).dtype();
    unwrap(wrap::<B, 2>(B::gelu_new(unwrap(biased::<B>(x, bias)))).cast(dtype))
}

/// The default of [`NeoBackend::biased_gelu_backward`].
pub(super) fn plain_gelu_backward<B: NeoBackend>(
    x: FloatTensor<B>,
    bias: FloatTensor<B>,
    dy: FloatTensor<B>,
) -> FloatTensor<B> {
    let z = biased::<B>(x, bias);
    let dy = wrap::<B, 2>(dy);
    let (dtype, full) = (dy.dtype(), z.dtype());
    unwrap(wrap::<B, 2>(B::gelu_new_backward(unwrap(z), unwrap(dy.cast(full)))).cast(dtype))
}

/// The default of [`NeoBackend::biased_sum`].
pub(super) fn plain_sum<B: NeoBackend>(
    x: FloatTensor<B>,
    bias: FloatTensor<B>,
    residual: FloatTensor<B>,
) -> FloatTensor<B> {
    unwrap(biased::<B>(x, bias) + wrap::<B, 2>(residual))
}

/// The gradient of a bias from that of x.
fn of_bias<B: NeoBackend>(dx: Tensor<B, 2>, bias: &FloatTensor<B>) -> FloatTensor<B> {
    let full = wrap::<B, 1>(bias.clone()).dtype();
    unwrap(wrap::<B, 1>(B::column_sums(unwrap(dx))).cast(full))
}

/// GELU under autodiff.
pub(super) fn tracked_gelu<B: NeoBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let (nodes, x, bias) = ([x.node, bias.node], x.primitive, bias.primitive);
    match BiasedGelu.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::biased_gelu(x, bias)),
        OpsKind::Tracked(prep) => prep.finish((x.clone(), bias.clone()), B::biased_gelu(x, bias)),
    }
}

/// The sum under autodiff.
pub(super) fn tracked_sum<B: NeoBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    residual: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [x.node, bias.node, residual.node];
    let (x, bias, residual) = (x.primitive, bias.primitive, residual.primitive);
    match BiasedSum.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::biased_sum(x, bias, residual)),
        OpsKind::Tracked(prep) => {
            let dtype = wrap::<B, 2>(x.clone()).dtype();
            prep.finish((dtype, bias.clone()), B::biased_sum(x, bias, residual))
        }
    }
}

/// The backward pass of GELU.
#[derive(Debug)]
struct BiasedGelu;

impl<B: NeoBackend> Backward<B, 2> for BiasedGelu {
    /// x and the bias.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, bias) = ops.state;
        let [of_x, to_bias] = ops.parents;
        let dx = B::biased_gelu_backward(x, bias.clone(), dy);
        if let Some(node) = to_bias {
            grads.register::<B>(node.id, of_bias::<B>(wrap(dx.clone()), &bias));
        }
        if let Some(node) = of_x {
            grads.register::<B>(node.id, dx);
        }
    }
}

/// The backward pass of the sum.
#[derive(Debug)]
struct BiasedSum;

impl<B: NeoBackend> Backward<B, 3> for BiasedSum {
    /// The type of x, and the bias.
    type State = (burn::tensor::DType, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (dtype, bias) = ops.state;
        let [of_x, to_bias, of_residual] = ops.parents;
        if let Some(node) = to_bias {
            grads.register::<B>(node.id, of_bias::<B>(wrap(dy.clone()), &bias));
        }
        if let Some(node) = of_x {
            grads.register::<B>(node.id, unwrap(wrap::<B, 2>(dy.clone()).cast(dtype)));
        }
        if let Some(node) = of_residual {
            grads.register::<B>(node.id, dy);
        }
    }
}

#[cfg(test)]
mod tests;
