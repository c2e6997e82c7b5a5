//! Layer norm with the checkpoint's own field names, `weight` and `bias`, so that no key is remapped.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::{NeoBackend, Precision, ops};

/// Layer norm over the last dimension: `(x - mean) / sqrt(variance + epsilon) * weight + bias`, with the
/// biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm<B: Backend> {
    /// Scale, `[hidden]`.
    pub weight: Param<Tensor<B, 1>>,
    /// Shift, `[hidden]`.
    pub bias: Param<Tensor<B, 1>>,
    #[module(skip)]
    epsilon: f64,
}

impl<B: Backend> LayerNorm<B> {
    /// Unit scale and zero shift.
    pub fn init(hidden: usize, epsilon: f64, device: &B::Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([hidden], device)),
            bias: Param::from_tensor(Tensor::zeros([hidden], device)),
            epsilon,
        }
    }
}

impl<B: NeoBackend> LayerNorm<B> {
    /// Normalises each row: `[batch, tokens, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, tokens, hidden] = x.dims();
        // [batch, tokens, hidden] -> [batch * tokens, hidden]
        let rows = x.reshape([batch * tokens, hidden]);
        self.forward_rows(rows, Precision::F32).reshape([batch, tokens, hidden])
    }

    /// Of rows, `[rows, hidden]` to the same shape, for products in these numbers: in their half type where the backend
    /// joins them.
    pub(crate) fn forward_rows(&self, rows: Tensor<B, 2>, precision: Precision) -> Tensor<B, 2> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        match precision.half().filter(|_| B::joins_products()) {
            Some(half) => ops::layer_norm_in_half(rows, weight, bias, self.epsilon, half),
            None => ops::layer_norm(rows, weight, bias, self.epsilon),
        }
    }
}
