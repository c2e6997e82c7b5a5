//! Linear head and cross-entropy in one operation, a few rows at a time, so that the logits of a batch never
//! exist: at 8 x 256 tokens and 50,257 words they would be 412 MB, and their gradient as much again.
//!
//! For a row of hidden states h with target t: `z = W h`, `nll = logsumexp(z) - z_t`. The gradient,
//! `dz = softmax(z) - onehot(t)`, `dh = W^T dz`, `dW = dz h^T`, is worked out in the same pass over a chunk and
//! kept for the backward pass, which only scales it.
//!
//! In half precision the products of hidden states and head are made in a half type; softmax, sums and the loss are f32.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, IndexingUpdateOp, Int, Tensor, TensorMetadata, TensorPrimitive, s};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::linear::{LinearInputs, assert_weight_type};
use super::{NeoBackend, Parameters, Precision};

/// Rows whose logits exist at a time.
pub(crate) const CHUNK: usize = 512;

/// The width from which a row is reduced in parts, and how many.
const LONG_ROW: usize = 4096;
const PARTS: usize = 64;

/// What the gradient of logits in half precision is multiplied with for the product with the head. It is made before
/// the scale of the loss is known, and most words are so unlikely that f16 would round their part to nothing. The
/// gradients of a row add up to 2 at most, so the product stays below 512 times the head's largest weight.
pub(super) const LIFT: f64 = 256.0;

/// The summed negative log-likelihood of each row's target, `[1]`.
///
/// Shapes: `hidden` `[rows, hidden]`, `weight` `[vocabulary, hidden]`, `targets` `[rows]`, each below the
/// vocabulary's size. Divide by the number of rows for the mean in nats per token.
///
/// # Panics
///
/// As [`super::linear()`], on types that do not go together, and where a backend rounds hidden states to another type
/// than bf16.
pub fn cross_entropy_sum<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    precision: Precision,
) -> Tensor<B, 1> {
    let (hidden, weight, precision) = factors::<B>(hidden, weight, precision);
    let sum = B::cross_entropy_sum(
        hidden.into_primitive().tensor(),
        weight.into_primitive(),
        targets.into_primitive(),
        precision,
    );
    Tensor::from_primitive(TensorPrimitive::Float(sum))
}

/// The negative log-likelihood of each row's target, `[rows]`, in nats; shapes and panics as [`cross_entropy_sum`].
pub fn token_nll<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    precision: Precision,
) -> Tensor<B, 1> {
    let (hidden, weight, precision) = factors::<B>(hidden, weight, precision);
    let nll = B::token_nll(
        hidden.into_primitive().tensor(),
        weight.into_primitive(),
        targets.into_primitive(),
        precision,
    );
    Tensor::from_primitive(TensorPrimitive::Float(nll))
}

/// Hidden states and head as the backend takes them, and what is left to it of the precision: nothing where they are cast
/// here. A head that is kept in a smaller format counts as what it rounds to, and is read as it is kept.
fn factors<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    precision: Precision,
) -> (Tensor<B, 2>, Tensor<B, 2>, Precision) {
    assert_weight_type(hidden.dtype(), weight.dtype());
    match precision.half() {
        None => (hidden, weight, precision),
        Some(half) if B::rounds_factors(precision) => {
            // In f16 the gradient of the logits would have to be lifted.
            assert_eq!(half, DType::BF16, "hidden states are rounded to bf16 alone");
            (hidden, weight.cast(half), precision)
        }
        Some(half) => (hidden.cast(half), weight.cast(half), Precision::F32),
    }
}

/// The logits of a chunk of rows.
pub(super) fn logits<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    precision: Precision,
) -> Tensor<B, 2> {
    let x = hidden.into_primitive().tensor();
    let logits = match weight.into_primitive() {
        TensorPrimitive::Float(weight) => B::lora_linear(LinearInputs::plain(x, weight, precision)),
        TensorPrimitive::QFloat(weight) => B::quantized_linear(x, weight, None),
    };
    Tensor::from_primitive(TensorPrimitive::Float(logits))
}

