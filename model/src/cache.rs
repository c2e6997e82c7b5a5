//! Keys and values of the tokens already seen, so that each new token costs one position.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, s};

use crate::{GptNeoConfig, NeoBackend, ops};

/// One layer's keys and values, in buffers that never grow.
#[derive(Clone, Debug)]
pub struct LayerCache<B: Backend> {
    /// `[batch, capacity, hidden]`.
    keys: Tensor<B, 3>,
    values: Tensor<B, 3>,
    length: usize,
}

impl<B: NeoBackend> LayerCache<B> {
    /// Writes the new positions behind the old ones; returns all keys and values so far,
    /// `[batch, length, hidden]`.
    pub fn append(&mut self, keys: Tensor<B, 3>, values: Tensor<B, 3>) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [_, new, _] = keys.dims();
        let end = self.length + new;
        self.keys.inplace(|buffer| ops::write_tokens(buffer, self.length, keys));
        self.values.inplace(|buffer| ops::write_tokens(buffer, self.length, values));
        self.length = end;
        let seen = s![.., 0..end, ..];
        (self.keys.clone().slice(seen), self.values.clone().slice(seen))
    }
}

/// The keys and values of all layers for one batch of sequences.
#[derive(Clone, Debug)]
pub struct KvCache<B: Backend> {
    pub(crate) layers: Vec<LayerCache<B>>,
    capacity: usize,
}

impl<B: Backend> KvCache<B> {
    /// Room for `capacity` positions of `batch` sequences.
    pub fn new(config: &GptNeoConfig, batch: usize, capacity: usize, device: &B::Device) -> Self {
        let shape = [batch, capacity, config.hidden_size];
        let layer = || LayerCache {
            keys: Tensor::zeros(shape, device),
            values: Tensor::zeros(shape, device),
            length: 0,
        };
        Self { layers: (0..config.num_layers()).map(|_| layer()).collect(), capacity }
    }

    /// Positions already held.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.length)
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Positions that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}
