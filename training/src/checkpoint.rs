//! Checkpoints: everything a run needs to go on exactly, in a folder that appears whole or not at all.
//!
//! `checkpoints/step-00000120/` holds the adapter in PEFT's format (or, in full tuning, the model's weights),
//! `optimizer.safetensors`, `state.json` and the hashes of them all, by which a flipped bit is found. The order of the data
//! and, on one device, the dropout follow from the seed and the step's number, and the learning rate from the step's number,
//! so that none of them needs a state of its own.

mod sums;

use std::fs;
use std::path::PathBuf;

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use gptneo_files::{FileError, in_plain_words, read_small, remove_dead, write_folder};
use gptneo_model::{NeoBackend, Precision};
use serde::{Deserialize, Serialize};

use crate::fine_tune::FineTune;
use crate::optim::SharedAdamW;
use crate::precision::LossScale;
use crate::{TrainingConfig, TrainingError, Tuning};

/// The file that says where the run stood: what makes a folder a checkpoint.
const STATE: &str = "state.json";

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Steps done, the skipped ones included.
    pub step: usize,
    /// Steps whose gradients were not finite at the loss scale of the time: they changed nothing but that.
    #[serde(default)]
    pub skipped_steps: usize,
    /// Optimizer steps of the whole run.
    pub total_steps: usize,
    /// Supervised tokens seen.
    pub tokens: u64,
    /// The last step whose model was evaluated.
    pub evaluated_step: Option<usize>,
    /// The lowest validation loss so far.
    pub best: Option<Best>,
    /// Evaluations in a row that were no better.
    pub evaluations_without_gain: usize,
    /// The settings that decide the numbers; a run goes on only under the same ones.
    pub config: TrainingConfig,
    /// The numbers of the matrix products.
    #[serde(default)]
    pub precision: Precision,
    /// The loss scaling after the step, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// What is trained.
    pub tuning: Tuning,
    /// Fingerprint of the base model and the texts, by the caller.
    pub fingerprint: String,
}

impl RunState {
    /// Optimizer steps that were taken: those that moved the parameters, the optimizer and the learning rate.
    pub fn steps_taken(&self) -> usize {
        self.step.saturating_sub(self.skipped_steps)
    }

    /// What cannot be of the state of a run after `step`.
    fn fault(&self, step: usize) -> Option<String> {
        if self.step != step {
            return Some(format!("it is of step {}", self.step));
        }
        if self.step > self.total_steps || self.skipped_steps > self.step {
            return Some(format!(
                "{} of {} steps were skipped, {} planned",
                self.skipped_steps, self.step, self.total_steps
            ));
        }
        let best = self.best.filter(|best| best.step == 0 || best.step > self.step || !best.loss.is_finite());
        best.map(|best| format!("the best loss is {} after step {}", best.loss, best.step))
    }

    /// Whether the row of a training step stands. What does not is made again when the run goes on from here.
    pub(crate) fn keeps_step(&self, step: usize) -> bool {
        step <= self.step
    }

    /// Whether what an evaluation after `step` found stands; the newest step may not have been evaluated yet.
    pub(crate) fn keeps_evaluation(&self, step: usize) -> bool {
        step < self.step || (step == self.step && self.evaluated_step == Some(step))
    }
}

/// The best evaluation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After how many optimizer steps.
    pub step: usize,
    /// Validation loss in nats per token.
    pub loss: f64,
}

/// A run's folder of checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// The checkpoints below `folder`, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder of a step's checkpoint.
    pub fn path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("step-{step:08}"))
    }

    /// The steps that have a checkpoint, in order. Nothing else that may be in the folder counts.
    pub fn steps(&self) -> Vec<usize> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut steps: Vec<usize> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok())
            .filter(|step| self.stands(*step))
            .collect();
        steps.sort();
        // Other spellings of a number are strays.
        steps.dedup();
        steps
    }

    /// Whether there is a checkpoint of this step.
    pub fn stands(&self, step: usize) -> bool {
        self.path(step).join(STATE).is_file()
    }

    /// The newest checkpoint's state, if there is one; what dead processes left beside the checkpoints is removed.
    ///
    /// # Errors
    ///
    /// A file of it is not as it was written: the error says which checkpoint stands before it.
    pub fn newest(&self) -> Result<Option<RunState>, TrainingError> {
        remove_dead(&self.folder)?;
        let Some(step) = self.steps().pop() else { return Ok(None) };
        self.check(step)?;
        let path = self.path(step).join(STATE);
        let bytes = read_small(&path).map_err(FileError::on("read", &path))?;
        let state: RunState = serde_json::from_slice(&bytes).map_err(|error| {
            self.damaged(step, format!("{STATE}: {}", in_plain_words(&error.to_string())))
        })?;
        match state.fault(step) {
            None => Ok(Some(state)),
            Some(fault) => Err(self.damaged(step, format!("{STATE} says that {fault}"))),
        }
    }

    /// Compares the files of a step's checkpoint with their hashes.
    ///
    /// # Errors
    ///
    /// A file of it is not as it was written.
    pub(crate) fn check(&self, step: usize) -> Result<(), TrainingError> {
        match sums::fault(&self.path(step))? {
            None => Ok(()),
            Some(fault) => Err(self.damaged(step, fault)),
        }
    }

    fn damaged(&self, step: usize, fault: String) -> TrainingError {
        let before = self.steps().into_iter().rfind(|other| *other < step);
        TrainingError::DamagedCheckpoint { path: self.path(step), fault, before }
    }

    /// Writes a checkpoint, then removes all older ones but the best.
    ///
    /// # Errors
    ///
    /// A file cannot be written; the older checkpoints then all stand.
    pub(crate) fn save<B: NeoBackend>(
        &self,
        model: &FineTune<Autodiff<B>>,
        optimizer: &SharedAdamW<B>,
        state: &RunState,
    ) -> Result<(), TrainingError> {
        write_folder(&self.path(state.step), |folder| -> Result<(), TrainingError> {
            state.tuning.write(&model.valid().model, folder)?;
            optimizer.save(model, &folder.join("optimizer.safetensors"))?;
            let path = folder.join(STATE);
            let text = serde_json::to_string_pretty(state).map_err(|error| TrainingError::Checkpoint {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            fs::write(&path, text).map_err(FileError::on("write", path))?;
            Ok(sums::write(folder)?)
        })?;
        self.remove_older(state)
    }

    fn remove_older(&self, state: &RunState) -> Result<(), TrainingError> {
        let best = state.best.map(|best| best.step);
        for step in self.steps() {
            if step < state.step && Some(step) != best {
                let path = self.path(step);
                fs::remove_dir_all(&path).map_err(FileError::on("remove", path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
