//! One transformer block: pre-norm attention and feed-forward, each added to the residual stream.

use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use crate::attention::SelfAttention;
use crate::cache::LayerCache;
use crate::{AttentionKind, GptNeoConfig, LayerNorm, Mlp, NeoBackend};

/// The checkpoint nests the attention once more than the arithmetic does: `attn.attention.q_proj`.
#[derive(Module, Debug)]
pub struct Attn<B: Backend> {
    /// The attention itself.
    pub attention: SelfAttention<B>,
}

/// `x + attn(ln_1(x))`, then `x + mlp(ln_2(x))`.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// Norm before the attention.
    pub ln_1: LayerNorm<B>,
    /// Attention.
    pub attn: Attn<B>,
    /// Norm before the feed-forward layer.
    pub ln_2: LayerNorm<B>,
    /// Feed-forward layer.
    pub mlp: Mlp<B>,
}

impl<B: Backend> Block<B> {
    /// Random weights as the configuration says.
    pub fn init(config: &GptNeoConfig, kind: AttentionKind, device: &B::Device) -> Self {
        let norm = || LayerNorm::init(config.hidden_size, config.layer_norm_epsilon, device);
        Self {
            ln_1: norm(),
            attn: Attn { attention: SelfAttention::init(config, kind, device) },
            ln_2: norm(),
            mlp: Mlp::init(config, device),
        }
    }
}

impl<B: NeoBackend> Block<B> {
    /// `[batch, tokens, hidden]` to the same shape; with a cache, `x` holds the new tokens alone;
    /// `padding` is true where a key, cached or new, is padding, `[batch, keys]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        padding: Option<Tensor<B, 2, Bool>>,
        cache: Option<&mut LayerCache<B>>,
    ) -> Tensor<B, 3> {
        let [batch, tokens, hidden] = x.dims();
        // The new tensor stands first: sums are made in its memory, as no one else needs it.
        let x = self.attn.attention.forward(self.ln_1.forward(x.clone()), padding, cache) + x;
        // [batch, tokens, hidden] -> [batch * tokens, hidden]: one matrix product for all rows.
        let rows = self.ln_2.forward(x.clone()).reshape([batch * tokens, hidden]);
        self.mlp.forward(rows).reshape([batch, tokens, hidden]) + x
    }
}
