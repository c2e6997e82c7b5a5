//! Keys and values of the tokens already seen, so that each new token costs one position: one memory for all sequences,
//! in which each has places of its own.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::{GptNeoConfig, NeoBackend, ops};

/// One layer's keys and values, in buffers that never grow.
#[derive(Clone, Debug)]
pub(crate) struct LayerCache<B: Backend> {
    /// `[places, hidden]`.
    pub(crate) keys: Tensor<B, 2>,
    /// `[places, hidden]`.
    pub(crate) values: Tensor<B, 2>,
}

impl<B: NeoBackend> LayerCache<B> {
    /// Puts keys and values of new tokens, `[rows, hidden]`, at their places.
    pub(crate) fn write(&mut self, places: &[usize], keys: Tensor<B, 2>, values: Tensor<B, 2>) {
        self.keys.inplace(|buffer| ops::write_rows(buffer, places, keys));
        self.values.inplace(|buffer| ops::write_rows(buffer, places, values));
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
