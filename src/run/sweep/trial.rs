//! One trial of a sweep: a training run that is paused at each rung and goes on from there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use gptneo_training::metrics::{MetricsRow, ValidationRow};
use gptneo_training::{Interrupter, TuningKind};

use super::inputs::Inputs;
use super::plan::{Halving, trial_folder};
use crate::run::folder::RunFolder;
use crate::run::opening::Opening;
use crate::run::progress::{Event, Observer};
use crate::settings::{Layer, Settings};
use crate::{Error, Result};

/// What the sweep gives a training as the reason to stop; whoever else stops it gives another, also later.
const PAUSE: &str = "measured at the end of a rung";

/// A trial and its folder.
pub(super) struct TrialRun {
    /// From 1.
    number: usize,
    settings: Settings,
    folder: RunFolder,
    /// The steps at which each rung ends.
    rung_steps: Vec<usize>,
    /// How many rungs it was trained for.
    pub(super) rungs: usize,
    /// Its numbers stopped being finite: it is no candidate, whatever it reached before.
    pub(super) is_lost: bool,
}

impl TrialRun {
    pub(super) fn of(
        mut settings: Settings,
        number: usize,
        halving: &Halving,
        inputs: &Inputs,
        sweep: &Path,
    ) -> Self {
        let folder = RunFolder::at(trial_folder(sweep, number));
        let rung_steps = halving.steps(settings.training.total_steps(inputs.examples));
        // All rungs but the last end at a multiple of the first, and the last with the training.
        settings.training.eval_steps = rung_steps.first().copied();
        settings.run.output = Some(folder.path().to_path_buf());
        Self { number, settings, folder, rung_steps, rungs: 0, is_lost: false }
    }

    /// The step at which a rung, from 0, ends.
    pub(super) fn until(&self, rung: usize) -> usize {
        self.rung_steps[rung]
    }

    /// All steps that its settings ask for.
    pub(super) fn total_steps(&self) -> usize {
        self.rung_steps.last().copied().unwrap_or(0)
    }

    /// Whether it has not been trained to the end of a rung yet. One that stopped early is done with all of them.
    pub(super) fn is_due(&self, rung: usize) -> Result<bool> {
        let reached = self.validations()?.last().is_some_and(|row| row.step >= self.until(rung));
        let last = rung + 1 == self.rung_steps.len();
        Ok(!self.weights().exists() && (last || !reached))
    }

    /// Trains up to the end of a rung.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where the user stopped it before that, or what the training says.
    pub(super) fn train(
        &self,
        rung: usize,
        inputs: &Inputs,
        observer: impl Observer + 'static,
    ) -> Result<()> {
        let opening = match self.folder.settings_file().is_file() {
            true => Opening::resume(self.folder.path(), Layer::default())?,
            false => Opening::new(self.settings.clone())?,
        };
        let interrupter = Arc::new(OnceLock::new());
        let until = self.until(rung);
        let first = self.number == 1 && rung == 0;
        let pausing = Pausing { observer, first, until, interrupter: interrupter.clone() };
        match opening.read::<Error>(|_, name, _| Ok(inputs.found(name)))?.train(pausing) {
            Err(Error::Interrupted { .. }) if interrupter.get().is_some_and(is_paused) => Ok(()),
            other => other,
        }
    }

    /// Where its adapter goes, or its model after full tuning; there once it has come to its end.
    pub(super) fn weights(&self) -> PathBuf {
        match self.settings.model.tuning {
            TuningKind::Lora => self.folder.adapter(),
            TuningKind::Full => self.folder.merged(),
        }
    }

    /// The lowest validation loss up to the end of a rung, whatever came behind it: a sweep that goes on must choose as
    /// it chose before.
    pub(super) fn validation_loss(&self, rung: usize) -> Result<Option<f64>> {
        if self.is_lost {
            return Ok(None);
        }
        let until = self.until(rung);
        let rows = self.validations()?.into_iter().filter(|row| row.step <= until);
        Ok(rows.map(|row| row.loss).min_by(f64::total_cmp))
    }

    /// The steps that were trained.
    pub(super) fn steps(&self) -> Result<usize> {
        let step = |row: &MetricsRow| match row {
            MetricsRow::Train(row) => row.step,
            MetricsRow::Validation(row) => row.step,
        };
        Ok(self.metrics()?.iter().map(step).max().unwrap_or(0))
    }

    /// The validation losses over the share of its steps.
    pub(super) fn curve(&self) -> Result<Vec<(f64, f64)>> {
        let total = self.total_steps().max(1) as f64;
        Ok(self.validations()?.into_iter().map(|row| (row.step as f64 / total, row.loss)).collect())
    }

    fn validations(&self) -> Result<Vec<ValidationRow>> {
        let rows = self.metrics()?.into_iter();
        Ok(rows
            .filter_map(|row| match row {
                MetricsRow::Validation(row) => Some(row),
                MetricsRow::Train(_) => None,
            })
            .collect())
    }

    fn metrics(&self) -> Result<Vec<MetricsRow>> {
        if self.folder.metrics_file().is_file() { self.folder.metrics() } else { Ok(Vec::new()) }
    }
}

/// An observer that pauses the training once it is measured at a step.
struct Pausing<O> {
    observer: O,
    /// Whether it is the sweep's first training.
    first: bool,
    until: usize,
    interrupter: Arc<OnceLock<Interrupter>>,
}

/// Whether the sweep stopped a training, and nobody else did.
fn is_paused(interrupter: &Interrupter) -> bool {
    interrupter.get_message().as_deref() == Some(PAUSE)
}

impl<O: Observer> Observer for Pausing<O> {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::TrainingBegins { interrupter, .. } => _ = self.interrupter.set(interrupter.clone()),
            Event::Row(MetricsRow::Validation(row)) if row.step >= self.until => {
                // One that is stopped already is not paused.
                if let Some(interrupter) = self.interrupter.get().filter(|one| !one.should_stop()) {
                    interrupter.stop(Some(PAUSE));
                }
            }
            // Of trials that are alike, one is told what it will take and what is to be known.
            Event::Preflight(_) | Event::Warning(_) if !self.first => return,
            _ => {}
        }
        self.observer.hear(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::progress::Silent;

    /// Whether a training that is stopped before or after the end of its rung counts as paused.
    fn ends_paused(before: bool, after: bool) -> bool {
        let interrupter = Interrupter::new();
        let mut pausing = Pausing {
            observer: Silent,
            first: false,
            until: 4,
            interrupter: Arc::new(OnceLock::from(interrupter.clone())),
        };
        let stop = |now: bool| {
            if now {
                interrupter.stop(Some("interrupted"))
            }
        };
        let measured = |step| {
            MetricsRow::Validation(ValidationRow { step, loss: 1.0, perplexity: 1f64.exp(), tokens: 1 })
        };
        pausing.hear(Event::Row(&measured(3)));
        assert!(!interrupter.should_stop());
        stop(before);
        pausing.hear(Event::Row(&measured(4)));
        assert!(interrupter.should_stop());
        stop(after);
        is_paused(&interrupter)
    }

    #[test]
    fn who_is_interrupted_as_well_is_not_merely_paused() {
        assert!(ends_paused(false, false));
        assert!(!ends_paused(true, false));
        assert!(!ends_paused(false, true));
    }
}
