//! The training loop, as a strategy of Burn's `SupervisedTraining`: what its own lack is global-norm clipping,
//! evaluation and checkpoints by step, exact resume, and an interrupt that loses nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::backend::Autodiff;
use burn::data::dataloader::Progress;
use burn::module::AutodiffModule;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, LearningComponentsMarker,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents,
    TrainingItem, ValidLoader,
};
use gptneo_model::{NeoBackend, device_failure};

use crate::TrainingError;
use crate::checkpoint::{Best, Checkpoints, RunState};
use crate::metrics::{MetricsLog, MetricsRow, TrainRow, ValidationRow};
use crate::optim::{SharedAdamW, clip_global_norm};
use crate::parallel::Replicas;
use crate::plan::StepInput;
use crate::samples::{SampleRow, Samples};
use crate::schedule::Scheduler;
use crate::step::{FineTune, StepLoss};

/// The types that Burn's learner is made of here.
pub(crate) type Components<B> =
    LearningComponentsMarker<Autodiff<B>, Scheduler, FineTune<Autodiff<B>>, SharedAdamW<B>>;

/// Hears of a run's progress as it happens.
pub trait Observer: Send {
    /// A row was written to the metrics file.
    fn row(&mut self, row: &MetricsRow);
    /// `done` of `total` validation batches were evaluated.
    fn validating(&mut self, done: usize, total: usize);
    /// A checkpoint stands on the disk.
    fn checkpoint(&mut self, step: usize);
    /// A question was answered after an evaluation.
    fn sample(&mut self, _row: &SampleRow) {}
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// All steps were done.
    Finished,
    /// The validation loss stopped falling.
    StoppedEarly,
    /// The interrupter was pulled; the checkpoint to go on from stands.
    Interrupted,
}

/// The strategy of one run. `Shared` holds what changes; Burn hands out the strategy by shared reference.
pub(crate) struct StepStrategy<B: NeoBackend> {
    pub(crate) optimizer: SharedAdamW<B>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) steps_per_epoch: usize,
    /// The other devices' models.
    pub(crate) replicas: Mutex<Replicas<B>>,
    pub(crate) shared: Mutex<Shared>,
}

pub(crate) struct Shared {
    pub(crate) state: RunState,
    pub(crate) metrics: MetricsLog,
    pub(crate) samples: Option<Samples>,
    pub(crate) observer: Box<dyn Observer>,
    /// How the loop ended; Burn's `fit` itself cannot fail.
    pub(crate) outcome: Option<Result<Ending, TrainingError>>,
}

impl<B: NeoBackend> SupervisedLearningStrategy<Components<B>> for StepStrategy<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        training: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (FineTune<Autodiff<B>>, SupervisedTrainingEventProcessor<Components<B>>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut run = Run {
            strategy: self,
            shared: &mut shared,
            validation,
            interrupter: components.interrupter,
            events: components.event_processor,
        };
        let outcome = run.steps(&mut learner, training);
        let events = run.events;
        shared.outcome = Some(outcome);
        (learner.model(), events)
    }
}

/// One call of `fit`.
struct Run<'a, B: NeoBackend> {
    strategy: &'a StepStrategy<B>,
    shared: &'a mut Shared,
    validation: ValidLoader<Components<B>>,
    interrupter: Interrupter,
    events: SupervisedTrainingEventProcessor<Components<B>>,
}

