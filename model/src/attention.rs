//! Multi-head causal self-attention, global or windowed, with key padding.
//!
//! Two things set GPT-Neo apart from GPT-2: scores are not divided by the square root of the head size, and a
//! local layer sees only the last `window_size` positions. The arithmetic is [`ops::causal_attention`].

use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use crate::cache::LayerCache;
use crate::ops::{self, AttentionRule, Draws};
use crate::pass::Pass;
use crate::then::Then;
use crate::{AttentionKind, GptNeoConfig, LoraLinear, NeoBackend, Precision, Target};

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
    /// Of the texts' rows `x` `[batch * tokens, hidden]`, added to the `residual` stream of the same shape; `padding` is true
    /// where a key is padding, `[batch, tokens]`. Dropouts are those that `draws` gives.
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        residual: Tensor<B, 2>,
        [batch, tokens]: [usize; 2],
        padding: Option<Tensor<B, 2, Bool>>,
        draws: &mut Draws<B>,
    ) -> Tensor<B, 2> {
        let [_, hidden] = x.dims();
        // [batch * tokens, hidden] -> [batch, tokens, hidden]
        let mut project = |linear: &LoraLinear<B>| {
            linear.forward_drawing(x.clone(), draws).reshape([batch, tokens, hidden])
        };
        let query = project(&self.q_proj);
        let (key, value) = (project(&self.k_proj), project(&self.v_proj));
        let mixed = ops::causal_attention(query, key, value, self.rule, padding);
        // [batch, tokens, hidden] -> [batch * tokens, hidden]
        let mixed = mixed.reshape([batch * tokens, hidden]);
        self.out_proj.forward_then(mixed, draws, Then::AddTo(residual))
    }

    /// The numbers that x is multiplied in.
    pub(crate) fn precision(&self) -> Precision {
        self.q_proj.precision
    }

    /// The rows of a pass, `[rows, hidden]`, behind what the cache holds of their sequences, added to theirs of the residual
    /// stream; their own keys and values are added to the cache.
    pub(crate) fn forward_rows(
        &self,
        x: Tensor<B, 2>,
        residual: Tensor<B, 2>,
        layer: usize,
        pass: &Pass<'_, B>,
        cache: &mut LayerCache<B>,
    ) -> Tensor<B, 2> {
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        let updates = [Target::QProj, Target::KProj, Target::VProj].map(|target| pass.updates(layer, target));
        let [query, key, value] = LoraLinear::forward_together(layers, x, updates);
        let mixed = cache.attend(query, [key, value], self.rule, &pass.places, &pass.texts);
        self.out_proj.forward_adapted_then(mixed, pass.updates(layer, Target::OutProj), Then::AddTo(residual))
    }
}
