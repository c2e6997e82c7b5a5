//! The loop of a run: steps, and after each what it is time for: a row, a validation, a checkpoint, the end.

use burn::module::AutodiffModule;
use burn::train::InferenceStep;
use gptneo_model::{NeoBackend, device_failure};

use super::Ending;
use crate::TrainingError;
use crate::checkpoint::{Best, Checkpoints, RunState};
use crate::learner::Fitting;
use crate::metrics::{MetricsLog, MetricsRow, TrainRow, ValidationRow};
use crate::observer::{Event, Observer};
use crate::samples::Samples;
use crate::step::{StepOutcome, Steps};
use crate::step_input::{StepInput, StepLoss};

/// Where a run stands, what it writes and who hears of it.
pub(crate) struct Progress<B: NeoBackend> {
    pub(crate) state: RunState,
    pub(crate) metrics: MetricsLog,
    pub(crate) samples: Option<Samples>,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) steps: Steps<B>,
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
        for input in self.fitting.training.iter() {
            let number = input.number;
            self.step(input)?;
            if self.is_last_or_due(number) {
                self.settle()?;
            }
            if !self.progress.steps.are_ahead()
                && let Some(ending) = self.after_step()?
            {
                return Ok(ending);
            }
        }
        self.settle()?;
        let RunState { step, total_steps, .. } = self.progress.state;
        if step < total_steps {
            return Err(TrainingError::Settings(format!(
                "the data ended after step {step} of {total_steps}: a batch could not be put together"
            )));
        }
        Ok(Ending::Finished)
    }

    fn step(&mut self, input: StepInput) -> Result<(), TrainingError> {
        let Progress { steps, state, metrics, observer, steps_per_epoch, .. } = self.progress;
        let mut rows = Rows { state, metrics, observer, steps_per_epoch: *steps_per_epoch };
        steps.take(self.fitting.learner, input, |steps, outcome| rows.add(steps, outcome))
    }

    /// Waits for what came of the last step.
    fn settle(&mut self) -> Result<(), TrainingError> {
        let Progress { steps, state, metrics, observer, steps_per_epoch, .. } = self.progress;
        let mut rows = Rows { state, metrics, observer, steps_per_epoch: *steps_per_epoch };
        steps.settle(self.fitting.learner, |steps, outcome| rows.add(steps, outcome))
    }

    /// Whether anything but the next step comes after this one.
    fn is_last_or_due(&self, step: usize) -> bool {
        let config = &self.progress.state.config;
        let due =
            [config.eval_steps, config.checkpoint_steps].into_iter().any(|every| self.is_due(step, every));
        due || self.fitting.interrupter.should_stop()
    }

    /// Whether what comes every so many steps, with every epoch and at the end, comes after this one.
    fn is_due(&self, step: usize, every: Option<usize>) -> bool {
        step == self.progress.state.total_steps
            || step.is_multiple_of(self.progress.steps_per_epoch)
            || every.is_some_and(|every| step.is_multiple_of(every))
    }

    /// Validates and saves where the step asks for it; says whether the run ends here.
    fn after_step(&mut self) -> Result<Option<Ending>, TrainingError> {
        let state = &self.progress.state;
        let (step, config) = (state.step, state.config.clone());
        if step == 0 {
            return Ok(self.fitting.interrupter.should_stop().then_some(Ending::Interrupted));
        }
        let last = step == state.total_steps;
        let mut improved = false;
        if self.is_due(step, config.eval_steps)
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
        if improved || (!saved && (self.is_due(step, config.checkpoint_steps) || stalled || interrupted)) {
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
        let Progress { state, checkpoints, steps, observer, .. } = self.progress;
        checkpoints.save(&self.fitting.learner.model(), steps.optimizer(), state)?;
        observer.hear(Event::Checkpoint { step: state.step });
        Ok(())
    }

    fn write(&mut self, row: MetricsRow) -> Result<(), TrainingError> {
        self.progress.metrics.append(&row)?;
        self.progress.observer.hear(Event::Row(&row));
        Ok(())
    }
}

/// What is noted and told of each step.
struct Rows<'a> {
    state: &'a mut RunState,
    metrics: &'a mut MetricsLog,
    observer: &'a mut Box<dyn Observer>,
    steps_per_epoch: usize,
}

impl Rows<'_> {
    fn add<B: NeoBackend>(&mut self, steps: &Steps<B>, outcome: StepOutcome) -> Result<(), TrainingError> {
        let StepOutcome { step, loss, grad_norm, loss_scale, skipped, seconds } = outcome;
        let (state, tokens) = (&mut *self.state, loss.tokens as u64);
        let learning_rate = state.config.rate(state.total_steps).at(state.steps_taken());
        state.step = step;
        state.skipped_steps += usize::from(skipped);
        state.tokens += tokens;
        state.loss_scale = steps.scaling();
        let row = MetricsRow::Train(TrainRow {
            step,
            loss: loss.mean(),
            grad_norm,
            learning_rate,
            tokens,
            loss_scale,
            skipped,
            epoch: Some((step - 1) / self.steps_per_epoch + 1),
            seconds: Some(seconds),
            tokens_per_second: Some(tokens as f64 / seconds),
        });
        self.metrics.append(&row)?;
        self.observer.hear(Event::Row(&row));
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
