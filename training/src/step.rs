//! A training step: forward, backward, unscale, clip, optimise.
//!
//! The training, the benchmark and the measurement before a run all take their steps here.

use burn::train::Learner;
use gptneo_model::ops::GradientFactors;
use gptneo_model::{NeoBackend, device_failure};

use crate::TrainingError;
use crate::gradient_norm::GradientSums;
use crate::learner::Components;
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::precision::LossScale;
use crate::step_input::{StepInput, StepLoss};

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

/// Takes one step, or skips it where its gradients are not finite at the loss scale of the time. `optimizer` is the
/// learner's own.
///
/// # Errors
///
/// Nothing to learn from, a device failed, the loss or its gradient is not finite, or no smaller loss scale can make it so. The model is then
/// as it was before.
pub(crate) fn training_step<B: NeoBackend>(
    learner: &mut Learner<Components<B>>,
    optimizer: &SharedAdamW<B>,
    replicas: &mut Replicas<B>,
    scaling: &mut Option<LossScale>,
    max_grad_norm: f64,
    mut input: StepInput,
) -> Result<StepOutcome, TrainingError> {
    let (step, records) = (input.number, input.records_from_1());
    if input.supervised_tokens() == 0 {
        return Err(TrainingError::NothingSupervised { step, records });
    }
    let loss_scale = scaling.map(|scaling| scaling.scale);
    input.loss_scale = loss_scale.unwrap_or(1.0);

    let output = match replicas.is_empty() {
        true => learner.train_step(input),
        false => replicas.step(&learner.model(), &input)?,
    };
    let sums = GradientSums::of(&learner.model(), &output.grads, loss_scale);
    // The one wait of a step.
    let (gradients, batch_sums) = sums.read(output.item.sums.clone());
    let item = output.item.with(&batch_sums);
    let finite = scaling.as_mut().is_none_or(|scaling| {
        scaling.update(gradients.finite);
        gradients.finite
    });
    let grad_norm = if finite { gradients.norm } else { f64::NAN };

    // Loss and gradients were read: numbers of a failed device must not be learned from.
    device_failure::check()?;
    let loss = item.mean();
    if finite && !(loss.is_finite() && grad_norm.is_finite()) {
        return Err(TrainingError::NonFinite { step, loss, records });
    }
    if scaling.is_some_and(|scaling| scaling.is_exhausted()) {
        return Err(TrainingError::LossScaleExhausted { step, records });
    }
    if finite {
        learner.lr_step();
        let unscale = loss_scale.map(|scale| 1.0 / scale);
        optimizer.scale_next(GradientFactors { unscale, clip: gradients.clip(max_grad_norm) });
        learner.optimizer_step(output.grads);
    }
    Ok(StepOutcome { loss: item, grad_norm, loss_scale, skipped: !finite })
}
