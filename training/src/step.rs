//! Training steps: forward, backward, unscale, clip, optimise.
//!
//! The training, the benchmark and the measurement before a run all take their steps here.
//!
//! A GPU is given its work ahead. What became of a step, its loss and whether its gradients were finite, is read while the
//! forward and backward pass of the next one run; the step itself asks the device whether it is to be taken. The next pass is
//! launched in the hope that it was: where it was not, the pass is made again at the smaller loss scale. So the numbers are
//! those of steps that are waited for one by one.

use std::time::Instant;

use burn::train::{Learner, TrainOutput};
use gptneo_model::ops::Reading;
use gptneo_model::{NeoBackend, device_failure};

use crate::TrainingError;
use crate::gradient_norm::{GradientNorm, gradient_sums};
use crate::learner::Components;
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::precision::LossScale;
use crate::step_input::{PendingLoss, StepInput, StepLoss};

/// What came of a training step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepOutcome {
    /// The step's number, from 1.
    pub(crate) step: usize,
    /// The loss before the step.
    pub(crate) loss: StepLoss,
    /// The norm of all gradients together before they were clipped; not a number where the step was skipped.
    pub(crate) grad_norm: f64,
    /// What the loss was multiplied with, where it was.
    pub(crate) loss_scale: Option<f64>,
    /// The gradients were not finite at that scale: no parameter was changed, the learning rate did not move on.
    pub(crate) skipped: bool,
    /// Wall-clock seconds from the end of the step before, or from the beginning where none was on its way, until the loss was
    /// known.
    pub(crate) seconds: f64,
}

/// Takes steps one after the other.
pub(crate) struct Steps<B: NeoBackend> {
    /// The learner's own.
    optimizer: SharedAdamW<B>,
    /// The other devices' models.
    replicas: Replicas<B>,
    /// After the last step of which is known what came of it.
    scaling: Option<LossScale>,
    /// Whether a step is launched before it is known what came of the one before.
    ahead: bool,
    pending: Option<Pending>,
    /// The learner's rate is that of a step that was skipped, and the next one's.
    rate_is_left: bool,
    /// When the step began that is on its way.
    began: Instant,
}

/// A step on its way.
struct Pending {
    step: usize,
    records: Vec<usize>,
    /// The loss, but for what is being read.
    loss: StepLoss,
    loss_scale: Option<f64>,
    /// The sums of the gradients, then those of the loss.
    numbers: Reading,
}

impl<B: NeoBackend> Steps<B> {
    /// None taken yet. `optimizer` is the learner's own.
    pub(crate) fn new(optimizer: SharedAdamW<B>, replicas: Replicas<B>, scaling: Option<LossScale>) -> Self {
        // What other devices found is read to be added up.
        let ahead = B::works_ahead() && replicas.is_empty();
        let (pending, rate_is_left, began) = (None, false, Instant::now());
        Self { optimizer, replicas, scaling, ahead, pending, rate_is_left, began }
    }

    /// The optimizer, to save its state.
    pub(crate) fn optimizer(&self) -> &SharedAdamW<B> {
        &self.optimizer
    }

    /// The loss scaling after the last step that was heard of.
    pub(crate) fn scaling(&self) -> Option<LossScale> {
        self.scaling
    }

