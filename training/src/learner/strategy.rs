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
    let strategy = Arc::new(LoopStrategy { progress: Mutex::new(Some(progress)), ending: Mutex::default() });
    let result = SupervisedTraining::new(folder, Arc::new(training), Arc::new(validation))
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .with_metric_logger(NoLog)
        .renderer(NoRenderer)
        .launch(learner);
    match (locked(&strategy.ending).take(), locked(&strategy.progress).take()) {
        (Some(ending), Some(progress)) => Ok((result.model.model, ending?, progress)),
        _ => Err(TrainingError::Settings(NOT_RUN.into())),
    }
}

/// Burn promises to call `fit` once.
const NOT_RUN: &str = "the training loop did not run";

/// Burn hands out a strategy by shared reference, and its `fit` cannot fail: what the loop works on and how it ended
/// pass through here.
struct LoopStrategy<B: NeoBackend> {
    progress: Mutex<Option<Progress<B>>>,
    ending: Mutex<Option<Result<Ending, TrainingError>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(progress) = locked(&self.progress).as_mut() {
            let training_loop = TrainingLoop {
                learner: &mut learner,
                progress,
                validation: &*validation,
                interrupter: &components.interrupter,
            };
            *locked(&self.ending) = Some(training_loop.run(&*training));
        }
        (learner.model(), components.event_processor)
    }
}
