//! Products of a few rows with what follows them, for a backend that makes them in one go; see
//! [`NeoBackend::few_rows`]. Nothing here records gradients: autodiff backends have no such rows.

use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use super::NeoBackend;

/// What follows a product.
#[derive(Clone, Debug)]
pub enum Follow<F> {
    /// It is what is wanted.
    Nothing,
    /// GELU in its tanh form, of the sum with a bias `[out]`.
    Gelu(F),
    /// The sum with a bias `[out]` and the residual stream `[rows, out]`.
    Sum(F, F),
}

/// `x` `[rows, in]`, of at most [`NeoBackend::few_rows`] rows, times each of `weights` `[out, in]`, in f32.
pub fn few_rows_products<B: NeoBackend, const N: usize>(
    x: Tensor<B, 2>,
    weights: [Tensor<B, 2>; N],
) -> [Tensor<B, 2>; N] {
    let mut found = B::few_rows_products(unwrap(x), weights.map(unwrap).into(), Follow::Nothing).into_iter();
    std::array::from_fn(|index| match found.next() {
        Some(found) => wrap(found),
        None => panic!("a backend made {index} of {N} products"),
    })
}

/// `x` `[rows, in]`, of at most [`NeoBackend::few_rows`] rows, times `weight` `[out, in]`, and what follows, in f32.
pub fn few_rows_product<B: NeoBackend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    follow: Follow<FloatTensor<B>>,
) -> Tensor<B, 2> {
    wrap(only::<B>(B::few_rows_products(unwrap(x), vec![unwrap(weight)], follow)))
}

/// The product with one weight.
pub(super) fn only<B: NeoBackend>(products: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    let [y] = <[_; 1]>::try_from(products)
        .unwrap_or_else(|found| panic!("a backend made {} products with one weight", found.len()));
    y
}

/// The default of [`NeoBackend::few_rows_products`].
pub(super) fn plain<B: NeoBackend>(
    x: FloatTensor<B>,
    weights: Vec<FloatTensor<B>>,
    follow: Follow<FloatTensor<B>>,
) -> Vec<FloatTensor<B>> {
    let x = wrap::<B, 2>(x);
    let product = |weight| {
        let y = unwrap(x.clone().matmul(wrap::<B, 2>(weight).cast(x.dtype()).transpose()));
        match follow.clone() {
            Follow::Nothing => y,
            Follow::Gelu(bias) => B::biased_gelu(y, bias),
            Follow::Sum(bias, residual) => B::biased_sum(y, bias, residual),
        }
    };
    weights.into_iter().map(product).collect()
}

fn wrap<B: NeoBackend, const D: usize>(tensor: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

fn unwrap<B: NeoBackend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}
