//! Linear head and cross-entropy in one operation, a few rows at a time, so that the logits of a batch never
//! exist: at 8 x 256 tokens and 50,257 words they would be 412 MB, and their gradient as much again.
//!
//! For a row of hidden states h with target t: `z = W h`, `nll = logsumexp(z) - z_t`. The gradient,
//! `dz = softmax(z) - onehot(t)`, `dh = W^T dz`, `dW = dz h^T`, is worked out in the same pass over a chunk and
//! kept for the backward pass, which only scales it.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorPrimitive, s};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::NeoBackend;

/// Rows whose logits exist at a time.
const CHUNK: usize = 256;

/// The summed negative log-likelihood of each row's target, `[1]`.
///
/// Shapes: `hidden` `[rows, hidden]`, `weight` `[vocabulary, hidden]`, `targets` `[rows]`, each below the
/// vocabulary's size. Divide by the number of rows for the mean in nats per token.
pub fn cross_entropy_sum<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    // A head that is kept in another format counts as what it rounds to.
    let weight = weight.cast(hidden.dtype());
    let sum = B::cross_entropy_sum(
        hidden.into_primitive().tensor(),
        weight.into_primitive().tensor(),
        targets.into_primitive(),
    );
    Tensor::from_primitive(TensorPrimitive::Float(sum))
}

/// The negative log-likelihood of each row's target, `[rows]`, in nats; shapes as [`cross_entropy_sum`].
pub fn token_nll<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let weight = weight.cast(hidden.dtype());
    let nll = B::token_nll(
        hidden.into_primitive().tensor(),
        weight.into_primitive().tensor(),
        targets.into_primitive(),
    );
    Tensor::from_primitive(TensorPrimitive::Float(nll))
}

/// The chunks of rows, in order.
pub(super) fn chunks<B: Backend>(
    hidden: &Tensor<B, 2>,
    targets: &Tensor<B, 1, Int>,
) -> impl Iterator<Item = (Tensor<B, 2>, Tensor<B, 1, Int>)> {
    let [rows, _] = hidden.dims();
    (0..rows).step_by(CHUNK).map(move |start| {
        let end = (start + CHUNK).min(rows);
        (hidden.clone().slice(s![start..end, ..]), targets.clone().slice(s![start..end]))
    })
}

/// Negative log-likelihoods `[rows]` and probabilities `[rows, vocabulary]` of a chunk of logits.
fn chunk_nll<B: Backend>(logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> (Tensor<B, 1>, Tensor<B, 2>) {
    let [rows, _] = logits.dims();
    let largest = logits.clone().max_dim(1);
    let shifted = logits - largest;
    // [rows] -> [rows, 1]
    let picked = shifted.clone().gather(1, targets.reshape([rows, 1]));
    let exponentials = shifted.exp();
    let total = exponentials.clone().sum_dim(1);
    let nll = total.clone().log() - picked;
    (nll.reshape([rows]), exponentials / total)
}

/// The default of [`NeoBackend::token_nll`]: no gradient, so the logits of a chunk are dropped at once.
pub(super) fn rows<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
) -> FloatTensor<B> {
    let hidden = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let head = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(weight)).transpose();
    let targets = Tensor::<B, 1, Int>::from_primitive(targets);
    let parts = chunks(&hidden, &targets)
        .map(|(hidden, targets)| chunk_nll(hidden.matmul(head.clone()), targets).0)
        .collect();
    Tensor::cat(parts, 0).into_primitive().tensor()
}

/// The default of [`NeoBackend::cross_entropy_gradients`].
pub(super) fn gradients<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
    of_weight: bool,
) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
    let hidden = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let weight = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(weight));
    let targets = Tensor::<B, 1, Int>::from_primitive(targets);
    let (device, dtype) = (hidden.device(), hidden.dtype());
    let of_chunk = |logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>| {
        let [rows, _] = logits.dims();
        let (nll, probabilities) = chunk_nll(logits, targets.clone());
        // [rows] -> [rows, 1]
        let targets = targets.reshape([rows, 1]);
        let minus_one = Tensor::full([rows, 1], -1.0, (&device, dtype));
        (nll.sum(), probabilities.scatter(1, targets, minus_one, IndexingUpdateOp::Add))
    };
    gradients_by_chunk(hidden, weight, targets, of_weight, of_chunk)
}

