//! A gradient so far, for a backward pass whose kernel adds to it what it makes: Burn would add the two in a pass of their
//! own.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::ops::FloatTensor;
use burn_autodiff::Autodiff;
use burn_autodiff::grads::Gradients;

use super::NeoBackend;

/// Takes out what others have registered for a node; the sum is to be registered in its place. `at_node` gives a tensor
/// that node, which has no name outside of Burn; `any` is a tensor of its backend.
pub(super) fn take<B: NeoBackend>(
    grads: &mut Gradients,
    any: &FloatTensor<B>,
    at_node: impl FnOnce(&mut FloatTensor<Autodiff<B>>),
) -> Option<FloatTensor<B>> {
    if !B::joins_products() {
        return None;
    }
    let mut tensor = Autodiff::<B>::from_inner(any.clone());
    at_node(&mut tensor);
    grads.remove::<B>(&tensor)
}
