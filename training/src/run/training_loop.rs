//! The loop of a run: steps, and after each what it is time for: a row, a validation, a checkpoint, the end.

use std::time::Instant;

use burn::module::AutodiffModule;
use burn::train::InferenceStep;
use gptneo_model::{NeoBackend, device_failure};

use super::Ending;
use crate::TrainingError;
use crate::checkpoint::{Best, Checkpoints, RunState};
use crate::learner::Fitting;
use crate::metrics::{MetricsLog, MetricsRow, TrainRow, ValidationRow};
use crate::observer::{Event, Observer};
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::samples::Samples;
use crate::step::training_step;
use crate::step_input::{StepInput, StepLoss};

/// Where a run stands, what it writes and who hears of it.
pub(crate) struct Progress<B: NeoBackend> {
    pub(crate) state: RunState,
    pub(crate) metrics: MetricsLog,
    pub(crate) samples: Option<Samples>,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) checkpoints: Checkpoints,
    /// The learner's own, to save its state.
    pub(crate) optimizer: SharedAdamW<B>,
    /// The other devices' models.
    pub(crate) replicas: Replicas<B>,
    pub(crate) steps_per_epoch: usize,
}

/// The loop, over what the run brings and what Burn hands it.
pub(crate) struct TrainingLoop<'a, B: NeoBackend> {
    pub(crate) fitting: Fitting<'a, B>,
    pub(crate) progress: &'a mut Progress<B>,
}

