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
use crate::{AttentionKind, GptNeoConfig, LoraLinear, NeoBackend, Target};

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
    /// `[batch, tokens, hidden]` to the same shape; `padding` is true where a key is padding, `[batch, tokens]`. Dropouts
    /// are those that `draws` gives.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        padding: Option<Tensor<B, 2, Bool>>,
        draws: &mut Draws<B>,
    ) -> Tensor<B, 3> {
        let [batch, tokens, hidden] = x.dims();
        let rows = x.reshape([batch * tokens, hidden]);
        // [batch * tokens, hidden] -> [batch, tokens, hidden]
        let mut project = |linear: &LoraLinear<B>| {
            linear.forward_drawing(rows.clone(), draws).reshape([batch, tokens, hidden])
        };
        let query = project(&self.q_proj);
        let (key, value) = (project(&self.k_proj), project(&self.v_proj));
        let mixed = ops::causal_attention(query, key, value, self.rule, padding);
        // [batch, tokens, hidden] -> [batch * tokens, hidden]
        let mixed = mixed.reshape([batch * tokens, hidden]);
        self.out_proj.forward_drawing(mixed, draws).reshape([batch, tokens, hidden])
    }

    /// The rows of a pass, `[rows, hidden]` to the same shape, behind what the cache holds of their sequences; their own
    /// keys and values are added to it.
    pub(crate) fn forward_rows(
        &self,
        x: Tensor<B, 2>,
        layer: usize,
        pass: &Pass<'_, B>,
        cache: &mut LayerCache<B>,
    ) -> Tensor<B, 2> {
        let project =
            |linear: &LoraLinear<B>, target| linear.forward_adapted(x.clone(), pass.updates(layer, target));
        let query = project(&self.q_proj, Target::QProj);
        let (key, value) = (project(&self.k_proj, Target::KProj), project(&self.v_proj, Target::VProj));
        cache.write(&pass.places, key, value);
        let (keys, values) = (cache.keys.clone(), cache.values.clone());
        let mixed = ops::cached_attention(query, keys, values, self.rule, &pass.texts);
        self.out_proj.forward_adapted(mixed, pass.updates(layer, Target::OutProj))
    }
}