/// The type of the loss, for hidden states of `dtype`.
pub(super) fn loss_type(dtype: DType) -> DType {
    if is_half(dtype) { DType::F32 } else { dtype }
}

pub(super) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
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

/// Reduces each row of `x` `[rows, width]` to one number, `[rows, 1]`: a long one in parts first, `[rows, parts, width of
/// a part]`, because a GPU gives each row that it reduces to one thread, and some hundred threads leave it idle.
fn along_rows<B: Backend>(
    x: Tensor<B, 2>,
    parts: impl Fn(Tensor<B, 3>) -> Tensor<B, 3>,
    whole: impl Fn(Tensor<B, 2>) -> Tensor<B, 2>,
) -> Tensor<B, 2> {
    let [rows, width] = x.dims();
    if width < LONG_ROW {
        return whole(x);
    }
    let each = width / PARTS;
    let even = x.clone().slice(s![.., ..PARTS * each]).reshape([rows, PARTS, each]);
    let mut reduced = parts(even).reshape([rows, PARTS]);
    if width > PARTS * each {
        reduced = Tensor::cat(vec![reduced, x.slice(s![.., PARTS * each..])], 1);
    }
    whole(reduced)
}

/// Negative log-likelihoods `[rows]` and probabilities `[rows, vocabulary]` of a chunk of logits.
fn chunk_nll<B: Backend>(logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> (Tensor<B, 1>, Tensor<B, 2>) {
    let [rows, _] = logits.dims();
    let logits = logits.clone().cast(loss_type(logits.dtype()));
    let largest = along_rows(logits.clone(), |x| x.max_dim(2), |x| x.max_dim(1));
    let shifted = logits - largest;
    // [rows] -> [rows, 1]
    let picked = shifted.clone().gather(1, targets.reshape([rows, 1]));
    let exponentials = shifted.exp();
    let total = along_rows(exponentials.clone(), |x| x.sum_dim(2), |x| x.sum_dim(1));
    let nll = total.clone().log() - picked;
    (nll.reshape([rows]), exponentials / total)
}

/// The default of [`NeoBackend::token_nll`]: no gradient, so the logits of a chunk are dropped at once.
pub(super) fn rows<B: NeoBackend>(
    hidden: FloatTensor<B>,
    weight: TensorPrimitive<B>,
    targets: IntTensor<B>,
    precision: Precision,
) -> FloatTensor<B> {
    let hidden = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let head = Tensor::<B, 2>::from_primitive(weight);
    let targets = Tensor::<B, 1, Int>::from_primitive(targets);
    let parts = chunks(&hidden, &targets)
        .map(|(hidden, targets)| chunk_nll(logits(hidden, head.clone(), precision), targets).0)
        .collect();
    Tensor::cat(parts, 0).into_primitive().tensor()
}

/// The default of [`NeoBackend::cross_entropy_gradients`].
pub(super) fn gradients<B: NeoBackend>(
    hidden: FloatTensor<B>,
    weight: TensorPrimitive<B>,
    targets: IntTensor<B>,
    precision: Precision,
    head: Parameters,
) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
    let hidden = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let weight = Tensor::<B, 2>::from_primitive(weight);
    let targets = Tensor::<B, 1, Int>::from_primitive(targets);
    let (device, dtype) = (hidden.device(), loss_type(hidden.dtype()));
    let of_chunk = |logits: Tensor<B, 2>, targets: Tensor<B, 1, Int>| {
        let [rows, _] = logits.dims();
        let (nll, probabilities) = chunk_nll(logits, targets.clone());
        // [rows] -> [rows, 1]
        let targets = targets.reshape([rows, 1]);
        let minus_one = Tensor::full([rows, 1], -1.0, (&device, dtype));
        (nll.sum(), probabilities.scatter(1, targets, minus_one, IndexingUpdateOp::Add))
    };
    gradients_by_chunk(hidden, weight, targets, precision, head, of_chunk)
}

