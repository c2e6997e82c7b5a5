//! The loop as a strategy of Burn's `SupervisedTraining`, and its launch.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::Autodiff;
use burn::train::{
    Interrupter, Learner, SupervisedLearningStrategy, SupervisedTraining, SupervisedTrainingEventProcessor,
    TrainLoader, TrainingComponents, TrainingStrategy, ValidLoader,
};
use gptneo_model::{GptNeo, NeoBackend};

use super::silent::{NoLog, NoRenderer};
use super::{Components, StepLoader, ValidationLoader};
use crate::TrainingError;
use crate::fine_tune::FineTune;

/// What a loop is launched with.
pub(crate) struct Launch<'a, B: NeoBackend> {
    pub(crate) learner: Learner<Components<B>>,
    pub(crate) training: StepLoader,
    pub(crate) validation: ValidationLoader,
    pub(crate) interrupter: Interrupter,
    /// The run's folder; Burn itself writes nothing into it.
    pub(crate) folder: &'a Path,
}

/// What Burn hands to the loop.
pub(crate) struct Fitting<'a, B: NeoBackend> {
    pub(crate) learner: &'a mut Learner<Components<B>>,
    pub(crate) training: &'a TrainLoader<Components<B>>,
    pub(crate) validation: &'a ValidLoader<Components<B>>,
    pub(crate) interrupter: &'a Interrupter,
}

/// Runs `fit` within Burn's training: the model as it came out, and what `fit` gave.
///
/// # Errors
///
/// Burn did not call the loop.
pub(crate) fn launch<B, F, T>(launch: Launch<'_, B>, fit: F) -> Result<(GptNeo<B>, T), TrainingError>
where
    B: NeoBackend,
    F: FnOnce(Fitting<'_, B>) -> T + 'static,
    T: 'static,
{
    let Launch { learner, training, validation, interrupter, folder } = launch;
    let strategy = Arc::new(LoopStrategy { fit: Mutex::new(Some(fit)), outcome: Mutex::new(None) });
    let result = SupervisedTraining::new(folder, Arc::new(training), Arc::new(validation))
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .with_metric_logger(NoLog)
        .renderer(NoRenderer)
        .launch(learner);
    let outcome = locked(&strategy.outcome).take();
    outcome
        .map(|outcome| (result.model.model, outcome))
        .ok_or_else(|| TrainingError::Settings(NOT_RUN.into()))
}

/// Burn promises to call `fit` once.
const NOT_RUN: &str = "the training loop did not run";

/// Burn hands out a strategy by shared reference, and its `fit` gives back nothing but the model: the loop and what came
/// of it pass through here.
struct LoopStrategy<F, T> {
    fit: Mutex<Option<F>>,
    outcome: Mutex<Option<T>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B, F, T> SupervisedLearningStrategy<Components<B>> for LoopStrategy<F, T>
where
    B: NeoBackend,
    F: FnOnce(Fitting<'_, B>) -> T,
{
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        training: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (FineTune<Autodiff<B>>, SupervisedTrainingEventProcessor<Components<B>>) {
        if let Some(fit) = locked(&self.fit).take() {
            let outcome = fit(Fitting {
                learner: &mut learner,
                training: &training,
                validation: &validation,
                interrupter: &components.interrupter,
            });
            *locked(&self.outcome) = Some(outcome);
        }
        (learner.model(), components.event_processor)
    }
}
