//! Keys and values of the tokens already seen, so that each new token costs one position: one memory for all sequences,
//! in which each has places of its own.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::ops::{self, AttentionRule, CachedTexts};
use crate::{GptNeoConfig, NeoBackend};

/// One layer's keys and values, in buffers that never grow.
#[derive(Clone, Debug)]
pub(crate) struct LayerCache<B: Backend> {
    /// `[places, hidden]`.
    pub(crate) keys: Tensor<B, 2>,
    /// `[places, hidden]`.
    pub(crate) values: Tensor<B, 2>,
}

impl<B: NeoBackend> LayerCache<B> {
    /// Attention of `query` `[rows, hidden]`, once the `new` keys and values of the same rows are at `places`.
    pub(crate) fn attend(
        &mut self,
        query: Tensor<B, 2>,
        new: [Tensor<B, 2>; 2],
        rule: AttentionRule,
        places: &[usize],
        texts: &CachedTexts<B>,
    ) -> Tensor<B, 2> {
        // Buffers that nothing else holds are written in place.
        let nothing = || Tensor::empty([0, 0], &query.device());
        let cache = [&mut self.keys, &mut self.values].map(|kept| std::mem::replace(kept, nothing()));
        let (mixed, [keys, values]) = ops::appended_attention(query, new, cache, places, rule, texts);
        (self.keys, self.values) = (keys, values);
        mixed
    }
}

/// The keys and values of all layers.
#[derive(Clone, Debug)]
pub(crate) struct KvCache<B: Backend> {
    pub(crate) layers: Vec<LayerCache<B>>,
    places: usize,
}

impl<B: Backend> KvCache<B> {
    /// Room for so many tokens, of all sequences together.
    pub(crate) fn new(config: &GptNeoConfig, places: usize, device: &B::Device) -> Self {
        let shape = [places, config.hidden_size];
        let layer =
            || LayerCache { keys: Tensor::zeros(shape, device), values: Tensor::zeros(shape, device) };
        Self { layers: (0..config.num_layers()).map(|_| layer()).collect(), places }
    }

    /// Tokens that there is room for.
    pub(crate) fn places(&self) -> usize {
        self.places
    }
}
