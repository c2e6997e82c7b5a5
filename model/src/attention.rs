//! Causal self-attention, global or windowed, with key padding.
//!
//! Two things set GPT-Neo apart from GPT-2: scores are not divided by the square root of the head size, and a
//! local layer sees only the last `window_size` positions.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};

use crate::cache::LayerCache;
use crate::{AttentionKind, GptNeoConfig, LoraLinear, NeoBackend};

/// Which keys a query does not see, worked out once per forward pass and shared by all layers.
#[derive(Clone, Debug)]
pub struct Visibility<B: Backend> {
    /// True where a global layer's key is hidden, `[batch or 1, 1, queries, keys]`.
    global: Tensor<B, 4, Bool>,
    /// The same for local layers.
    local: Tensor<B, 4, Bool>,
}

impl<B: Backend> Visibility<B> {
    /// `queries` new positions after `past` cached ones; `padding` is true where a key is padding,
    /// `[batch, past + queries]`.
    ///
    /// A query with no visible key at all (a padding position of a local layer past its window) spreads its
    /// attention evenly over all keys, which is finite and reaches no real position.
    pub fn new(
        past: usize,
        queries: usize,
        window: usize,
        padding: Option<Tensor<B, 2, Bool>>,
        device: &B::Device,
    ) -> Self {
        let keys = past + queries;
        // [queries, 1] and [1, keys]: positions in the sequence, padding included.
        let query = Tensor::<B, 1, Int>::arange(past as i64..keys as i64, device).reshape([queries, 1]);
        let key = Tensor::<B, 1, Int>::arange(0..keys as i64, device).reshape([1, keys]);
        let distance = query.expand([queries, keys]) - key.expand([queries, keys]);
        let future = distance.clone().lower_elem(0);
        let far = distance.greater_equal_elem(window as i64);
        let hide = |mask: Tensor<B, 2, Bool>| {
            // [queries, keys] -> [1, 1, queries, keys]
            let mask = mask.reshape([1, 1, queries, keys]);
            match &padding {
                Some(padding) => {
                    let [batch, _] = padding.dims();
                    let shape = [batch, 1, queries, keys];
                    // [batch, keys] -> [batch, 1, 1, keys]
                    let padding = padding.clone().reshape([batch, 1, 1, keys]);
                    mask.expand(shape).bool_or(padding.expand(shape))
                }
                None => mask,
            }
        };
        Self { global: hide(future.clone()), local: hide(future.bool_or(far)) }
    }

    fn hidden_keys(&self, kind: AttentionKind) -> &Tensor<B, 4, Bool> {
        match kind {
            AttentionKind::Global => &self.global,
            AttentionKind::Local => &self.local,
        }
    }
}

/// Multi-head self-attention; q, k and v without bias, the output with one.
#[derive(Module, Debug)]
pub struct SelfAttention<B: Backend> {
    /// Keys.
    pub k_proj: LoraLinear<B>,
    /// Values.
    pub v_proj: LoraLinear<B>,
    /// Queries.
    pub q_proj: LoraLinear<B>,
    /// Output.
    pub out_proj: LoraLinear<B>,
    #[module(skip)]
    num_heads: usize,
    #[module(skip)]
    kind: AttentionKind,
}

impl<B: Backend> SelfAttention<B> {
    /// Random weights as the configuration says.
    pub fn init(config: &GptNeoConfig, kind: AttentionKind, device: &B::Device) -> Self {
        let hidden = config.hidden_size;
        let linear = |bias| LoraLinear::init(hidden, hidden, bias, config.initializer_range, device);
        Self {
            k_proj: linear(false),
            v_proj: linear(false),
            q_proj: linear(false),
            out_proj: linear(true),
            num_heads: config.num_heads,
            kind,
        }
    }
}

impl<B: NeoBackend> SelfAttention<B> {
    /// `[batch, tokens, hidden]` to the same shape; with a cache, keys and values of earlier tokens come from
    /// it and those of the new tokens are added to it.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        visibility: &Visibility<B>,
        cache: Option<&mut LayerCache<B>>,
    ) -> Tensor<B, 3> {
        let [batch, tokens, hidden] = x.dims();
        let heads = self.num_heads;
        // [batch, tokens, hidden] -> [batch * tokens, hidden]
        let rows = x.reshape([batch * tokens, hidden]);
        let split = |linear: &LoraLinear<B>| {
            // [batch * tokens, hidden] -> [batch, heads, tokens, head size]
            linear.forward(rows.clone()).reshape([batch, tokens, heads, hidden / heads]).swap_dims(1, 2)
        };
        let query = split(&self.q_proj);
        let (key, value) = match cache {
            Some(cache) => cache.append(split(&self.k_proj), split(&self.v_proj)),
            None => (split(&self.k_proj), split(&self.v_proj)),
        };
        // [batch, heads, queries, keys]
        let scores = query.matmul(key.swap_dims(2, 3));
        let hidden_keys = visibility.hidden_keys(self.kind).clone().expand(scores.dims());
        let weights = softmax(scores.mask_fill(hidden_keys, f32::MIN), 3);
        // [batch, heads, tokens, head size] -> [batch * tokens, hidden]
        let mixed = weights.matmul(value).swap_dims(1, 2).reshape([batch * tokens, hidden]);
        self.out_proj.forward(mixed).reshape([batch, tokens, hidden])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn_flex::Flex;

    fn hidden(kind: AttentionKind, visibility: &Visibility<Flex>) -> Vec<bool> {
        visibility.hidden_keys(kind).to_data().to_vec::<bool>().unwrap()
    }

    #[test]
    fn a_local_layer_sees_its_window_and_no_future() {
        let visibility = Visibility::<Flex>::new(0, 5, 2, None, &Default::default());
        let global = hidden(AttentionKind::Global, &visibility);
        let local = hidden(AttentionKind::Local, &visibility);
        for i in 0..5 {
            for j in 0..5 {
                assert_eq!(!global[i * 5 + j], j <= i, "global {i} {j}");
                assert_eq!(!local[i * 5 + j], j <= i && j + 2 > i, "local {i} {j}");
            }
        }
    }

    #[test]
    fn cached_positions_shift_the_mask_and_padding_hides_keys() {
        let padding = Tensor::<Flex, 2, Bool>::from_data(
            [[true, false, false, false], [false, false, false, false]],
            &Default::default(),
        );
        let visibility = Visibility::new(2, 2, 3, Some(padding), &Default::default());
        let global = hidden(AttentionKind::Global, &visibility);
        assert_eq!(global[..8], [true, false, false, true, true, false, false, false]);
        assert_eq!(global[8..], [false, false, false, true, false, false, false, false]);
        let local = hidden(AttentionKind::Local, &visibility);
        assert_eq!(local[8..], [false, false, false, true, true, false, false, false]);
    }
}
