//! What Burn's `Learner` and `SupervisedTraining` need around the loop, so that the loop itself reads downwards.
//!
//! Burn's own strategies lack clipping by the global norm, evaluation and checkpoints by step, exact resume and an
//! interrupt that loses nothing. The loop that has them is given to Burn as a strategy.

mod loader;
mod model;
mod scheduler;
mod silent;
mod strategy;

use burn::backend::Autodiff;
use burn::train::{Learner, LearningComponentsMarker};
use gptneo_model::NeoBackend;

pub(crate) use self::loader::{StepLoader, ValidationLoader};
pub(crate) use self::scheduler::Scheduler;
pub(crate) use self::strategy::{Fitting, Launch, launch};
use crate::fine_tune::FineTune;
use crate::optim::SharedAdamW;
use crate::schedule::LearningRate;

/// The types that Burn's learner is made of here.
pub(crate) type Components<B> =
    LearningComponentsMarker<Autodiff<B>, Scheduler, FineTune<Autodiff<B>>, SharedAdamW<B>>;

/// Burn's learner over a model, before the step that is `taken` steps after the first.
pub(crate) fn learner<B: NeoBackend>(
    model: FineTune<Autodiff<B>>,
    optimizer: SharedAdamW<B>,
    rate: LearningRate,
    taken: usize,
) -> Learner<Components<B>> {
    Learner::new(model, optimizer, Scheduler::new(rate, taken))
}
