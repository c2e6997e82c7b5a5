//! The whole network: embeddings, blocks, final norm and head.
//!
//! Field names are the Hugging Face checkpoint's, so that a parameter's path is its key there.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};

use crate::block::Block;
use crate::{Activations, GptNeoConfig, LayerNorm, LoraLinear, NeoBackend, Precision, Target, ops};

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
    /// The numbers of the head's product; see `products.rs`.
    #[module(skip)]
    pub(crate) precision: Precision,
    /// What a training step keeps; see `activations.rs`.
    #[module(skip)]
    pub(crate) activations: Activations,
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
                LoraLinear::init([config.vocab_size, config.hidden_size], config.initializer_range, device)
            }),
            config: config.clone(),
            precision: Precision::F32,
            activations: Activations::Kept,
        }
    }

    /// The model with a head that is not the token embedding, whose weights are yet to come.
    #[must_use]
    pub(crate) fn with_own_head(mut self) -> Self {
        if self.lm_head.is_none() {
            let (config, device) = (&self.config, self.transformer.wte.weight.lazy_device());
            let shape = [config.vocab_size, config.hidden_size];
            self.lm_head = Some(LoraLinear::init(shape, config.initializer_range, &device));
            self.config = self.config.with_own_head();
        }
        self
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
    /// Final hidden states of whole texts: ids `[batch, tokens]` to `[batch, tokens, hidden]`. Positions count from 0.
    pub fn hidden(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let no_padding = None;
        self.hidden_padded(ids, no_padding)
    }

    /// As [`GptNeo::hidden`], for texts that are padded on the right: `padding` is true where a token is padding,
    /// `[batch, tokens]`.
    pub fn hidden_padded(&self, ids: Tensor<B, 2, Int>, padding: Option<Tensor<B, 2, Bool>>) -> Tensor<B, 3> {
        let mut x = self.embed_texts(ids);
        for block in &self.transformer.h {
            x = block.forward(x, padding.clone());
        }
        self.transformer.ln_f.forward(x)
    }

    /// What enters the first block of whole texts: ids `[batch, tokens]` to `[batch, tokens, hidden]`.
    pub fn embed_texts(&self, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let [_, tokens] = ids.dims();
        let device = ids.device();
        let positions = Tensor::<B, 1, Int>::arange(0..tokens as i64, &device).reshape([1, tokens]);
        self.embed(ids, positions)
    }

    /// Logits of hidden states: `[rows, hidden]` to `[rows, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        ops::linear(hidden, self.head_weight(), self.precision)
    }

    /// The summed negative log-likelihood of the rows' targets in nats, `[1]`: hidden states `[rows, hidden]`, targets
    /// `[rows]`; see [`ops::cross_entropy_sum`].
    pub fn cross_entropy_sum(&self, hidden: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        ops::cross_entropy_sum(hidden, self.head_weight(), targets, self.precision)
    }

    /// The negative log-likelihood of each row's target in nats, `[rows]`: hidden states `[rows, hidden]`, targets
    /// `[rows]`; see [`ops::token_nll`].
    pub fn token_nll(&self, hidden: Tensor<B, 2>, targets: Tensor<B, 1, Int>) -> Tensor<B, 1> {
        ops::token_nll(hidden, self.head_weight(), targets, self.precision)
    }

    /// What enters the first block: ids and positions `[batch, tokens]` to `[batch, tokens, hidden]`.
    pub(crate) fn embed(&self, ids: Tensor<B, 2, Int>, positions: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let positions = self.transformer.wpe.forward(positions);
        // The table of tokens may be kept in half.
        let tokens = ops::embedding_rows(self.transformer.wte.weight.val(), ids);
        tokens.cast(positions.dtype()) + positions
    }
}