    /// Whether it is not known yet what came of the last step.
    pub(crate) fn are_ahead(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes one step, or skips it where its gradients are not finite at the loss scale of the time. `hear` is told what came
    /// of each step once that is known, which may be that before this one; [`Steps::settle`] waits for the last.
    ///
    /// # Errors
    ///
    /// Nothing to learn from, a device failed, the loss or its gradient is not finite, or no smaller loss scale can make it
    /// so: of this step or of the one before. Or as `hear`.
    pub(crate) fn take(
        &mut self,
        learner: &mut Learner<Components<B>>,
        input: StepInput,
        mut hear: impl FnMut(&Self, StepOutcome) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        if !self.are_ahead() {
            self.began = Instant::now();
        }
        let (step, records) = (input.number, input.records_from_1());
        if input.supervised_tokens() == 0 {
            self.settle(learner, hear)?;
            return Err(TrainingError::NothingSupervised { step, records });
        }
        let expected = self.expected_scale();
        let mut output = self.pass(learner, &input, expected)?;
        self.settle(learner, &mut hear)?;
        let loss_scale = self.scaling.map(|scaling| scaling.scale);
        if loss_scale != expected {
            drop(output);
            output = self.pass(learner, &input, loss_scale)?;
        }

        let TrainOutput { grads, item: PendingLoss { read, sums: losses, tokens } } = output;
        let sums = gradient_sums::<B, _>(&learner.model(), &grads, loss_scale);
        let numbers = std::iter::once(sums.clone()).chain(losses);
        let numbers = numbers.map(|number| number.into_primitive().tensor()).collect();
        let (loss, no_ints) = (StepLoss { sum: read, tokens }, Vec::new());
        let numbers = B::read_later(numbers, no_ints);
        self.pending = Some(Pending { step, records, loss, loss_scale, numbers });
        if !std::mem::take(&mut self.rate_is_left) {
            learner.lr_step();
        }
        self.optimizer.prepare(sums, loss_scale);
        learner.optimizer_step(grads);
        if self.ahead { Ok(()) } else { self.settle(learner, hear) }
    }

    /// Waits for what came of the last step, where that is not known yet, and tells `hear`.
    ///
    /// # Errors
    ///
    /// A device failed, the step's loss or gradient is not finite, or no smaller loss scale can make it so. Or as `hear`.
    pub(crate) fn settle(
        &mut self,
        learner: &Learner<Components<B>>,
        mut hear: impl FnMut(&Self, StepOutcome) -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let Some(Pending { step, records, loss, loss_scale, numbers }) = self.pending.take() else {
            return Ok(());
        };
        // The one wait of a step.
        let numbers = numbers.wait();
        // What failed on the device is the cause of whatever failed after it, and its numbers must not be learned from.
        device_failure::check()?;
        let numbers = numbers?;
        let mut numbers = numbers.iter().map(|data| data.iter::<f64>().collect::<Vec<_>>());
        let gradients = GradientNorm::of_sums(&numbers.next().unwrap_or_default());
        let loss = StepLoss { sum: numbers.flatten().fold(loss.sum, |all, sum| all + sum), ..loss };
        let finite = self.scaling.as_mut().is_none_or(|scaling| {
            scaling.update(gradients.finite);
            gradients.finite
        });
        let grad_norm = if finite { gradients.norm } else { f64::NAN };

        let mean = loss.mean();
        if finite && !(mean.is_finite() && grad_norm.is_finite()) {
            return Err(TrainingError::NonFinite { step, loss: mean, records });
        }
        if self.scaling.is_some_and(|scaling| scaling.is_exhausted()) {
            return Err(TrainingError::LossScaleExhausted { step, records });
        }
        if !finite {
            self.optimizer.forget_last(&learner.model());
            self.rate_is_left = true;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        self.began = Instant::now();
        hear(self, StepOutcome { step, loss, grad_norm, loss_scale, skipped: !finite, seconds })
    }

    /// The loss scale after the step that is on its way, if that is taken.
    fn expected_scale(&self) -> Option<f64> {
        let mut scaling = self.scaling?;
        if self.are_ahead() {
            scaling.update(true);
        }
        Some(scaling.scale)
    }

    /// Forward and backward.
    fn pass(
        &mut self,
        learner: &Learner<Components<B>>,
        input: &StepInput,
        loss_scale: Option<f64>,
    ) -> Result<TrainOutput<PendingLoss<B>>, TrainingError> {
        let input = StepInput { loss_scale: loss_scale.unwrap_or(1.0), ..input.clone() };
        match self.replicas.is_empty() {
            true => Ok(learner.train_step(input)),
            false => self.replicas.step(&learner.model(), &input),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
