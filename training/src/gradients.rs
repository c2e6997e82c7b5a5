//! The loss of a batch and its gradients: one forward pass, and one backward pass where something learns.

use burn::backend::Autodiff;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use gptneo_datasets::TokenBatch;
use gptneo_model::{Activations, GptNeo, NeoBackend};

use crate::fine_tune::{FineTune, gradients_of_trained};
use crate::recompute;
use crate::step_input::{StepInput, StepLoss, number};
use crate::texts::Texts;

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
    // Dropout follows from the step's number alone: a resumed run draws what an uninterrupted one did. Several devices draw
    // from one generator in whatever order they come.
    Autodiff::<B>::seed_draws(&device, input.seed);
    let mut accumulator = GradientsAccumulator::new();
    let mut sums = Vec::new();
    for batch in &input.micro_batches {
        let Some(texts) = Texts::of(batch, &device) else { continue };
        let part = |loss: Tensor<Autodiff<B>, 1>| loss / tokens as f64 * input.loss_scale;
        let (sum, gradients) = match model.model.activations() {
            Activations::Kept => {
                let hidden = model.model.hidden(texts.ids.clone());
                let loss = texts.loss_sum(&model.model, hidden);
                let mut gradients = part(loss.clone()).backward();
                (loss.inner(), gradients_of_trained(&mut gradients, model))
            }
            Activations::Recomputed => recompute::loss_and_gradients(model, &texts, part),
        };
        sums.push(sum);
        accumulator.accumulate(model, gradients);
    }
    (accumulator.grads(), sums)
}

/// The loss of a batch, without gradients.
pub(crate) fn batch_loss<B: NeoBackend>(model: &GptNeo<B>, batch: &TokenBatch) -> StepLoss {
    let device = model.head_weight().device();
    let sum = Texts::of(batch, &device).map_or(0.0, |texts| {
        let hidden = model.hidden(texts.ids.clone());
        number(texts.loss_sum(model, hidden))
    });
    StepLoss { sum, tokens: batch.supervised_tokens() }
}
