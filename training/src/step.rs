//! A training step: forward, backward, unscale, clip, optimise.
//!
//! The training, the benchmark and the measurement before a run all take their steps here.

use burn::train::Learner;
use gptneo_model::{NeoBackend, device_failure};

use crate::TrainingError;
use crate::learner::Components;
use crate::optim::clip_global_norm;
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

/// Takes one step, or skips it where its gradients are not finite at the loss scale of the time.
///
/// # Errors
///
/// Nothing to learn from, a device failed, the loss or its gradient is not finite, or no smaller loss scale can make it so. The model is then
/// as it was before.
pub(crate) fn training_step<B: NeoBackend>(
    learner: &mut Learner<Components<B>>,
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
