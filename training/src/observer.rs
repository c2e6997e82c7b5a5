//! Who hears of a run's progress as it happens.

use crate::metrics::MetricsRow;
use crate::samples::SampleRow;

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step or a validation was done; its row stands in the metrics file. On a GPU the next step has begun by then, where
    /// nothing else comes between, and is taken whoever stops the run now.
    Row(&'a MetricsRow),
    /// A validation goes on.
    Validating {
        /// Batches evaluated.
        done: usize,
        /// Batches in all.
        total: usize,
    },
    /// A checkpoint stands on the disk.
    Checkpoint {
        /// The step that it is of.
        step: usize,
    },
    /// A question was answered after a validation; its row stands in the samples' file.
    Sample(&'a SampleRow),
}

/// Hears of a run's progress. Closures over an [`Event`] are observers.
pub trait Observer: Send {
    /// Something happened. The run goes on when this returns.
    fn hear(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>) + Send> Observer for F {
    fn hear(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// An observer that lets everything pass: a run's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn hear(&mut self, _event: Event<'_>) {}
}
