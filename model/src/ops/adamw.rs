//! AdamW (Loshchilov and Hutter 2019) on all parameters of a step together, and what is asked of their gradients before.
//!
//! With the gradient `g` after unscaling and clipping: `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
//! `p = (1 - rate decay) p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)`. The defaults go from tensor
//! to tensor; on a GPU that is some fifteen launches each, and most of them are small.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, FloatDType, Tensor, TensorMetadata, TensorPrimitive};

/// A parameter of any shape with all that belongs to it, each of that shape.
#[derive(Clone, Debug)]
pub struct AdamWTensors<F> {
    /// p.
    pub parameter: F,
    /// Its gradient, as the backward pass left it.
    pub gradient: F,
    /// m and v; none before the first step.
    pub moments: Option<[F; 2]>,
}

/// A parameter after a step, with its m and v.
#[derive(Clone, Debug)]
pub struct AdamWStep<F> {
    /// p.
    pub parameter: F,
    /// m and v.
    pub moments: [F; 2],
}

/// The numbers of a step.
#[derive(Clone, Copy, Debug)]
pub struct AdamWRule {
    /// What the gradients are multiplied with: one over the scale of the loss, where it was scaled.
    pub unscale: Option<f64>,
    /// The norm that all gradients together are brought down to where theirs is larger; 0 for any norm.
    pub max_norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// The first moment's decay.
    pub beta_1: f32,
    /// The second moment's decay.
    pub beta_2: f32,
    /// What keeps the divisor from zero.
    pub epsilon: f32,
    /// The parameters' decay.
    pub weight_decay: f32,
    /// t, from 1.
    pub time: usize,
}

impl AdamWRule {
    /// What the moments are divided by for having begun at zero.
    pub(super) fn corrections(&self) -> [f32; 2] {
        [self.beta_1, self.beta_2].map(|beta| 1.0 - beta.powi(self.time as i32))
    }

    /// What remains of a parameter before the update.
    pub(super) fn kept(&self) -> f64 {
        1.0 - self.rate * f64::from(self.weight_decay)
    }
}

/// What keeps the divisor of a clip from zero, as in PyTorch's `clip_grad_norm_`.
pub(super) const CLIP_EPSILON: f64 = 1e-6;

/// What the gradients are multiplied with so that their norm is at most `max_norm`; nothing where it is not above.
fn clip(norm: f64, max_norm: f64) -> Option<f64> {
    let factor = max_norm / (norm + CLIP_EPSILON);
    (max_norm > 0.0 && factor < 1.0).then_some(factor)
}

/// In one dimension: the arithmetic is elementwise.
fn flat<B: Backend>(tensor: FloatTensor<B>) -> Tensor<B, 1> {
    let count = tensor.shape().num_elements();
    Tensor::from_primitive(TensorPrimitive::Float(B::float_reshape(tensor, [count].into())))
}

/// m and v before the first step.
pub(super) fn no_moments<B: Backend>(parameter: &FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let device = B::float_device(parameter);
    [(); 2].map(|()| B::float_zeros(parameter.shape(), &device, FloatDType::F32))
}

/// The default of [`super::NeoBackend::adamw`].
pub(super) fn plain<B: Backend>(
    tensors: Vec<AdamWTensors<FloatTensor<B>>>,
    sums: FloatTensor<B>,
    rule: AdamWRule,
) -> Vec<AdamWStep<FloatTensor<B>>> {
    let sums: Vec<f64> = flat::<B>(sums).into_data().iter().collect();
    let [sum, not_finite] = [0, 1].map(|index| sums.get(index).copied().unwrap_or(f64::NAN));
    let (is_taken, clip) = (sum.is_finite() && not_finite < 1.0, clip(sum.sqrt(), rule.max_norm));
    let step = |tensors: AdamWTensors<FloatTensor<B>>| {
        let shape = tensors.parameter.shape();
        if !is_taken {
            let moments = tensors.moments.unwrap_or_else(|| no_moments::<B>(&tensors.parameter));
            return AdamWStep { parameter: tensors.parameter, moments };
        }
        let mut gradient = flat::<B>(tensors.gradient);
        for factor in [rule.unscale, clip].into_iter().flatten() {
            gradient = gradient * factor;
        }
        let new = [gradient.clone() * (1.0 - rule.beta_1), gradient.square() * (1.0 - rule.beta_2)];
        let [first, second] = match tensors.moments {
            None => new,
            Some([first, second]) => {
                let [of_first, of_second] = new;
                [flat::<B>(first) * rule.beta_1 + of_first, flat::<B>(second) * rule.beta_2 + of_second]
            }
        };
        let [correction_1, correction_2] = rule.corrections();
        let divisor = (second.clone() / correction_2).sqrt() + rule.epsilon;
        let delta = first.clone() / correction_1 / divisor;
        let mut parameter = flat::<B>(tensors.parameter);
        if rule.kept() != 1.0 {
            parameter = parameter * rule.kept();
        }
        let shaped = |tensor: Tensor<B, 1>| B::float_reshape(tensor.into_primitive().tensor(), shape.clone());
        AdamWStep { parameter: shaped(parameter - delta * rule.rate), moments: [first, second].map(shaped) }
    };
    tensors.into_iter().map(step).collect()
}

/// The default of [`super::NeoBackend::gradient_sums`].
pub(super) fn plain_sums<B: Backend>(gradients: Vec<FloatTensor<B>>, unscale: Option<f64>) -> FloatTensor<B> {
    let (mut sums, mut finite) = (Vec::new(), Vec::new());
    for gradient in gradients {
        let mut gradient = flat::<B>(gradient);
        if let Some(factor) = unscale {
            // Not `contains_nan`, which sums in the tensor's own type.
            finite.push(gradient.clone().is_finite().all());
            gradient = gradient * factor;
        }
        sums.push(gradient.square().sum());
    }
    let sum = Tensor::cat(sums, 0).sum();
    let met = match finite.is_empty() {
        true => Tensor::zeros([1], (&sum.device(), DType::F32)),
        false => Tensor::cat(finite, 0).all().bool_not().float().cast(DType::F32),
    };
    Tensor::cat(vec![sum.cast(DType::F32), met], 0).into_primitive().tensor()
}

#[cfg(test)]
mod tests;
