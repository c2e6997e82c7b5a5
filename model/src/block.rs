//! One transformer block: pre-norm attention and feed-forward, each added to the residual stream.

use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use crate::attention::SelfAttention;
use crate::cache::LayerCache;
use crate::ops::Draws;
use crate::pass::Pass;
use crate::{AttentionKind, GptNeoConfig, LayerNorm, Mlp, NeoBackend, Precision};

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
    /// `[batch, tokens, hidden]` to the same shape; `padding` is true where a key is padding, `[batch, tokens]`.
    pub fn forward(&self, x: Tensor<B, 3>, padding: Option<Tensor<B, 2, Bool>>) -> Tensor<B, 3> {
        self.forward_drawing(x, padding, &mut Draws::New)
    }

    /// As [`Block::forward`], with the dropouts that `draws` gives.
    pub fn forward_drawing(
        &self,
        x: Tensor<B, 3>,
        padding: Option<Tensor<B, 2, Bool>>,
        draws: &mut Draws<B>,
    ) -> Tensor<B, 3> {
        let [batch, tokens, hidden] = x.dims();
        let attention = &self.attn.attention;
        // [batch, tokens, hidden] -> [batch * tokens, hidden]: one matrix product for all rows.
        let x = x.reshape([batch * tokens, hidden]);
        let normal = self.ln_1.forward_rows(x.clone(), attention.precision());
        let x = attention.forward(normal, x, [batch, tokens], padding, draws);
        let normal = self.ln_2.forward_rows(x.clone(), self.mlp.c_fc.precision);
        self.mlp.forward(normal, x, draws).reshape([batch, tokens, hidden])
    }

    /// The rows of a pass, `[1, rows, hidden]` to the same shape, through this layer, whose cache is `cache`.
    pub(crate) fn forward_rows(
        &self,
        x: Tensor<B, 3>,
        layer: usize,
        pass: &Pass<'_, B>,
        cache: &mut LayerCache<B>,
    ) -> Tensor<B, 3> {
        let [one, rows, hidden] = x.dims();
        // [1, rows, hidden] -> [rows, hidden], and back
        let x = x.reshape([rows, hidden]);
        // The cache is f32, whatever the products are made in.
        let normal = self.ln_1.forward_rows(x.clone(), Precision::F32);
        let x = self.attn.attention.forward_rows(normal, x, layer, pass, cache);
        let normal = self.ln_2.forward_rows(x.clone(), Precision::F32);
        self.mlp.forward_rows(normal, x, layer, pass).reshape([one, rows, hidden])
    }
}
