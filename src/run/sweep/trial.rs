//! One trial of a sweep: a training run that is paused at each rung and goes on from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gptneo_training::metrics::{MetricsRow, ValidationRow};
use gptneo_training::{Interrupter, TuningKind};

use super::inputs::Inputs;
use super::plan::{Halving, trial_folder};
use crate::run::folder::RunFolder;
use crate::run::opening::Opening;
use crate::run::progress::{Event, Observer};
use crate::settings::{Layer, Settings};
use crate::{Error, Result};

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
        let paused = Arc::new(AtomicBool::new(false));
        let until = self.until(rung);
        let first = self.number == 1 && rung == 0;
        let pausing = Pausing { observer, first, until, interrupter: None, paused: paused.clone() };
        match opening.read::<Error>(|_, name, _| Ok(inputs.found(name)))?.train(pausing) {
            Err(Error::Interrupted { .. }) if paused.load(Ordering::SeqCst) => Ok(()),
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
    interrupter: Option<Interrupter>,
    paused: Arc<AtomicBool>,
}

impl<O: Observer> Observer for Pausing<O> {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::TrainingBegins { interrupter, .. } => self.interrupter = Some(interrupter.clone()),
            Event::Row(MetricsRow::Validation(row)) if row.step >= self.until => {
                // Who was interrupted before is not paused.
                if let Some(interrupter) = self.interrupter.as_ref().filter(|one| !one.should_stop()) {
                    self.paused.store(true, Ordering::SeqCst);
                    interrupter.stop(None);
                }
            }
            // Of trials that are alike, one is told what it will take and what is to be known.
            Event::Preflight(_) | Event::Warning(_) if !self.first => return,
            _ => {}
        }
        self.observer.hear(event);
    }
}
