//! The head and its cross-entropy, a chunk of rows at a time: a product for the logits, a kernel that puts their gradient
//! in their place, a product for the hidden states' gradient.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Int, Tensor, TensorPrimitive};

use super::super::Precision;
use super::super::cross_entropy::{LIFT, chunks, is_half, logits, loss_type};
use super::{OnCubes, kernels};

/// The sum and its gradient with respect to `hidden`, under a head that is frozen.
pub(super) fn gradients<B: OnCubes>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    precision: Precision,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let hidden = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let weight = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(weight));
    let targets = Tensor::<B, 1, Int>::from_primitive(targets);
    let full = loss_type(hidden.dtype());
    // A half type takes the gradient of logits lifted.
    let lift = if is_half(hidden.dtype()) { LIFT } else { 1.0 };
    let (mut sums, mut of_hidden) = (Vec::new(), Vec::new());
    for (hidden, targets) in chunks(&hidden, &targets) {
        let logits = logits(hidden, weight.clone(), precision).into_primitive().tensor();
        let [gradient, nll] = kernels::cross_entropy_rows([logits, targets.into_primitive()], lift as f32);
        let gradient = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(gradient));
        sums.push(Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(nll)));
        of_hidden.push(gradient.matmul(weight.clone()));
    }
    let of_hidden = Tensor::cat(of_hidden, 0).cast(full);
    let of_hidden = if lift == 1.0 { of_hidden } else { of_hidden / lift };
    (Tensor::cat(sums, 0).sum().into_primitive().tensor(), of_hidden.into_primitive().tensor())
}
