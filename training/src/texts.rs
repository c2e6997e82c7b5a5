//! The texts of a batch on a device, with what is learned of them.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use gptneo_datasets::TokenBatch;
use gptneo_model::{GptNeo, NeoBackend};

/// The texts of a batch on a device, with what is learned of them.
///
/// No padding mask is needed: texts are padded on the right, and no real token looks to its right.
pub(crate) struct Texts<B: Backend> {
    /// Token ids, `[rows, tokens]`.
    pub(crate) ids: Tensor<B, 2, Int>,
    /// The positions whose hidden states predict a supervised token, over all rows, `[supervised tokens]`.
    sources: Tensor<B, 1, Int>,
    /// Those tokens, `[supervised tokens]`.
    targets: Tensor<B, 1, Int>,
}

impl<B: NeoBackend> Texts<B> {
    /// None where no token is supervised.
    pub(crate) fn of(batch: &TokenBatch, device: &B::Device) -> Option<Self> {
        let width = batch.width;
        let mut sources = Vec::new();
        let mut targets = Vec::new();
        for (row, position) in batch.targets() {
            // The hidden state one position earlier predicts the token.
            sources.push((row * width + position - 1) as i32);
            targets.push(batch.ids[row * width + position] as i32);
        }
        if targets.is_empty() {
            return None;
        }
        let count = targets.len();
        let ids: Vec<i32> = batch.ids.iter().map(|id| *id as i32).collect();
        Some(Self {
            ids: Tensor::from_data(TensorData::new(ids, [batch.rows(), width]), device),
            sources: Tensor::from_data(TensorData::new(sources, [count]), device),
            targets: Tensor::from_data(TensorData::new(targets, [count]), device),
        })
    }

    /// The summed negative log-likelihood of the supervised tokens, `[1]`, from the final hidden states
    /// `[rows, tokens, hidden]`.
    pub(crate) fn loss_sum(&self, model: &GptNeo<B>, hidden: Tensor<B, 3>) -> Tensor<B, 1> {
        let [rows, tokens, size] = hidden.dims();
        // [rows, tokens, hidden] -> [supervised tokens, hidden]
        let hidden = hidden.reshape([rows * tokens, size]).select(0, self.sources.clone());
        model.cross_entropy_sum(hidden, self.targets.clone())
    }
}
