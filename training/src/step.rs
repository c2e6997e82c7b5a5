//! A training step: forward, backward, unscale, clip, optimise.
//!
//! The training, the benchmark and the measurement before a run all take their steps here.

use burn::backend::Autodiff;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::Learner;
use gptneo_datasets::TokenBatch;
use gptneo_model::{GptNeo, NeoBackend, device_failure};

use crate::TrainingError;
use crate::learner::{Components, FineTune};
use crate::optim::clip_global_norm;
use crate::parallel::Replicas;
use crate::precision::LossScale;

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

/// What came of a training step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepOutcome {
    /// The loss before the step.
    pub(crate) loss: StepLoss,
    /// The norm of all gradients together before they were clipped; not a number where the step was skipped.
    pub(crate) grad_norm: f64,
    /// What the loss was multiplied with, where it was.
    pub(crate) loss_scale: Option<f64>,
    /// The gradients were not finite at that scale: no parameter was changed, the learning rate did not move on.
    pub(crate) skipped: bool,
}

/// The loss of some texts: two numbers, so that no logits wait for the host.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepLoss {
    /// Summed negative log-likelihood in nats.
    pub(crate) sum: f64,
    /// Supervised tokens.
    pub(crate) tokens: usize,
}

/// Takes one step, or skips it where its gradients are not finite at the loss scale of the time.
///
/// # Errors
///
/// A device failed, the loss or its gradient is not finite, or no smaller loss scale can make it so. The model is then
/// as it was before.
pub(crate) fn training_step<B: NeoBackend>(
    learner: &mut Learner<Components<B>>,
    replicas: &mut Replicas<B>,
    scaling: &mut Option<LossScale>,
    max_grad_norm: f64,
    mut input: StepInput,
) -> Result<StepOutcome, TrainingError> {
    let (step, records) = (input.number, input.records_from_1());
    let loss_scale = scaling.map(|scaling| scaling.scale);
    input.loss_scale = loss_scale.unwrap_or(1.0);

    let mut output = match replicas.is_empty() {
        true => learner.train_step(input),
        false => replicas.step(&learner.model(), &input)?,
    };
    let model = learner.model();
    let finite = scaling.as_mut().is_none_or(|scaling| scaling.unscale(&model, &mut output.grads));
    let grad_norm = match finite {
        true => clip_global_norm(&model, &mut output.grads, max_grad_norm),
        false => f64::NAN,
    };
    drop(model);

    // Loss and gradients were read: numbers of a failed device must not be learned from.
    device_failure::check()?;
    let loss = output.item.mean();
    if finite && !(loss.is_finite() && grad_norm.is_finite()) {
        return Err(TrainingError::NonFinite { step, loss, records });
    }
    if scaling.is_some_and(|scaling| scaling.is_exhausted()) {
        return Err(TrainingError::LossScaleExhausted { step, records });
    }
    if finite {
        learner.lr_step();
        learner.optimizer_step(output.grads);
    }
    Ok(StepOutcome { loss: output.item, grad_norm, loss_scale, skipped: !finite })
}

/// Forward and backward over each batch of a step or of a device's share of it: gradients and summed loss. Every
/// batch's loss is divided by `tokens`, the supervised tokens of the whole step, so that the gradients add up to
/// those of one large batch, times the loss scale.
pub(crate) fn gradients<B: NeoBackend>(
    model: &FineTune<Autodiff<B>>,
    input: &StepInput,
    tokens: usize,
) -> (GradientsParams, f64) {
    let device = model.model.head_weight().device();
    // Dropout follows from the step's number alone: a resumed run draws what an uninterrupted one did.
    Autodiff::<B>::seed(&device, input.seed);
    let mut accumulator = GradientsAccumulator::new();
    let mut sum = 0.0;
    for batch in &input.micro_batches {
        let Some(loss) = loss_sum(&model.model, batch, &device) else { continue };
        let value = loss.clone().inner();
        let gradients = (loss / tokens as f64 * input.loss_scale).backward();
        accumulator.accumulate(model, GradientsParams::from_grads(gradients, model));
        // Read last: a GPU would wait for the host between the two passes.
        sum += number(value);
    }
    (accumulator.grads(), sum)
}

/// The loss of a batch, without gradients.
pub(crate) fn batch_loss<B: NeoBackend>(model: &GptNeo<B>, batch: &TokenBatch) -> StepLoss {
    let device = model.head_weight().device();
    let sum = loss_sum(model, batch, &device).map_or(0.0, number);
    StepLoss { sum, tokens: batch.supervised_tokens() }
}

/// The summed negative log-likelihood of a batch's supervised tokens, `[1]`; none if there are none.
///
/// No padding mask is needed: texts are padded on the right, and no real token looks to its right.
fn loss_sum<B: NeoBackend>(
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
    let hidden = model.hidden(ids);
    let [rows, tokens, size] = hidden.dims();
    // [rows, tokens, hidden] -> [supervised tokens, hidden]
    let sources = Tensor::<B, 1, Int>::from_data(TensorData::new(sources, [count]), device);
    let hidden = hidden.reshape([rows * tokens, size]).select(0, sources);
    let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(targets, [count]), device);
    Some(model.cross_entropy_sum(hidden, targets))
}

/// One number from the device.
fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
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
    fn records_from_1(&self) -> Vec<usize> {
        self.records().map(|record| record + 1).collect()
    }
}

impl StepLoss {
    /// Nats per supervised token.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }
}
