//! What DoRA asks of a layer beside its products (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation"): the
//! lengths of the rows of the updated weight, which its section 4.3 takes for constants, and dropout by itself.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use super::{Draws, LoraUpdate, NeoBackend, dropout};

/// The length of each row of `W + scale * B A`, `[out]`, of a weight `[out, in]` in whatever it is kept. No gradient goes
/// through it.
pub fn updated_row_norms<B: NeoBackend>(weight: Tensor<B, 2>, update: &LoraUpdate<B>) -> Tensor<B, 1> {
    let [a, b] = [&update.a, &update.b].map(|matrix| matrix.clone().into_primitive().tensor());
    let norms = B::updated_row_norms(weight.into_primitive(), a, b, update.scale);
    Tensor::from_primitive(TensorPrimitive::Float(norms))
}

/// The default of [`NeoBackend::updated_row_norms`].
pub(super) fn plain_row_norms<B: Backend>(
    weight: TensorPrimitive<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    scale: f64,
) -> FloatTensor<B> {
    let [a, b] = [a, b].map(|matrix| Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(matrix)));
    let weight = Tensor::<B, 2>::from_primitive(weight).cast(a.dtype());
    row_norms(weight + b.matmul(a) * scale).into_primitive().tensor()
}

/// The length of each row of a matrix `[out, in]`, `[out]`.
pub(crate) fn row_norms<B: Backend>(matrix: Tensor<B, 2>) -> Tensor<B, 1> {
    matrix.square().sum_dim(1).squeeze_dim::<1>(1).sqrt()
}

/// `x` `[rows, in]` with elements dropped as `draws` says, and the others raised for it; none where nothing is dropped:
/// with a probability of 0, and on a backend that records no gradients.
pub fn dropped<B: NeoBackend>(
    x: &Tensor<B, 2>,
    probability: f64,
    draws: &mut Draws<B>,
) -> Option<Tensor<B, 2>> {
    let drops = probability > 0.0 && B::ad_enabled(&x.device());
    drops.then(|| {
        let dropout = draws.next(&x.clone().into_primitive().tensor(), probability);
        x.clone() * dropout::factors(dropout, x)
    })
}
