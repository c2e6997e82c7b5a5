//! Causal attention over the projections as they are, heads side by side, global or windowed, with key padding.
//!
//! For each head with queries Q `[queries, head size]`, keys K and values V `[keys, head size]`:
//! `P = softmax(Q K^T)` over the keys that a query sees, `O = P V`. GPT-Neo does not divide the scores by the
//! square root of the head size. Backward, from the gradient dO: `dV = P^T dO`, `dP = dO V^T`,
//! `dS = P * (dP - rowsum(P * dP))`, `dQ = dS K`, `dK = dS^T Q`. P is worked out again rather than kept: at
//! 8 x 256 tokens and 12 heads it is 25 MB a layer.

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor};
use burn::tensor::{Bool, DType, Int, Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::NeoBackend;

/// How queries meet keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionRule {
    /// Attention heads; they divide the hidden size.
    pub heads: usize,
    /// Positions that a query sees, its own included; with `None` all up to its own.
    pub window: Option<usize>,
}

/// Causal attention: query `[batch, queries, hidden]`, key and value `[batch, keys, hidden]` to
/// `[batch, queries, hidden]`.
///
/// The queries are the last of the keys' positions; the earlier ones are cached. A query at position p sees the
/// keys up to p, of these the last `window` where there is a window, and none that `padding` `[batch, keys]`
/// marks. A query that sees no key gives zeros.
pub fn causal_attention<B: NeoBackend>(
    query: Tensor<B, 3>,
    key: Tensor<B, 3>,
    value: Tensor<B, 3>,
    rule: AttentionRule,
    padding: Option<Tensor<B, 2, Bool>>,
) -> Tensor<B, 3> {
    wrap(B::causal_attention(
        unwrap(query),
        unwrap(key),
        unwrap(value),
        rule,
        padding.map(Tensor::into_primitive),
    ))
}

fn wrap<B: Backend, const D: usize>(tensor: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

fn unwrap<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// `[batch, tokens, hidden]` to `[batch, heads, tokens, head size]`.
fn split<B: Backend>(x: Tensor<B, 3>, heads: usize) -> Tensor<B, 4> {
    let [batch, tokens, hidden] = x.dims();
    x.reshape([batch, tokens, heads, hidden / heads]).swap_dims(1, 2)
}

/// `[batch, heads, tokens, head size]` to `[batch, tokens, hidden]`.
fn join<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch, heads, tokens, size] = x.dims();
    x.swap_dims(1, 2).reshape([batch, tokens, heads * size])
}

/// Keys that a query does not see, `[batch or 1, 1, queries, keys]`; nothing where all see all.
fn hidden_keys<B: Backend>(
    [queries, keys]: [usize; 2],
    rule: AttentionRule,
    padding: Option<Tensor<B, 2, Bool>>,
    device: &B::Device,
) -> Option<Tensor<B, 4, Bool>> {
    let windowed = rule.window.filter(|window| *window < keys);
    let by_position = (queries > 1 || windowed.is_some()).then(|| {
        // [queries, 1] and [1, keys]: positions in the sequence, padding included.
        let query = Tensor::<B, 1, Int>::arange((keys - queries) as i64..keys as i64, device);
        let key = Tensor::<B, 1, Int>::arange(0..keys as i64, device);
        let shape = [queries, keys];
        let distance = query.reshape([queries, 1]).expand(shape) - key.reshape([1, keys]).expand(shape);
        let future = distance.clone().lower_elem(0);
        let hidden = match windowed {
            Some(window) => future.bool_or(distance.greater_equal_elem(window as i64)),
            None => future,
        };
        hidden.reshape([1, 1, queries, keys])
    });
    let padding = padding.map(|padding| {
        let [batch, _] = padding.dims();
        // [batch, keys] -> [batch, 1, queries, keys]
        padding.reshape([batch, 1, 1, keys]).expand([batch, 1, queries, keys])
    });
    match (by_position, padding) {
        (Some(by_position), Some(padding)) => Some(by_position.expand(padding.dims()).bool_or(padding)),
        (by_position, padding) => by_position.or(padding),
    }
}