/// The sum and its gradients, where `of_chunk` turns a chunk's logits and targets into the chunk's sum, `[1]`, and
/// the gradient with respect to the logits.
pub(super) fn gradients_by_chunk<B: Backend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    of_weight: bool,
    of_chunk: impl Fn(Tensor<B, 2>, Tensor<B, 1, Int>) -> (Tensor<B, 1>, Tensor<B, 2>),
) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
    let mut sum = Tensor::zeros([1], (&hidden.device(), hidden.dtype()));
    let mut hidden_gradients = Vec::new();
    let mut weight_gradient: Option<Tensor<B, 2>> = None;
    for (hidden, targets) in chunks(&hidden, &targets) {
        let logits = hidden.clone().matmul(weight.clone().transpose());
        let (part, logits_gradient) = of_chunk(logits, targets);
        sum = sum + part;
        if of_weight {
            let part = logits_gradient.clone().transpose().matmul(hidden);
            weight_gradient = Some(match weight_gradient.take() {
                Some(gradient) => gradient + part,
                None => part,
            });
        }
        hidden_gradients.push(logits_gradient.matmul(weight.clone()));
    }
    (
        sum.into_primitive().tensor(),
        Tensor::cat(hidden_gradients, 0).into_primitive().tensor(),
        weight_gradient.map(|gradient| gradient.into_primitive().tensor()),
    )
}

/// The summed cross-entropy on an autodiff backend.
pub(super) fn tracked<B: NeoBackend, C: CheckpointStrategy>(
    hidden: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    targets: IntTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [hidden.node.clone(), weight.node.clone()];
    match CrossEntropySum.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => {
            prep.finish(B::cross_entropy_sum(hidden.primitive, weight.primitive, targets))
        }
        OpsKind::Tracked(prep) => {
            let of_weight = !weight.node.requirement.is_none();
            let (sum, of_hidden, of_weight) =
                B::cross_entropy_gradients(hidden.primitive, weight.primitive, targets, of_weight);
            prep.finish((of_hidden, of_weight), sum)
        }
    }
}

/// The backward pass: the gradients kept by the forward pass, times the incoming one.
#[derive(Debug)]
struct CrossEntropySum;

