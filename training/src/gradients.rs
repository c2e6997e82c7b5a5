//! The loss of a batch and its gradients: one forward pass, and one backward pass where something learns.

use burn::backend::Autodiff;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use gptneo_datasets::TokenBatch;
use gptneo_model::{GptNeo, NeoBackend};

use crate::fine_tune::FineTune;
use crate::step_input::{StepInput, StepLoss, number};

/// Forward and backward over each batch of a step or of a device's share of it: gradients, and the summed loss of each
/// batch, `[1]`, which is not waited for. Every
/// batch's loss is divided by `tokens`, the supervised tokens of the whole step, so that the gradients add up to
/// those of one large batch, times the loss scale.
pub(crate) fn gradients<B: NeoBackend>(
    model: &FineTune<Autodiff<B>>,
    input: &StepInput,
    tokens: usize,
) -> (GradientsParams, Vec<Tensor<B, 1>>) {
    let device = model.model.head_weight().device();
    // Dropout follows from the step's number alone: a resumed run draws what an uninterrupted one did.
    Autodiff::<B>::seed(&device, input.seed);
    let mut accumulator = GradientsAccumulator::new();
    let mut sums = Vec::new();
    for batch in &input.micro_batches {
        let Some(loss) = loss_sum(&model.model, batch, &device) else { continue };
        sums.push(loss.clone().inner());
        let gradients = (loss / tokens as f64 * input.loss_scale).backward();
        accumulator.accumulate(model, GradientsParams::from_grads(gradients, model));
    }
    (accumulator.grads(), sums)
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
