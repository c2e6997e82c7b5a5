//! Layer norm (Ba, Kiros and Hinton 2016) of rows: `y = n * weight + bias` with `n = (x - mean) * rstd` and
//! `rstd = 1 / sqrt(variance + epsilon)`, mean and biased variance over the row.
//!
//! With `g = dy * weight`: `dx = rstd * (g - mean(g) - n * mean(g * n))`; `dweight` is the sum of `dy * n` over the
//! rows, `dbias` that of `dy`. The backward pass keeps x alone and works mean and rstd out again.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{NeoBackend, Parameters, so_far};

/// Layer norm of each row: `x` `[rows, hidden]` to the same shape, `weight` and `bias` `[hidden]`.
pub fn layer_norm<B: NeoBackend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 2> {
    let [x, weight, bias] =
        [x.into_primitive().tensor(), weight.into_primitive().tensor(), bias.into_primitive().tensor()];
    Tensor::from_primitive(TensorPrimitive::Float(B::layer_norm_rows(x, weight, bias, epsilon)))
}

/// As [`layer_norm`], rounded to a half type.
pub fn layer_norm_in_half<B: NeoBackend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
    half: DType,
) -> Tensor<B, 2> {
    let [x, weight, bias] =
        [x.into_primitive().tensor(), weight.into_primitive().tensor(), bias.into_primitive().tensor()];
    Tensor::from_primitive(TensorPrimitive::Float(B::layer_norm_rows_in(x, weight, bias, epsilon, half)))
}

/// The default of [`NeoBackend::layer_norm_rows`].
pub(super) fn forward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x));
    let weight = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(weight));
    let bias = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(bias));
    let (normal, _) = normalised(x, epsilon);
    (normal * weight.unsqueeze() + bias.unsqueeze()).into_primitive().tensor()
}

/// The default of [`NeoBackend::layer_norm_rows_backward`].
pub(super) fn backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    dy: FloatTensor<B>,
    epsilon: f64,
    parameters: Parameters,
) -> (FloatTensor<B>, Option<[FloatTensor<B>; 2]>) {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x));
    let weight = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(weight));
    let dy = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(dy)).cast(x.dtype());
    let [_, hidden] = x.dims();
    let (normal, deviation) = normalised(x, epsilon);
    let of_parameters = parameters.are_trained().then(|| {
        let of_weight = (dy.clone() * normal.clone()).sum_dim(0);
        // [1, hidden] -> [hidden]
        [of_weight, dy.clone().sum_dim(0)].map(|sum| sum.reshape([hidden]).into_primitive().tensor())
    });
    let scaled = dy * weight.unsqueeze();
    let along = (scaled.clone() * normal.clone()).mean_dim(1);
    let centred = scaled.clone() - scaled.mean_dim(1);
    (((centred - normal * along) / deviation).into_primitive().tensor(), of_parameters)
}

/// `(x - mean) / deviation`, `[rows, hidden]`, and `deviation = sqrt(variance + epsilon)`, `[rows, 1]`.
fn normalised<B: Backend>(x: Tensor<B, 2>, epsilon: f64) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let (variance, mean) = x.clone().var_mean_bias(1);
    let deviation = (variance + epsilon).sqrt();
    ((x - mean) / deviation.clone(), deviation)
}

/// Layer norm on an autodiff backend, rounded to a half type where one is given.
pub(super) fn tracked<B: NeoBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    epsilon: f64,
    half: Option<DType>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [x.node.clone(), weight.node.clone(), bias.node.clone()];
    let (x, weight, bias) = (x.primitive, weight.primitive, bias.primitive);
    let state = (x.clone(), weight.clone(), epsilon);
    let forward = || match half {
        Some(half) => B::layer_norm_rows_in(x, weight, bias, epsilon, half),
        None => B::layer_norm_rows(x, weight, bias, epsilon),
    };
    match LayerNorm.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => {
            drop(state);
            prep.finish(forward())
        }
        OpsKind::Tracked(prep) => prep.finish(state, forward()),
    }
}

#[derive(Debug)]
struct LayerNorm;

