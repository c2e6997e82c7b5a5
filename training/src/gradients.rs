//! The loss of a batch and its gradients: one forward pass, and one backward pass where something learns.

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use gptneo_datasets::TokenBatch;
use gptneo_model::{Activations, GptNeo, NeoBackend};

use crate::fine_tune::FineTune;
use crate::recompute;
use crate::step_input::{StepInput, StepLoss};

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
        let Some(texts) = Texts::of(batch, &device) else { continue };
        let part = |loss: Tensor<Autodiff<B>, 1>| loss / tokens as f64 * input.loss_scale;
        let (value, gradients) = match model.model.activations() {
            Activations::Kept => {
                let hidden = model.model.hidden(texts.ids.clone());
                let loss = texts.loss_sum(&model.model, hidden);
                let mut gradients = part(loss.clone()).backward();
                (loss.inner(), of_trained(&mut gradients, model))
            }
            Activations::Recomputed => recompute::loss_and_gradients(model, &texts, part),
        };
        accumulator.accumulate(model, gradients);
        // Read last: a GPU would wait for the host between the two passes.
        sum += number(value);
    }
    (accumulator.grads(), sum)
}

/// The gradients of a module's parameters that are trained. Burn's own `from_grads` asks the others too, and a quantised
/// one cannot be asked.
pub(crate) fn of_trained<AB: AutodiffBackend>(
    gradients: &mut AB::Gradients,
    module: &impl Module<AB>,
) -> GradientsParams {
    struct Trained<'a, AB: AutodiffBackend> {
        gradients: &'a mut AB::Gradients,
        found: GradientsParams,
    }
    impl<AB: AutodiffBackend> ModuleVisitor<AB> for Trained<'_, AB> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AB, D>>) {
            if param.is_require_grad()
                && let Some(gradient) = param.val().grad_remove(self.gradients)
            {
                self.found.register::<AB::InnerBackend, D>(param.id, gradient);
            }
        }
    }
    let mut trained = Trained::<AB> { gradients, found: GradientsParams::new() };
    module.visit(&mut trained);
    trained.found
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
    fn of(batch: &TokenBatch, device: &B::Device) -> Option<Self> {
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

/// One number from the device.
fn number<B: Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}
