//! Multi-head causal self-attention, global or windowed, with key padding.
//!
//! Two things set GPT-Neo apart from GPT-2: scores are not divided by the square root of the head size, and a
//! local layer sees only the last `window_size` positions. The arithmetic is [`ops::causal_attention`].

use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use crate::cache::LayerCache;
use crate::ops::{self, AttentionRule};
use crate::{AttentionKind, GptNeoConfig, LoraLinear, NeoBackend};

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
    rule: AttentionRule,
}

impl<B: Backend> SelfAttention<B> {
    /// Random weights as the configuration says.
    pub fn init(config: &GptNeoConfig, kind: AttentionKind, device: &B::Device) -> Self {
        let hidden = config.hidden_size;
        let linear = || LoraLinear::init([hidden, hidden], config.initializer_range, device);
        Self {
            k_proj: linear(),
            v_proj: linear(),
            q_proj: linear(),
            out_proj: linear().with_bias(device),
            rule: AttentionRule {
                heads: config.num_heads,
                window: (kind == AttentionKind::Local).then_some(config.window_size),
            },
        }
    }
}

impl<B: NeoBackend> SelfAttention<B> {
    /// `[batch, tokens, hidden]` to the same shape; with a cache, keys and values of earlier tokens come from
    /// it and those of the new tokens are added to it.
    ///
    /// `padding` is true where a key, cached or new, is padding, `[batch, keys]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        padding: Option<Tensor<B, 2, Bool>>,
        cache: Option<&mut LayerCache<B>>,
    ) -> Tensor<B, 3> {
        let [batch, tokens, hidden] = x.dims();
        let rows = x.reshape([batch * tokens, hidden]);
        // [batch * tokens, hidden] -> [batch, tokens, hidden]
        let project = |linear: &LoraLinear<B>| linear.forward(rows.clone()).reshape([batch, tokens, hidden]);
        let query = project(&self.q_proj);
        let (key, value) = match cache {
            Some(cache) => cache.append(project(&self.k_proj), project(&self.v_proj)),
            None => (project(&self.k_proj), project(&self.v_proj)),
        };
        let mixed = ops::causal_attention(query, key, value, self.rule, padding);
        // [batch, tokens, hidden] -> [batch * tokens, hidden]
        let mixed = mixed.reshape([batch * tokens, hidden]);
        self.out_proj.forward(mixed).reshape([batch, tokens, hidden])
    }
}