impl<B: NeoBackend> Backward<B, 3> for LayerNorm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, epsilon) = ops.state;
        let [of_x, of_weight, of_bias] = ops.parents;
        let parameters = Parameters::trained_if(of_weight.is_some() || of_bias.is_some());
        if !parameters.are_trained()
            && let Some(node) = &of_x
            && let Some(so_far) = so_far::take::<B>(grads, &dy, |tensor| tensor.node = node.clone())
        {
            let dx = B::layer_norm_rows_backward_onto(x, weight, dy, epsilon, so_far);
            grads.register::<B>(node.id, dx);
            return;
        }
        let (dx, of_parameters) = B::layer_norm_rows_backward(x, weight, dy, epsilon, parameters);
        if let Some(node) = of_x {
            grads.register::<B>(node.id, dx);
        }
        if let Some([dweight, dbias]) = of_parameters {
            for (node, gradient) in [(of_weight, dweight), (of_bias, dbias)] {
                if let Some(node) = node {
                    grads.register::<B>(node.id, gradient);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{assert_close, differences, noise, random, values};
    use super::*;
    use burn::tensor::TensorData;
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    const EPSILON: f64 = 1e-5;

    /// Output and gradients with respect to x, weight and bias of the loss `sum(y * factors)`.
    fn outcome<B: Backend>(
        [rows, hidden]: [usize; 2],
        norm: impl Fn([Tensor<Autodiff<B>, 2>; 1], [Tensor<Autodiff<B>, 1>; 2]) -> Tensor<Autodiff<B>, 2>,
    ) -> [TensorData; 4] {
        let x = random::<Autodiff<B>, 2>([rows, hidden], 1).require_grad();
        let [weight, bias] = [2, 3].map(|seed| random::<Autodiff<B>, 1>([hidden], seed).require_grad());
        let y = norm([x.clone()], [weight.clone(), bias.clone()]);
        let grads = (y.clone() * random([rows, hidden], 4)).sum().backward();
        [
            y.to_data(),
            x.grad(&grads).unwrap().to_data(),
            weight.grad(&grads).unwrap().to_data(),
            bias.grad(&grads).unwrap().to_data(),
        ]
    }

    fn ours<B: NeoBackend>(shape: [usize; 2]) -> [TensorData; 4] {
        outcome::<B>(shape, |[x], [weight, bias]| layer_norm(x, weight, bias, EPSILON))
    }

    /// Layer norm in f64.
    fn exact(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let count = weight.len() as f64;
        let row = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / count;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let normal = x.iter().map(|x| (x - mean) / (variance + EPSILON).sqrt());
            normal.zip(weight.iter().zip(bias)).map(|(n, (w, b))| n * w + b).collect::<Vec<_>>()
        };
        x.chunks(weight.len()).flat_map(row).collect()
    }

    #[test]
    fn gradients_equal_differences() {
        let shape = [4, 37];
        let [x, weight, bias, factors] =
            [noise(shape, 1), noise([37], 2), noise([37], 3), noise(shape, 4)].map(|data| values(&data));
        let loss = |x: &[f64], weight: &[f64], bias: &[f64]| {
            exact(x, weight, bias).iter().zip(&factors).map(|(y, factor)| y * factor).sum::<f64>()
        };
        let expected = [
            exact(&x, &weight, &bias),
            differences(&x, |x| loss(x, &weight, &bias)),
            differences(&weight, |weight| loss(&x, weight, &bias)),
            differences(&bias, |bias| loss(&x, &weight, bias)),
        ];
        for found in [ours::<Flex>(shape), ours::<NdArray>(shape)] {
            for (found, (expected, what)) in
                found.iter().zip(expected.iter().zip(["y", "x", "weight", "bias"]))
            {
                // A few of f32's roundings, 6e-8 each, on values up to 10.
                assert_close(found, expected, 3e-6, what);
            }
        }
    }

    #[test]
    fn equals_what_autodiff_finds_in_the_default() {
        for shape in [[1, 1], [1, 37], [37, 1], [1000, 37], [100, 768], [2, 20_000]] {
            // Not on NdArray: its decomposed gradients are only good to about 1e-4 here.
            let expected = outcome::<Flex>(shape, |[x], parameters| {
                let [weight, bias] = parameters.map(|tensor| tensor.into_primitive().tensor());
                let y = forward::<Autodiff<Flex>>(x.into_primitive().tensor(), weight, bias, EPSILON);
                Tensor::from_primitive(TensorPrimitive::Float(y))
            });
            for found in [ours::<Flex>(shape), ours::<NdArray>(shape)] {
                for (found, (expected, what)) in
                    found.iter().zip(expected.iter().zip(["y", "x", "weight", "bias"]))
                {
                    // Sums over 1000 rows, and means over 20,000 columns, in f32.
                    assert_close(found, &values(expected), 2e-5, &format!("{what} at {shape:?}"));
                }
            }
        }
    }

    /// Only what is tracked gets a gradient, and what is frozen does not change the others.
    #[test]
    fn frozen_inputs_get_no_gradient() {
        let shape = [5, 7];
        let all = ours::<Flex>(shape);
        for tracked in [[true, false, false], [false, true, false], [false, false, true], [true, false, true]]
        {
            let x = random::<Autodiff<Flex>, 2>(shape, 1).set_require_grad(tracked[0]);
            let weight = random::<Autodiff<Flex>, 1>([7], 2).set_require_grad(tracked[1]);
            let bias = random::<Autodiff<Flex>, 1>([7], 3).set_require_grad(tracked[2]);
            let y = layer_norm(x.clone(), weight.clone(), bias.clone(), EPSILON);
            let grads = (y * random(shape, 4)).sum().backward();
            let found = [
                x.grad(&grads).map(|grad| grad.to_data()),
                weight.grad(&grads).map(|grad| grad.to_data()),
                bias.grad(&grads).map(|grad| grad.to_data()),
            ];
            for ((found, tracked), all) in found.into_iter().zip(tracked).zip(&all[1..]) {
                assert_eq!(found.as_ref(), tracked.then_some(all));
            }
        }
    }
}