impl<B: NeoBackend> Run<'_, B> {
    fn steps(
        &mut self,
        learner: &mut Learner<Components<B>>,
        training: TrainLoader<Components<B>>,
    ) -> Result<Ending, TrainingError> {
        // An interrupt may have come between a step and its evaluation.
        if let Some(ending) = self.after_step(learner)? {
            return Ok(ending);
        }
        let mut steps = training.iter();
        loop {
            let start = Instant::now();
            let Some(input) = steps.next() else { break };
            let (item, mut row) = self.step(learner, input)?;
            let seconds = start.elapsed().as_secs_f64();
            row.seconds = Some(seconds);
            row.tokens_per_second = Some(item.tokens as f64 / seconds);
            self.report_step(item, row, steps.progress())?;
            if let Some(ending) = self.after_step(learner)? {
                return Ok(ending);
            }
        }
        let RunState { step, total_steps, .. } = self.shared.state;
        if step < total_steps {
            return Err(TrainingError::Settings(format!(
                "the data ended after step {step} of {total_steps}: a batch could not be put together"
            )));
        }
        Ok(Ending::Finished)
    }

    /// Takes one step, or skips it where its gradients were not finite at the loss scale of the time.
    fn step(
        &mut self,
        learner: &mut Learner<Components<B>>,
        mut input: StepInput,
    ) -> Result<(StepLoss, TrainRow), TrainingError> {
        let records = input.records().into_iter().map(|record| record + 1).collect();
        let state = &mut self.shared.state;
        let mut scaling = state.loss_scale;
        let loss_scale = scaling.map(|scaling| scaling.scale);
        input.loss_scale = loss_scale.unwrap_or(1.0);
        let mut replicas = self.strategy.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        let mut output = match replicas.is_empty() {
            true => learner.train_step(input),
            false => replicas.step(&learner.model(), &input)?,
        };
        drop(replicas);
        let (loss, tokens) = (output.item.mean(), output.item.tokens as u64);
        let model = learner.model();
        let good = scaling.as_mut().is_none_or(|scaling| scaling.unscale(&model, &mut output.grads));
        let norm = match good {
            true => clip_global_norm(&model, &mut output.grads, state.config.max_grad_norm),
            false => f64::NAN,
        };
        drop(model);
        // Loss and gradients were read: numbers of a failed device must not be learned from.
        device_failure::check()?;
        let step = state.step + 1;
        if good && !(loss.is_finite() && norm.is_finite()) {
            return Err(TrainingError::NonFinite { step, loss, records });
        }
        if scaling.is_some_and(|scaling| scaling.is_exhausted()) {
            return Err(TrainingError::LossScaleExhausted { step, records });
        }
        let row = TrainRow {
            step,
            loss,
            grad_norm: norm,
            learning_rate: state.config.rate(state.total_steps).at(state.steps_taken()),
            tokens,
            loss_scale,
            skipped: !good,
            epoch: Some((step - 1) / self.strategy.steps_per_epoch + 1),
            seconds: None,
            tokens_per_second: None,
        };
        if good {
            learner.lr_step();
            learner.optimizer_step(output.grads);
        } else {
            state.skipped_steps += 1;
        }
        state.step = step;
        state.tokens += tokens;
        state.loss_scale = scaling;
        Ok((output.item, row))
    }

    fn report_step(
        &mut self,
        item: StepLoss,
        row: TrainRow,
        progress: Progress,
    ) -> Result<(), TrainingError> {
        let epochs = self.shared.state.total_steps.div_ceil(self.strategy.steps_per_epoch);
        let epochs = Progress::new(row.epoch.unwrap_or_default(), epochs);
        let item = TrainingItem::new(item, progress, epochs, Some(row.step), Some(row.learning_rate));
        self.events.process_train(LearnerEvent::ProcessedItem(item));
        self.write(MetricsRow::Train(row))
    }

    fn write(&mut self, row: MetricsRow) -> Result<(), TrainingError> {
        self.shared.metrics.append(&row)?;
        self.shared.observer.row(&row);
        Ok(())
    }

    /// Evaluates and saves where the step asks for it; says whether the run ends here.
    fn after_step(&mut self, learner: &Learner<Components<B>>) -> Result<Option<Ending>, TrainingError> {
        let state = &self.shared.state;
        let (step, config) = (state.step, state.config.clone());
        if step == 0 {
            return Ok(self.interrupter.should_stop().then_some(Ending::Interrupted));
        }
        let last = step == state.total_steps;
        let epoch_end = step.is_multiple_of(self.strategy.steps_per_epoch);
        let due = |every: Option<usize>| last || epoch_end || every.is_some_and(|n| step.is_multiple_of(n));
        let mut improved = false;
        if due(config.eval_steps) && state.evaluated_step != Some(step) && self.validation.num_items() > 0 {
            match self.validate(learner)? {
                Some(better) => improved = better,
                None => {
                    // Interrupted in the middle: the evaluation is made up for on resume.
                    self.save(learner)?;
                    return Ok(Some(Ending::Interrupted));
                }
            }
        }
        let patience = config.early_stopping_patience;
        let stalled = patience.is_some_and(|n| self.shared.state.evaluations_without_gain >= n);
        let interrupted = self.interrupter.should_stop() && !last;
        let saved = self.strategy.checkpoints.path(step).exists();
        if improved || (!saved && (due(config.checkpoint_steps) || stalled || interrupted)) {
            self.save(learner)?;
        }
        Ok(match (stalled && !last, interrupted) {
            (true, _) => Some(Ending::StoppedEarly),
            (_, true) => Some(Ending::Interrupted),
            _ => None,
        })
    }

    fn save(&mut self, learner: &Learner<Components<B>>) -> Result<(), TrainingError> {
        let state = &self.shared.state;
        self.strategy.checkpoints.save(&learner.model(), &self.strategy.optimizer, state)?;
        self.shared.observer.checkpoint(state.step);
        Ok(())
    }

    /// Whether the validation loss is the lowest so far; nothing if interrupted.
    fn validate(&mut self, learner: &Learner<Components<B>>) -> Result<Option<bool>, TrainingError> {
        let model = learner.model().valid();
        let mut total = StepLoss { sum: 0.0, tokens: 0 };
        let validation = self.validation.clone();
        let mut batches = validation.iter();
        while let Some(batch) = batches.next() {
            if self.interrupter.should_stop() {
                return Ok(None);
            }
            let loss = InferenceStep::step(&model, batch);
            device_failure::check()?;
            total.sum += loss.sum;
            total.tokens += loss.tokens;
            let Progress { items_processed, items_total } = batches.progress();
            self.shared.observer.validating(items_processed, items_total);
        }
        let state = &mut self.shared.state;
        let (step, loss) = (state.step, total.mean());
        if !loss.is_finite() {
            return Err(TrainingError::NonFinite { step, loss, records: Vec::new() });
        }
        let improved = state.best.is_none_or(|best| loss < best.loss);
        if improved {
            state.best = Some(Best { step, loss });
        }
        state.evaluations_without_gain = if improved { 0 } else { state.evaluations_without_gain + 1 };
        state.evaluated_step = Some(step);
        let tokens = total.tokens as u64;
        self.write(MetricsRow::Validation(ValidationRow { step, loss, perplexity: loss.exp(), tokens }))?;
        let Shared { samples, observer, .. } = &mut *self.shared;
        if let Some(samples) = samples {
            samples.take(&model.model, step)?.iter().for_each(|row| observer.sample(row));
        }
        Ok(Some(improved))
    }
}

/// The strategy as Burn takes it.
pub(crate) fn custom<B: NeoBackend>(
    strategy: Arc<StepStrategy<B>>,
) -> burn::train::TrainingStrategy<Components<B>> {
    burn::train::TrainingStrategy::Custom(strategy)
}