/// The sum and its gradients, where `of_chunk` turns a chunk's logits and targets into the chunk's sum, `[1]`, and
/// the gradient with respect to the logits; both of the loss's type, and so are the results.
pub(super) fn gradients_by_chunk<B: NeoBackend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
    precision: Precision,
    head: Parameters,
    of_chunk: impl Fn(Tensor<B, 2>, Tensor<B, 1, Int>) -> (Tensor<B, 1>, Tensor<B, 2>),
) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
    let (half, full) = (hidden.dtype(), loss_type(hidden.dtype()));
    let mut sum = Tensor::zeros([1], (&hidden.device(), full));
    let mut hidden_gradients = Vec::new();
    let mut weight_gradient: Option<Tensor<B, 2>> = None;
    for (hidden, targets) in chunks(&hidden, &targets) {
        let (part, logits_gradient) = of_chunk(logits(hidden.clone(), weight.clone(), precision), targets);
        sum = sum + part;
        if head.are_trained() {
            // In half, a sum over the rows of a frequent word could overflow whatever the scale of the loss.
            let (x, gradient) = (hidden.cast(full), logits_gradient.clone());
            let [x, gradient] = [x, gradient].map(|tensor| tensor.into_primitive().tensor());
            let part = B::linear_weight_gradient(x, gradient, precision);
            let part = Tensor::from_primitive(TensorPrimitive::Float(part));
            weight_gradient = Some(match weight_gradient.take() {
                Some(gradient) => gradient + part,
                None => part,
            });
        }
        hidden_gradients.push(if half == full {
            let gradient = logits_gradient.into_primitive().tensor();
            let gradient = match weight.clone().into_primitive() {
                TensorPrimitive::Float(weight) => B::linear_input_gradient(weight, gradient, precision),
                TensorPrimitive::QFloat(weight) => B::quantized_input_gradient(weight, gradient),
            };
            Tensor::from_primitive(TensorPrimitive::Float(gradient))
        } else {
            (logits_gradient * LIFT).cast(half).matmul(weight.clone()).cast(full) / LIFT
        });
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
    weight: TensorPrimitive<Autodiff<B, C>>,
    targets: IntTensor<B>,
    precision: Precision,
) -> FloatTensor<Autodiff<B, C>> {
    let (weight, of_head) = match weight {
        TensorPrimitive::Float(weight) => (TensorPrimitive::Float(weight.primitive), weight.node),
        // It has no node; a tensor that nobody trains lends it one.
        TensorPrimitive::QFloat(weight) => {
            (TensorPrimitive::QFloat(weight), Autodiff::<B, C>::from_inner(hidden.primitive.clone()).node)
        }
    };
    let head = Parameters::trained_if(!of_head.requirement.is_none());
    let nodes = [hidden.node, of_head];
    let dtype = hidden.primitive.dtype();
    match CrossEntropySum.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => {
            prep.finish(B::cross_entropy_sum(hidden.primitive, weight, targets, precision))
        }
        OpsKind::Tracked(prep) => {
            let (sum, of_hidden, of_weight) =
                B::cross_entropy_gradients(hidden.primitive, weight, targets, precision, head);
            prep.finish((of_hidden, of_weight, dtype.into()), sum)
        }
    }
}

/// The backward pass: the gradients kept by the forward pass, times the incoming one.
#[derive(Debug)]
struct CrossEntropySum;

impl<B: Backend> Backward<B, 2> for CrossEntropySum {
    /// The gradients of hidden states and weight, and the type of these.
    type State = (FloatTensor<B>, Option<FloatTensor<B>>, FloatDType);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let incoming = grads.consume::<B>(&ops.node);
        let incoming = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(incoming));
        let (of_hidden, of_weight, dtype) = ops.state;
        let scaled = |gradient: FloatTensor<B>| {
            let gradient = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(gradient));
            (gradient * incoming.clone().unsqueeze()).cast(dtype).into_primitive().tensor()
        };
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
mod tests;