/// P, `[batch, heads, queries, keys]`.
fn weights<B: Backend>(
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    rule: AttentionRule,
    padding: Option<Tensor<B, 2, Bool>>,
) -> Tensor<B, 4> {
    let [_, _, queries, _] = query.dims();
    let [_, _, keys, _] = key.dims();
    let padded = padding.is_some();
    let hidden = hidden_keys([queries, keys], rule, padding, &query.device());
    let scores = query.matmul(key.swap_dims(2, 3));
    let Some(hidden) = hidden else { return softmax(scores, 3) };
    let hidden = hidden.expand(scores.dims());
    // The least f32 is minus infinity in half precision, and the softmax of a row of those is no number.
    assert_eq!(scores.dtype(), DType::F32, "attention scores are f32, whatever the products are made in");
    let weights = softmax(scores.mask_fill(hidden.clone(), f32::MIN), 3);
    // Without padding each query sees itself; with it, the softmax of a query that sees nothing is even.
    if padded { weights.mask_fill(hidden, 0.0) } else { weights }
}

/// The default of [`NeoBackend::causal_attention`].
pub(super) fn plain<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    rule: AttentionRule,
    padding: Option<BoolTensor<B>>,
) -> FloatTensor<B> {
    let [query, key, value] = [query, key, value].map(|x| split(wrap::<B, 3>(x), rule.heads));
    unwrap(join(weights(query, key, rule, padding.map(Tensor::from_primitive)).matmul(value)))
}

/// The default of [`NeoBackend::causal_attention_backward`].
pub(super) fn plain_backward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    rule: AttentionRule,
    padding: Option<BoolTensor<B>>,
    gradient: FloatTensor<B>,
) -> [FloatTensor<B>; 3] {
    let [query, key, value, gradient] =
        [query, key, value, gradient].map(|x| split(wrap::<B, 3>(x), rule.heads));
    let weights = weights(query.clone(), key.clone(), rule, padding.map(Tensor::from_primitive));
    let of_value = weights.clone().swap_dims(2, 3).matmul(gradient.clone());
    let of_weights = gradient.matmul(value.swap_dims(2, 3));
    let mean = (weights.clone() * of_weights.clone()).sum_dim(3);
    let of_scores = weights * (of_weights - mean);
    let of_key = of_scores.clone().swap_dims(2, 3).matmul(query);
    [of_scores.matmul(key), of_key, of_value].map(|x| unwrap(join(x)))
}

/// The operation under autodiff.
pub(super) fn tracked<B: NeoBackend, C: CheckpointStrategy>(
    query: FloatTensor<Autodiff<B, C>>,
    key: FloatTensor<Autodiff<B, C>>,
    value: FloatTensor<Autodiff<B, C>>,
    rule: AttentionRule,
    padding: Option<BoolTensor<B>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [&query, &key, &value].map(|x| x.node.clone());
    let (query, key, value) = (query.primitive, key.primitive, value.primitive);
    match CausalAttention.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prep) => prep.finish(B::causal_attention(query, key, value, rule, padding)),
        OpsKind::Tracked(prep) => {
            let state = Inputs { query, key, value, rule, padding };
            let Inputs { query, key, value, rule, padding } = state.clone();
            prep.finish(state, B::causal_attention(query, key, value, rule, padding))
        }
    }
}

/// What the backward pass starts from.
#[derive(Clone, Debug)]
struct Inputs<F, P> {
    query: F,
    key: F,
    value: F,
    rule: AttentionRule,
    padding: Option<P>,
}

/// The backward pass.
#[derive(Debug)]
struct CausalAttention;

impl<B: NeoBackend> Backward<B, 3> for CausalAttention {
    type State = Inputs<FloatTensor<B>, BoolTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Inputs { query, key, value, rule, padding } = ops.state;
        let gradients = B::causal_attention_backward(query, key, value, rule, padding, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[cfg(test)]
mod tests;
