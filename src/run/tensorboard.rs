//! What a training tells, on its way to the run's observer, with TensorBoard's curves written beside it.

use std::path::Path;

use gptneo_training::Observer;
use gptneo_training::metrics::MetricsRow;
use gptneo_training::tensorboard::EventLog;

use super::opening::Start;
use super::progress::{Event, Told};
use crate::{Problem, Remedy, Result};

/// TensorBoard's file, for as long as it can be written.
pub(crate) struct Curves(Option<EventLog>);

impl Curves {
    /// A new file in `folder`; of a run that goes on, beside its earlier ones.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open(folder: &Path, start: Start) -> Result<Self> {
        Ok(Self(Some(EventLog::create(folder, start == Start::Resumed)?)))
    }

    /// Adds a row. The curves are in `metrics.jsonl` as well: the training is worth more than this file, and where it
    /// cannot be written it ends with a warning.
    fn append(&mut self, row: &MetricsRow) -> Option<Problem> {
        let error = self.0.as_mut()?.append(row).err()?;
        self.0 = None;
        Some(Problem { what: format!("TensorBoard's file ends here: {error}"), remedy: Remedy::None })
    }
}

/// Tells the observer of a run what its training tells, and writes the curves.
pub(crate) struct Watched {
    pub(crate) observer: Told,
    pub(crate) curves: Option<Curves>,
}

impl Observer for Watched {
    fn hear(&mut self, event: gptneo_training::Event<'_>) {
        use gptneo_training::Event::{Checkpoint, Row, Sample, Validating};
        match event {
            Row(row) => {
                if let Some(problem) = self.curves.as_mut().and_then(|curves| curves.append(row)) {
                    self.observer.tell(Event::Warning(&problem));
                }
                self.observer.tell(Event::Row(row));
            }
            Validating { done, total } => self.observer.tell(Event::Validating { done, total }),
            Checkpoint { step } => self.observer.tell(Event::Checkpoint { step }),
            Sample(row) => self.observer.tell(Event::Sample(row)),
        }
    }
}
