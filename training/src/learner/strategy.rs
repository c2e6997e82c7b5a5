//! The loop as a strategy of Burn's `SupervisedTraining`, and its launch.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Autodiff;
use burn::train::{
    Interrupter, Learner, SupervisedLearningStrategy, SupervisedTraining, SupervisedTrainingEventProcessor,
    TrainLoader, TrainingComponents, TrainingStrategy, ValidLoader,
};
use gptneo_model::{GptNeo, NeoBackend};

use super::silent::{NoLog, NoRenderer};
use super::{Components, FineTune, StepLoader, ValidationLoader};
use crate::TrainingError;
use crate::run::{Ending, Progress, TrainingLoop};

/// What the loop is launched with.
pub(crate) struct Launch<'a, B: NeoBackend> {
    pub(crate) learner: Learner<Components<B>>,
    pub(crate) progress: Progress<B>,
    pub(crate) training: StepLoader,
    pub(crate) validation: ValidationLoader,
    pub(crate) interrupter: Interrupter,
    /// The run's folder; Burn itself writes nothing into it.
    pub(crate) folder: &'a Path,
}

/// Runs the loop within Burn's training: the model as it came out, how it ended, and where the run then stands.
///
/// # Errors
///
/// As [`TrainingLoop::run`].
pub(crate) fn launch<B: NeoBackend>(
    launch: Launch<'_, B>,
) -> Result<(GptNeo<B>, Ending, Progress<B>), TrainingError> {
    let Launch { learner, progress, training, validation, interrupter, folder } = launch;
    let strategy = Arc::new(LoopStrategy { progress: Mutex::new(Some(progress)), outcome: Mutex::default() });
    let result = SupervisedTraining::new(folder, Arc::new(training), Arc::new(validation))
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .with_metric_logger(NoLog)
        .renderer(NoRenderer)
        .launch(learner);
    let outcome = strategy.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (ending, progress) = outcome.unwrap_or_else(|| Err(TrainingError::Settings(NOT_RUN.into())))?;
    Ok((result.model.model, ending, progress))
}

/// Burn promises to call `fit` once.
const NOT_RUN: &str = "the training loop did not run";

/// Burn hands out a strategy by shared reference, and its `fit` cannot fail: what the loop takes and what comes of it
/// pass through here.
struct LoopStrategy<B: NeoBackend> {
    progress: Mutex<Option<Progress<B>>>,
    outcome: Mutex<Option<Result<(Ending, Progress<B>), TrainingError>>>,
}

impl<B: NeoBackend> SupervisedLearningStrategy<Components<B>> for LoopStrategy<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        training: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (FineTune<Autodiff<B>>, SupervisedTrainingEventProcessor<Components<B>>) {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut progress) = progress {
            let ending = TrainingLoop {
                learner: &mut learner,
                progress: &mut progress,
                validation: &*validation,
                interrupter: &components.interrupter,
            }
            .run(&*training);
            let outcome = ending.map(|ending| (ending, progress));
            *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }
        (learner.model(), components.event_processor)
    }
}
