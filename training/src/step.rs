//! The model as Burn's `Learner` trains it: one optimizer step's loss and gradients.

use burn::backend::Autodiff;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use gptneo_datasets::TokenBatch;
use gptneo_model::{GptNeo, NeoBackend};

use crate::plan::StepInput;

/// A model under training. It wraps [`GptNeo`] because Burn's traits and the model are both of other crates.
#[derive(Module, Debug)]
pub struct FineTune<B: Backend> {
    /// The model, with its adapter if it has one.
    pub model: GptNeo<B>,
}

/// The loss of a step: two numbers, so that no logits wait for the host.
#[derive(Clone, Copy, Debug)]
pub struct StepLoss {
    /// Summed negative log-likelihood in nats.
    pub sum: f64,
    /// Supervised tokens.
    pub tokens: usize,
}

impl StepLoss {
    /// Nats per supervised token.
    pub fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }
}

impl ItemLazy for StepLoss {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

/// The summed negative log-likelihood of a batch's supervised tokens, `[1]`; none if there are none.
///
/// No padding mask is needed: texts are padded on the right, and no real token looks to its right.
pub fn loss_sum<B: NeoBackend>(
    model: &GptNeo<B>,
    batch: &TokenBatch,
    device: &B::Device,
) -> Option<Tensor<B, 1>> {
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
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [batch.rows(), width]), device);
    let hidden = model.hidden(ids, None);
    let [rows, tokens, size] = hidden.dims();
    // [rows, tokens, hidden] -> [supervised tokens, hidden]
    let sources = Tensor::<B, 1, Int>::from_data(TensorData::new(sources, [count]), device);
    let hidden = hidden.reshape([rows * tokens, size]).select(0, sources);
    let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(targets, [count]), device);
    Some(model.cross_entropy_sum(hidden, targets))
}

impl<B: NeoBackend> FineTune<Autodiff<B>> {
    /// Forward and backward over each batch of a step or of a device's share of it: gradients and summed loss. Every
    /// batch's loss is divided by `tokens`, the supervised tokens of the whole step, so that the gradients add up to
    /// those of one large batch, times the loss scale.
    pub(crate) fn gradients(&self, input: &StepInput, tokens: usize) -> (GradientsParams, f64) {
        let device = self.model.head_weight().device();
        // Dropout follows from the step's number alone: a resumed run draws what an uninterrupted one did.
        Autodiff::<B>::seed(&device, input.seed);
        let mut accumulator = GradientsAccumulator::new();
        let mut sum = 0.0;
        for batch in &input.micro_batches {
            let Some(loss) = loss_sum(&self.model, batch, &device) else { continue };
            let value = loss.clone().inner();
            let gradients = (loss / tokens as f64 * input.loss_scale).backward();
            accumulator.accumulate(self, GradientsParams::from_grads(gradients, self));
            // Read last: a GPU would wait for the host between the two passes.
            sum += number(value);
        }
        (accumulator.grads(), sum)
    }
}

/// One number from the device.
fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}

impl<B: NeoBackend> TrainStep for FineTune<Autodiff<B>> {
    type Input = StepInput;
    type Output = StepLoss;

    fn step(&self, input: StepInput) -> TrainOutput<StepLoss> {
        let tokens = input.supervised_tokens();
        let (grads, sum) = self.gradients(&input, tokens);
        TrainOutput { grads, item: StepLoss { sum, tokens } }
    }
}

impl<B: NeoBackend> InferenceStep for FineTune<B> {
    type Input = StepInput;
    type Output = StepLoss;

    fn step(&self, input: StepInput) -> StepLoss {
        let device = self.model.head_weight().device();
        let losses = input.micro_batches.iter().filter_map(|batch| loss_sum(&self.model, batch, &device));
        StepLoss { sum: losses.map(number).sum(), tokens: input.supervised_tokens() }
    }
}
