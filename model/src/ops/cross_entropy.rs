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
    let sum = B::cross_entropy_sum(
        hidden.into_primitive().tensor(),
        weight.into_primitive().tensor(),
        targets.into_primitive(),
    );
    Tensor::from_primitive(TensorPrimitive::Float(sum))
}

/// The negative log-likelihood of each row's target, `[rows]`, in nats; shapes as [`cross_entropy_sum`].
pub fn token_nll<B: Backend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let head = weight.transpose();
    let parts = chunks(&hidden, &targets)
        .map(|(hidden, targets)| chunk_nll(hidden.matmul(head.clone()), targets).0)
        .collect();
    Tensor::cat(parts, 0)
}

/// The chunks of rows, in order.
fn chunks<B: Backend>(
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

/// The default of [`NeoBackend::cross_entropy_sum`]: no gradient, so the logits of a chunk are dropped at once.
pub(super) fn in_chunks<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    targets: IntTensor<B>,
) -> FloatTensor<B> {
    let hidden = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let weight = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(weight));
    let targets = Tensor::<B, 1, Int>::from_primitive(targets);
    token_nll(hidden, weight, targets).sum().into_primitive().tensor()
}

/// The sum and its gradients with respect to the hidden states and, if asked for, the weight.
fn with_gradients<B: Backend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    of_weight: bool,
) -> (Tensor<B, 1>, Tensor<B, 2>, Option<Tensor<B, 2>>) {
    let device = hidden.device();
    let mut sum = Tensor::zeros([1], &device);
    let mut hidden_gradients = Vec::new();
    let mut weight_gradient: Option<Tensor<B, 2>> = None;
    for (hidden, targets) in chunks(&hidden, &targets) {
        let [rows, _] = hidden.dims();
        let logits = hidden.clone().matmul(weight.clone().transpose());
        let (nll, probabilities) = chunk_nll(logits, targets.clone());
        sum = sum + nll.sum();
        // [rows] -> [rows, 1]
        let targets = targets.reshape([rows, 1]);
        let minus_one = Tensor::full([rows, 1], -1.0, &device);
        let logits_gradient = probabilities.scatter(1, targets, minus_one, IndexingUpdateOp::Add);
        if of_weight {
            let part = logits_gradient.clone().transpose().matmul(hidden);
            weight_gradient = Some(match weight_gradient.take() {
                Some(gradient) => gradient + part,
                None => part,
            });
        }
        hidden_gradients.push(logits_gradient.matmul(weight.clone()));
    }
    (sum, Tensor::cat(hidden_gradients, 0), weight_gradient)
}

impl<B: NeoBackend, C: CheckpointStrategy> NeoBackend for Autodiff<B, C> {
    fn cross_entropy_sum(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node.clone(), weight.node.clone()];
        match CrossEntropySum.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => {
                prep.finish(B::cross_entropy_sum(hidden.primitive, weight.primitive, targets))
            }
            OpsKind::Tracked(prep) => {
                let of_weight = !weight.node.requirement.is_none();
                let (sum, of_hidden, of_weight) = with_gradients::<B>(
                    Tensor::from_primitive(TensorPrimitive::Float(hidden.primitive)),
                    Tensor::from_primitive(TensorPrimitive::Float(weight.primitive)),
                    Tensor::from_primitive(targets),
                    of_weight,
                );
                let state = (
                    of_hidden.into_primitive().tensor(),
                    of_weight.map(|gradient| gradient.into_primitive().tensor()),
                );
                prep.finish(state, sum.into_primitive().tensor())
            }
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
    use super::*;
    use burn::tensor::activation::log_softmax;
    use burn::tensor::{Distribution, Tolerance};
    use burn_flex::Flex;

    type Diff = Autodiff<Flex>;

    /// Gradients equal those that autodiff finds through Burn's own log-softmax, across a chunk's edge.
    #[test]
    fn gradients_equal_plain_autodiff() {
        let device = Default::default();
        let rows = CHUNK + 3;
        let hidden = Tensor::<Diff, 2>::random([rows, 6], Distribution::Default, &device).require_grad();
        let weight = Tensor::<Diff, 2>::random([11, 6], Distribution::Default, &device).require_grad();
        let ids: Vec<i32> = (0..rows as i32).map(|row| (row * 7) % 11).collect();
        let targets = Tensor::<Diff, 1, Int>::from_data(ids.as_slice(), &device);

        let ours = cross_entropy_sum(hidden.clone(), weight.clone(), targets.clone());
        let logits = hidden.clone().matmul(weight.clone().transpose());
        let picked = log_softmax(logits, 1).gather(1, targets.reshape([rows, 1]));
        let plain = picked.sum().neg();
        let close = Tolerance::<f32>::rel_abs(1e-4, 1e-5);
        ours.to_data().assert_approx_eq::<f32>(&plain.to_data(), close);

        // A factor on the loss must reach both gradients.
        let ours = (ours * 0.5).backward();
        let plain = (plain * 0.5).backward();
        for tensor in [&hidden, &weight] {
            let expected = tensor.grad(&plain).unwrap().to_data();
            tensor.grad(&ours).unwrap().to_data().assert_approx_eq::<f32>(&expected, close);
        }
    }

    #[test]
    fn rows_sum_to_the_loss() {
        let device = Default::default();
        let hidden = Tensor::<Flex, 2>::random([5, 4], Distribution::Default, &device);
        let weight = Tensor::<Flex, 2>::random([9, 4], Distribution::Default, &device);
        let targets = Tensor::<Flex, 1, Int>::from_data([0, 8, 3, 3, 1], &device);
        let rows = token_nll(hidden.clone(), weight.clone(), targets.clone());
        assert_eq!(rows.dims(), [5]);
        let sum = cross_entropy_sum(hidden, weight, targets);
        rows.sum().to_data().assert_approx_eq::<f32>(&sum.to_data(), Tolerance::default());
    }
}
