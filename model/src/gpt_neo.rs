//! The whole network: embeddings, blocks, final norm and head.
//!
//! Field names are the Hugging Face checkpoint's, so that a parameter's path is its key there.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor};

use crate::block::Block;
use crate::cache::KvCache;
use crate::{GptNeoConfig, LayerNorm, LoraLinear, NeoBackend, Target, ops};

/// Everything but the head.
#[derive(Module, Debug)]
pub struct Transformer<B: Backend> {
    /// Token embedding, `[vocabulary, hidden]`.
    pub wte: Embedding<B>,
    /// Position embedding, `[positions, hidden]`.
    pub wpe: Embedding<B>,
    /// Blocks.
    pub h: Vec<Block<B>>,
    /// Final norm.
    pub ln_f: LayerNorm<B>,
}

/// GPT-Neo for causal language modelling.
#[derive(Module, Debug)]
pub struct GptNeo<B: Backend> {
    /// Everything but the head.
    pub transformer: Transformer<B>,
    /// The head, where it is not the token embedding.
    pub lm_head: Option<LoraLinear<B>>,
    #[module(skip)]
    config: GptNeoConfig,
    /// The type of the head's product, where it is not that of the hidden states; see `half_products.rs`.
    #[module(skip)]
    pub(crate) half_products: Option<DType>,
}

impl<B: Backend> GptNeo<B> {
    /// Random weights as the configuration says; they are drawn when first used, so that loading a checkpoint
    /// never pays for them.
    pub fn init(config: &GptNeoConfig, device: &B::Device) -> Self {
        let initializer = Initializer::Normal { mean: 0.0, std: config.initializer_range };
        let embedding = |rows| {
            EmbeddingConfig::new(rows, config.hidden_size).with_initializer(initializer.clone()).init(device)
        };
        Self {
            transformer: Transformer {
                wte: embedding(config.vocab_size),
                wpe: embedding(config.max_position_embeddings),
                h: config.attention_layers.iter().map(|kind| Block::init(config, *kind, device)).collect(),
                ln_f: LayerNorm::init(config.hidden_size, config.layer_norm_epsilon, device),
            },
            lm_head: (!config.tie_word_embeddings).then(|| {
                let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
                LoraLinear::init(hidden, vocabulary, false, config.initializer_range, device)
            }),
            config: config.clone(),
            half_products: None,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &GptNeoConfig {
        &self.config
    }

    /// The matrix that turns hidden states into logits, `[vocabulary, hidden]`.
    pub fn head_weight(&self) -> Tensor<B, 2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.transformer.wte.weight.val(),
        }
    }

    /// The linear layers that can carry an adapter, each with its path in the checkpoint.
    pub fn linears(&self) -> impl Iterator<Item = (String, Target, &LoraLinear<B>)> {
        self.transformer.h.iter().enumerate().flat_map(|(layer, block)| {
            let attention = &block.attn.attention;
            [
                (Target::QProj, &attention.q_proj),
                (Target::KProj, &attention.k_proj),
                (Target::VProj, &attention.v_proj),
                (Target::OutProj, &attention.out_proj),
                (Target::CFc, &block.mlp.c_fc),
                (Target::CProj, &block.mlp.c_proj),
            ]
            .map(|(target, linear)| (target.path(layer), target, linear))
        })
    }

    /// As [`GptNeo::linears`], to change them.
    pub fn linears_mut(&mut self) -> impl Iterator<Item = (String, Target, &mut LoraLinear<B>)> {
        self.transformer.h.iter_mut().enumerate().flat_map(|(layer, block)| {
            let attention = &mut block.attn.attention;
            [
                (Target::QProj, &mut attention.q_proj),
                (Target::KProj, &mut attention.k_proj),
                (Target::VProj, &mut attention.v_proj),
                (Target::OutProj, &mut attention.out_proj),
                (Target::CFc, &mut block.mlp.c_fc),
                (Target::CProj, &mut block.mlp.c_proj),
            ]
            .map(|(target, linear)| (target.path(layer), target, linear))
        })
    }
}

impl<B: NeoBackend> GptNeo<B> {
    /// Final hidden states of whole texts: ids `[batch, tokens]` to `[batch, tokens, hidden]`.
    ///
    /// `padding` is true where a token is padding, `[batch, tokens]`. Texts are padded on the right; positions
    /// count from 0.
    pub fn hidden(&self, ids: Tensor<B, 2, Int>, padding: Option<Tensor<B, 2, Bool>>) -> Tensor<B, 3> {
        let [_, tokens] = ids.dims();
        let device = ids.device();
        let positions = Tensor::<B, 1, Int>::arange(0..tokens as i64, &device).reshape([1, tokens]);
        self.run(ids, positions, padding, None)
    }

    /// Final hidden states of new tokens behind those in the cache: ids and positions `[batch, new]` to
    /// `[batch, new, hidden]`.
    ///
    /// `padding` is true where a position, cached or new, is padding, `[batch, cached + new]`.
    pub fn hidden_cached(
        &self,
        ids: Tensor<B, 2, Int>,
        positions: Tensor<B, 2, Int>,
        padding: Option<Tensor<B, 2, Bool>>,
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 3> {
        self.run(ids, positions, padding, Some(cache))
    }

    /// Logits of hidden states: `[rows, hidden]` to `[rows, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let full = hidden.dtype();
        match self.head_factors(hidden) {
            (hidden, head, true) => ops::rounded_linear(hidden, head, None, None),
            (hidden, head, false) => ops::linear(hidden, head, None).cast(full),
        }
    }

    /// The summed negative log-likelihood of the rows' targets in nats, `[1]`: hidden states `[rows, hidden]`, targets
    /// `[rows]`; see [`ops::cross_entropy_sum`].
    pub fn cross_entropy_sum(&self, hidden: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        let (hidden, head, rounded) = self.head_factors(hidden);
        ops::cross_entropy_sum(hidden, head, targets, rounded)
    }

    /// The negative log-likelihood of each row's target in nats, `[rows]`: hidden states `[rows, hidden]`, targets
    /// `[rows]`; see [`ops::token_nll`].
    pub fn token_nll(&self, hidden: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        let (hidden, head, rounded) = self.head_factors(hidden);
        ops::token_nll(hidden, head, targets, rounded)
    }

    /// Hidden states and head as their product takes them, and whether it rounds the hidden states to the head's type.
    fn head_factors(&self, hidden: Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>, bool) {
        match self.half_products {
            Some(half) if B::rounds_factors(half) => (hidden, self.head_weight().cast(half), true),
            Some(half) => (hidden.cast(half), self.head_weight().cast(half), false),
            None => (hidden, self.head_weight(), false),
        }
    }

    fn run(
        &self,
        ids: Tensor<B, 2, Int>,
        positions: Tensor<B, 2, Int>,
        padding: Option<Tensor<B, 2, Bool>>,
        mut cache: Option<&mut KvCache<B>>,
    ) -> Tensor<B, 3> {
        let positions = self.transformer.wpe.forward(positions);
        // The table of tokens may be kept in half.
        let mut x = self.transformer.wte.forward(ids).cast(positions.dtype()) + positions;
        for (layer, block) in self.transformer.h.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| &mut cache.layers[layer]);
            x = block.forward(x, padding.clone(), cache);
        }
        self.transformer.ln_f.forward(x)
    }
}