impl<B: NeoBackend> TrainingLoop<'_, B> {
    /// Takes the steps of the training data until the run ends.
    ///
    /// # Errors
    ///
    /// A device failed, a loss is not finite, or a file cannot be written.
    pub(crate) fn run(mut self) -> Result<Ending, TrainingError> {
        // An interrupt may have come between a step and its validation.
        if let Some(ending) = self.after_step()? {
            return Ok(ending);
        }
        let mut steps = self.fitting.training.iter();
        loop {
            let start = Instant::now();
            let Some(input) = steps.next() else { break };
            let mut row = self.step(input)?;
            let seconds = start.elapsed().as_secs_f64();
            row.seconds = Some(seconds);
            row.tokens_per_second = Some(row.tokens as f64 / seconds);
            self.write(MetricsRow::Train(row))?;
            if let Some(ending) = self.after_step()? {
                return Ok(ending);
            }
        }
        let RunState { step, total_steps, .. } = self.progress.state;
        if step < total_steps {
            return Err(TrainingError::Settings(format!(
                "the data ended after step {step} of {total_steps}: a batch could not be put together"
            )));
        }
        Ok(Ending::Finished)
    }

    fn step(&mut self, input: StepInput) -> Result<TrainRow, TrainingError> {
        let Progress { state, optimizer, replicas, steps_per_epoch, .. } = self.progress;
        let number = input.number;
        let learning_rate = state.config.rate(state.total_steps).at(state.steps_taken());
        let max_grad_norm = state.config.max_grad_norm;
        let (learner, scaling) = (&mut *self.fitting.learner, &mut state.loss_scale);
        let taken = training_step(learner, optimizer, replicas, scaling, max_grad_norm, input)?;
        let tokens = taken.loss.tokens as u64;
        state.step = number;
        state.skipped_steps += usize::from(taken.skipped);
        state.tokens += tokens;
        Ok(TrainRow {
            step: number,
            loss: taken.loss.mean(),
            grad_norm: taken.grad_norm,
            learning_rate,
            tokens,
            loss_scale: taken.loss_scale,
            skipped: taken.skipped,
            epoch: Some((number - 1) / *steps_per_epoch + 1),
            seconds: None,
            tokens_per_second: None,
        })
    }

    /// Validates and saves where the step asks for it; says whether the run ends here.
    fn after_step(&mut self) -> Result<Option<Ending>, TrainingError> {
        let state = &self.progress.state;
        let (step, config) = (state.step, state.config.clone());
        if step == 0 {
            return Ok(self.fitting.interrupter.should_stop().then_some(Ending::Interrupted));
        }
        let last = step == state.total_steps;
        let epoch_end = step.is_multiple_of(self.progress.steps_per_epoch);
        let due = |every: Option<usize>| last || epoch_end || every.is_some_and(|n| step.is_multiple_of(n));
        let mut improved = false;
        if due(config.eval_steps)
            && state.evaluated_step != Some(step)
            && self.fitting.validation.num_items() > 0
        {
            match self.validate()? {
                Some(Validated::Improved) => improved = true,
                Some(Validated::NoBetter) => {}
                None => {
                    // Interrupted in the middle: the validation is made up for on resume.
                    self.save()?;
                    return Ok(Some(Ending::Interrupted));
                }
            }
        }
        let patience = config.early_stopping_patience;
        let stalled = patience.is_some_and(|n| self.progress.state.evaluations_without_gain >= n);
        let interrupted = self.fitting.interrupter.should_stop() && !last;
        let saved = self.progress.checkpoints.stands(step);
        if improved || (!saved && (due(config.checkpoint_steps) || stalled || interrupted)) {
            self.save()?;
        }
        Ok(match (stalled && !last, interrupted) {
            (true, _) => Some(Ending::StoppedEarly),
            (_, true) => Some(Ending::Interrupted),
            _ => None,
        })
    }

    /// Measures the validation loss and asks the questions; nothing if interrupted.
    fn validate(&mut self) -> Result<Option<Validated>, TrainingError> {
        let model = self.fitting.learner.model().valid();
        let mut total = StepLoss::default();
        let mut batches = self.fitting.validation.iter();
        while let Some(batch) = batches.next() {
            if self.fitting.interrupter.should_stop() {
                return Ok(None);
            }
            let loss = InferenceStep::step(&model, batch);
            device_failure::check()?;
            total.sum += loss.sum;
            total.tokens += loss.tokens;
            let progress = batches.progress();
            let (done, total) = (progress.items_processed, progress.items_total);
            self.progress.observer.hear(Event::Validating { done, total });
        }
        let state = &mut self.progress.state;
        let (step, loss) = (state.step, total.mean());
        if !loss.is_finite() {
            return Err(TrainingError::NonFinite { step, loss, records: Vec::new() });
        }
        let validated = match state.best {
            Some(best) if loss >= best.loss => Validated::NoBetter,
            _ => Validated::Improved,
        };
        state.evaluated_step = Some(step);
        match validated {
            Validated::Improved => {
                state.best = Some(Best { step, loss });
                state.evaluations_without_gain = 0;
            }
            Validated::NoBetter => state.evaluations_without_gain += 1,
        }
        let tokens = total.tokens as u64;
        self.write(MetricsRow::Validation(ValidationRow { step, loss, perplexity: loss.exp(), tokens }))?;
        let Progress { samples, observer, .. } = self.progress;
        if let Some(samples) = samples {
            samples.take(&model.model, step)?.iter().for_each(|row| observer.hear(Event::Sample(row)));
        }
        Ok(Some(validated))
    }

    fn save(&mut self) -> Result<(), TrainingError> {
        let Progress { state, checkpoints, optimizer, observer, .. } = self.progress;
        checkpoints.save(&self.fitting.learner.model(), optimizer, state)?;
        observer.hear(Event::Checkpoint { step: state.step });
        Ok(())
    }

    fn write(&mut self, row: MetricsRow) -> Result<(), TrainingError> {
        self.progress.metrics.append(&row)?;
        self.progress.observer.hear(Event::Row(&row));
        Ok(())
    }
}

/// What a validation found.
#[derive(Clone, Copy)]
enum Validated {
    /// The lowest loss so far.
    Improved,
    /// A loss that was reached before.
    NoBetter,
}
