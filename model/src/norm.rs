//! Layer norm with the checkpoint's own field names, `weight` and `bias`, so that no key is remapped.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

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

    /// Normalises each row: `[batch, tokens, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let (variance, mean) = x.clone().var_mean_bias(2);
        let normal = (x - mean) / (variance + self.epsilon).sqrt();
        normal * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}