impl<B: Backend> Backward<B, 2> for CrossEntropySum {
    type State = (FloatTensor<B>, Option<FloatTensor<B>>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let incoming = grads.consume::<B>(&ops.node);
        let incoming = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(incoming));
        let scaled = |gradient: FloatTensor<B>| {
            let gradient = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(gradient));
            (gradient * incoming.clone().unsqueeze()).into_primitive().tensor()
        };
        let (of_hidden, of_weight) = ops.state;
        let [hidden, weight] = ops.parents;
        if let Some(node) = hidden {
            grads.register::<B>(node.id, scaled(of_hidden));
        }
        if let (Some(node), Some(gradient)) = (weight, of_weight) {
            grads.register::<B>(node.id, scaled(gradient));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{assert_close, differences, noise, random, values};
    use super::*;
    use burn::tensor::TensorData;
    use burn::tensor::activation::log_softmax;
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    /// Rows, hidden size and vocabulary.
    type Sizes = [usize; 3];

    fn targets<B: Backend>([rows, _, vocabulary]: Sizes) -> Tensor<B, 1, Int> {
        let ids: Vec<i32> = (0..rows).map(|row| (row * 7 % vocabulary) as i32).collect();
        Tensor::from_data(ids.as_slice(), &Default::default())
    }

    /// The sum and the gradients of half of it with respect to hidden states and weight; the factor must reach both.
    fn outcome<B: Backend>(
        sizes: Sizes,
        sum: impl Fn([Tensor<Autodiff<B>, 2>; 2], Tensor<Autodiff<B>, 1, Int>) -> Tensor<Autodiff<B>, 1>,
    ) -> [TensorData; 3] {
        let [rows, size, vocabulary] = sizes;
        let hidden = random::<Autodiff<B>, 2>([rows, size], 1).require_grad();
        let weight = random::<Autodiff<B>, 2>([vocabulary, size], 2).require_grad();
        let sum = sum([hidden.clone(), weight.clone()], targets(sizes));
        let grads = (sum.clone() * 0.5).backward();
        let [hidden, weight] = [hidden, weight].map(|tensor| tensor.grad(&grads).unwrap().to_data());
        [sum.to_data(), hidden, weight]
    }

    fn ours<B: NeoBackend>(sizes: Sizes) -> [TensorData; 3] {
        outcome::<B>(sizes, |[hidden, weight], targets| cross_entropy_sum(hidden, weight, targets))
    }

    /// Also across a chunk's edge.
    #[test]
    fn equals_what_autodiff_finds_in_log_softmax() {
        for sizes in [[1, 6, 1], [1, 1, 37], [CHUNK + 3, 6, 11], [1000, 5, 37], [3, 2, 2500]] {
            // Not on NdArray: its decomposed gradients are only good to about 1e-4 here.
            let expected = outcome::<Flex>(sizes, |[hidden, weight], targets| {
                let [rows, _] = hidden.dims();
                let logits = hidden.matmul(weight.transpose());
                log_softmax(logits, 1).gather(1, targets.reshape([rows, 1])).sum().neg()
            });
            for found in [ours::<Flex>(sizes), ours::<NdArray>(sizes)] {
                for (found, (expected, what)) in
                    found.iter().zip(expected.iter().zip(["sum", "hidden", "weight"]))
                {
                    // Sums of up to 1000 rows in f32.
                    assert_close(found, &values(expected), 1e-5, &format!("{what} at {sizes:?}"));
                }
            }
        }
    }

    #[test]
    fn gradients_equal_differences() {
        let sizes = [3, 4, 37];
        let [hidden, weight] = [noise([3, 4], 1), noise([37, 4], 2)].map(|data| values(&data));
        let targets = values(&targets::<Flex>(sizes).to_data());
        let half = |hidden: &[f64], weight: &[f64]| {
            let nll = |hidden: &[f64], target: f64| {
                let logits: Vec<f64> =
                    weight.chunks(4).map(|row| row.iter().zip(hidden).map(|(w, h)| w * h).sum()).collect();
                logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[target as usize]
            };
            0.5 * hidden.chunks(4).zip(&targets).map(|(hidden, &target)| nll(hidden, target)).sum::<f64>()
        };
        let expected = [
            vec![2.0 * half(&hidden, &weight)],
            differences(&hidden, |hidden| half(hidden, &weight)),
            differences(&weight, |weight| half(&hidden, weight)),
        ];
        for found in [ours::<Flex>(sizes), ours::<NdArray>(sizes)] {
            for (found, (expected, what)) in
                found.iter().zip(expected.iter().zip(["sum", "hidden", "weight"]))
            {
                assert_close(found, expected, 1e-6, what);
            }
        }
    }

    #[test]
    fn a_frozen_head_gets_no_gradient() {
        let sizes = [5, 3, 9];
        let hidden = random::<Autodiff<Flex>, 2>([5, 3], 1).require_grad();
        let weight = random::<Autodiff<Flex>, 2>([9, 3], 2);
        let grads = (cross_entropy_sum(hidden.clone(), weight.clone(), targets(sizes)) * 0.5).backward();
        assert!(weight.grad(&grads).is_none());
        assert_eq!(hidden.grad(&grads).unwrap().to_data(), ours::<Flex>(sizes)[1]);
    }

    /// A vocabulary of GPT-2's size with logits as far apart as GPT-Neo's, against f64.
    fn large_vocabulary<B: NeoBackend>() {
        let vocabulary = 50_257;
        // One hidden unit of 20: the logits are 20 times the weights.
        let weight = random::<B, 2>([vocabulary, 1], 3);
        let hidden = Tensor::<B, 2>::full([2, 1], 20.0, &Default::default());
        let ids = Tensor::<B, 1, Int>::from_data([0, 50_256], &Default::default());
        let logits: Vec<f64> =
            values(&weight.to_data()).iter().map(|w| f64::from((20.0 * w) as f32)).collect();
        let total = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
        let expected = [0, 50_256].map(|id: usize| total - logits[id]);
        let rows = token_nll(hidden.clone(), weight.clone(), ids.clone());
        assert_eq!(rows.dims(), [2]);
        assert_close(&rows.to_data(), &expected, 1e-6, "rows");
        let sum = cross_entropy_sum(hidden, weight, ids);
        assert_eq!(sum.dims(), [1]);
        assert_close(&sum.to_data(), &[expected[0] + expected[1]], 1e-6, "sum");
    }

    #[test]
    fn losses_are_exact_over_a_large_vocabulary() {
        large_vocabulary::<Flex>();
        large_vocabulary::<NdArray>();
    }

    /// Logits of 1e4 and -1e4: no overflow, and the wrong answer costs their distance.
    #[test]
    fn far_logits_stay_finite() {
        let hidden =
            Tensor::<Autodiff<Flex>, 2>::from_data([[1e4f32], [1e4]], &Default::default()).require_grad();
        let weight = Tensor::from_data([[1f32], [-1.0]], &Default::default());
        let sum = cross_entropy_sum(hidden.clone(), weight, Tensor::from_data([0, 1], &Default::default()));
        assert_close(&sum.to_data(), &[2e4], 0.0, "sum");
        assert_close(&hidden.grad(&sum.backward()).unwrap().to_data(), &[0.0, 2.0], 0.0, "gradient");
    }
}
