//! What goes into a training step and the loss that comes out.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::train::ItemLazy;
use gptneo_datasets::TokenBatch;

/// What a training step works on.
#[derive(Clone, Debug)]
pub(crate) struct StepInput {
    /// The step's number, from 1.
    pub(crate) number: usize,
    /// The batches of one optimizer step.
    pub(crate) micro_batches: Vec<TokenBatch>,
    /// Seed of the step's dropout.
    pub(crate) seed: u64,
    /// What the loss is multiplied with for the backward pass; the gradients come out multiplied.
    pub(crate) loss_scale: f64,
}

/// The loss of some texts: two numbers, so that no logits wait for the host.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepLoss {
    /// Summed negative log-likelihood in nats.
    pub(crate) sum: f64,
    /// Supervised tokens.
    pub(crate) tokens: usize,
}

/// The loss of a training step as the devices have it: read when the step's gradients are known too, in one wait.
#[derive(Clone, Debug)]
pub(crate) struct PendingLoss<B: Backend> {
    /// What was read before, by devices beside the first.
    pub(crate) read: f64,
    /// The sum of each batch that was not read yet, `[1]`.
    pub(crate) sums: Vec<Tensor<B, 1>>,
    /// Supervised tokens.
    pub(crate) tokens: usize,
}

impl StepInput {
    /// Tokens that count in the loss.
    pub(crate) fn supervised_tokens(&self) -> usize {
        self.micro_batches.iter().map(TokenBatch::supervised_tokens).sum()
    }

    /// What one of `devices` devices works on, with dropout of its own: every row of each batch is one device's.
    pub(crate) fn share(&self, index: usize, devices: usize) -> Self {
        let batches = self.micro_batches.iter().map(|batch| batch.rows_from(index, devices));
        Self {
            number: self.number,
            micro_batches: batches.filter(|batch| batch.rows() > 0).collect(),
            seed: self.seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            loss_scale: self.loss_scale,
        }
    }

    /// The records of the step, by their index in the data.
    pub(crate) fn records(&self) -> impl Iterator<Item = usize> + '_ {
        self.micro_batches.iter().flat_map(|batch| batch.records.iter().copied())
    }

    /// The records as errors name them.
    pub(crate) fn records_from_1(&self) -> Vec<usize> {
        self.records().map(|record| record + 1).collect()
    }
}

impl StepLoss {
    /// Nats per supervised token.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }
}

impl<B: Backend> PendingLoss<B> {
    /// The loss, with the numbers of `sums`.
    pub(crate) fn with(&self, sums: &[f64]) -> StepLoss {
        StepLoss { sum: sums.iter().fold(self.read, |all, sum| all + sum), tokens: self.tokens }
    }
}

impl<B: Backend> ItemLazy for PendingLoss<B> {
    type ItemSync = StepLoss;

    fn sync(self) -> StepLoss {
        let sums: Vec<f64> = self.sums.iter().cloned().map(number).collect();
        self.with(&sums)
    }
}

impl ItemLazy for StepLoss {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

/// One number from the device.
pub(crate) fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}
