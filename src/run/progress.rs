//! What a run tells while it goes, for whoever watches it: nothing here is printed.

use std::sync::{Arc, Mutex, PoisonError};

use gptneo_datasets::DataReport;
use gptneo_training::Interrupter;
use gptneo_training::checkpoint::Best;
use gptneo_training::metrics::MetricsRow;
use gptneo_training::samples::SampleRow;

use super::export::ExportReport;
use super::merge::MergeReport;
use super::preflight::Preflight;
use crate::Problem;

/// A moment of a run.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something goes otherwise than asked for, and the run goes on.
    Warning(&'a Problem),
    /// The data were read.
    Data(&'a DataReport),
    /// What the run will take.
    Preflight(&'a Preflight),
    /// A measurement begins, with nothing done and no total yet, or goes on.
    Measuring {
        /// Which model is measured.
        model: Measured,
        /// Batches that are done.
        done: usize,
        /// All batches.
        total: usize,
    },
    /// The training begins; whoever holds the interrupter can stop it after a step.
    TrainingBegins {
        /// Steps that were done before, where a run goes on.
        done: usize,
        /// Steps of the whole run.
        total_steps: usize,
        /// Ends the training after the current step.
        interrupter: &'a Interrupter,
    },
    /// A training step or a measurement of the validation loss.
    Row(&'a MetricsRow),
    /// A validation goes on.
    Validating {
        /// Batches that are done.
        done: usize,
        /// All batches.
        total: usize,
    },
    /// A checkpoint stands on the disk.
    Checkpoint {
        /// The step it is of.
        step: usize,
    },
    /// A held-out question was answered: by the base, after no step, or after a measurement.
    Sample(&'a SampleRow),
    /// The training is over, and its result is saved.
    TrainingEnds(&'a TrainingSummary),
    /// The adapter is merged, and the merge is proven.
    Merged(&'a MergeReport),
    /// The plain model is written for other engines, and proven.
    Exported(&'a ExportReport),
    /// A model begins to answer, with nothing done, or goes on.
    Answering {
        /// Questions that are answered.
        done: usize,
        /// All questions.
        total: usize,
    },
    /// There is no held-out question with room for an answer, so none are compared.
    NoQuestions,
}

/// Which model a measurement is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The base, before.
    Base,
    /// The trained model.
    Tuned,
    /// Base and adapter as one, read from the files.
    Merged,
}

/// How a training ended.
#[derive(Clone, Debug)]
pub struct TrainingSummary {
    /// Steps done.
    pub steps: usize,
    /// Steps planned.
    pub total_steps: usize,
    /// Whether it ended because the validation loss stopped falling.
    pub stopped_early: bool,
    /// The lowest validation loss.
    pub best: Option<Best>,
    /// The step that the saved weights are of.
    pub model_step: usize,
    /// The folder of the adapter, or of the model after full tuning.
    pub weights: std::path::PathBuf,
}

/// Hears of a run's progress as it happens.
pub trait Observer: Send {
    /// Hears one event.
    fn hear(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>) + Send> Observer for F {
    fn hear(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn hear(&mut self, _event: Event<'_>) {}
}

/// A run's observer, which its training tells as well.
#[derive(Clone)]
pub(crate) struct Told(Arc<Mutex<dyn Observer>>);

impl Told {
    pub(crate) fn new(observer: impl Observer + 'static) -> Self {
        Self(Arc::new(Mutex::new(observer)))
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hear(event);
    }
}
