//! The network at work on several prompts: one pass over all of them, then one token a step for each, with a cache of
//! keys and values, positions that count from each row's first real token, and padding hidden.

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData, s};

use crate::device::failure;
use crate::{GptNeo, KvCache, ModelError, NeoBackend};

/// The model with its cache and what it must know of the rows' padding.
pub(super) struct Decoder<'a, B: Backend> {
    model: &'a GptNeo<B>,
    cache: KvCache<B>,
    /// Tokens of each prompt.
    lengths: Vec<usize>,
    /// Padding in front of each row, `[batch, 1]`; nothing where all prompts are equally long.
    pub(super) pads: Option<Tensor<B, 2, Int>>,
    device: B::Device,
}

impl<'a, B: NeoBackend> Decoder<'a, B> {
    pub(super) fn new(model: &'a GptNeo<B>, prompts: &[Vec<u32>], max_new_tokens: usize) -> Self {
        let device = model.transformer.wte.weight.val().device();
        let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let pads = lengths.iter().any(|length| *length < longest).then(|| {
            let pads = lengths.iter().map(|length| (longest - length) as i32).collect();
            id_tensor(pads, 1, &device)
        });
        // The last new token is chosen but never read.
        let capacity = longest + max_new_tokens - 1;
        let cache = KvCache::new(model.config(), prompts.len(), capacity, &device);
        Self { model, cache, lengths, pads, device }
    }

    /// The logits behind each prompt, row after row.
    pub(super) fn prefill(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<f32>, ModelError> {
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(prompts.len() * longest);
        let mut positions = Vec::with_capacity(prompts.len() * longest);
        for prompt in prompts {
            // Any token and position do for padding, which nobody reads.
            let pad = longest - prompt.len();
            ids.extend(std::iter::repeat_n(0, pad).chain(prompt.iter().map(|id| *id as i32)));
            positions.extend(std::iter::repeat_n(0, pad).chain(0..prompt.len() as i32));
        }
        self.forward(ids, positions, longest)
    }

    /// The logits behind one more token of each row, row after row.
    pub(super) fn step(&mut self, last: &[u32]) -> Result<Vec<f32>, ModelError> {
        let ids = last.iter().map(|id| *id as i32).collect();
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let generated = self.cache.len() - longest;
        let positions = self.lengths.iter().map(|length| (length + generated) as i32).collect();
        self.forward(ids, positions, 1)
    }

    fn forward(&mut self, ids: Vec<i32>, positions: Vec<i32>, new: usize) -> Result<Vec<f32>, ModelError> {
        let ids = id_tensor(ids, new, &self.device);
        let positions = id_tensor(positions, new, &self.device);
        let padding = self.padding(self.cache.len() + new);
        let hidden = self.model.hidden_cached(ids, positions, padding, &mut self.cache);
        let [batch, _, width] = hidden.dims();
        // [batch, new, hidden] -> [batch, hidden]: only the last token's successor is wanted.
        let last = hidden.slice(s![.., new - 1..new, ..]).reshape([batch, width]);
        let logits = self.model.logits(last).cast(DType::F32).into_data();
        failure::check()?;
        logits
            .into_vec()
            .map_err(|error| ModelError::Generation(format!("the logits cannot be read: {error:?}")))
    }

    /// True where a column is padding, `[batch, columns]`.
    pub(super) fn padding(&self, columns: usize) -> Option<Tensor<B, 2, Bool>> {
        let pads = self.pads.clone()?;
        let [batch, _] = pads.dims();
        // [columns] -> [1, columns]
        let column = Tensor::<B, 1, Int>::arange(0..columns as i64, &self.device).reshape([1, columns]);
        Some(column.expand([batch, columns]).lower(pads.expand([batch, columns])))
    }
}

/// Integers given row by row, `[values / columns, columns]`.
pub(super) fn id_tensor<B: Backend>(
    values: Vec<i32>,
    columns: usize,
    device: &B::Device,
) -> Tensor<B, 2, Int> {
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}
