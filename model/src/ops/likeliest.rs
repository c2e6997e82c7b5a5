//! The likeliest token of each row of logits.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Tensor, TensorPrimitive};

/// The default of [`super::NeoBackend::likeliest`].
pub(super) fn plain<B: Backend>(logits: FloatTensor<B>) -> IntTensor<B> {
    let logits = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(logits));
    let broken = logits.clone().is_nan().any_dim(1).squeeze_dim::<1>(1);
    logits.argmax(1).squeeze_dim::<1>(1).mask_fill(broken, -1).into_primitive()
}
