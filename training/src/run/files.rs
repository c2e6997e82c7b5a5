//! The files of a run: its folder, and what stands in it of a run that goes on.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::TrainingError;
use crate::checkpoint::{Checkpoints, RunState};
use crate::metrics::{MetricsLog, MetricsRow};
use crate::samples::{SampleQuestions, Samples};

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With its first step.
    New,
    /// Where its newest checkpoint stands.
    NewestCheckpoint,
}

/// A run's folder.
pub(super) struct RunFiles {
    pub(super) folder: PathBuf,
    pub(super) checkpoints: Checkpoints,
    start: Start,
    /// Stands as long as this does.
    _temporary: Option<TempDir>,
}

impl RunFiles {
    /// The folder that was named, made if it is absent, or a temporary one.
    pub(super) fn open(named: Option<PathBuf>, start: Start) -> Result<Self, TrainingError> {
        let (folder, temporary) = match named {
            Some(folder) => {
                std::fs::create_dir_all(&folder).map_err(TrainingError::io("create", &folder))?;
                (folder, None)
            }
            None if start == Start::NewestCheckpoint => {
                return Err(TrainingError::Settings(
                    "a run without a folder leaves nothing to go on from: name the folder of the run to resume"
                        .into(),
                ));
            }
            None => {
                let temporary = tempfile::tempdir()
                    .map_err(TrainingError::io("create a folder in", &std::env::temp_dir()))?;
                (temporary.path().into(), Some(temporary))
            }
        };
        let checkpoints = Checkpoints::new(folder.join("checkpoints"));
        Ok(Self { folder, checkpoints, start, _temporary: temporary })
    }

    /// Where the run stands: as `fresh`, or as its newest checkpoint says. It goes on only under the settings and on
    /// the data that it was started with.
    pub(super) fn state(&self, fresh: RunState) -> Result<RunState, TrainingError> {
        let newest = match self.start {
            Start::New => None,
            Start::NewestCheckpoint => self.checkpoints.newest()?,
        };
        let Some(found) = newest else { return Ok(fresh) };
        let comparable = RunState {
            step: 0,
            skipped_steps: 0,
            tokens: 0,
            evaluated_step: None,
            best: None,
            evaluations_without_gain: 0,
            loss_scale: fresh.loss_scale,
            ..found.clone()
        };
        if comparable == fresh {
            return Ok(found);
        }
        let differences = match (serde_json::to_value(&comparable), serde_json::to_value(&fresh)) {
            (Ok(before), Ok(now)) => differences("", &before, &now).join("; "),
            _ => "its settings cannot be compared".into(),
        };
        Err(TrainingError::Checkpoint {
            path: self.checkpoints.path(found.step),
            reason: format!(
                "the run was started with other settings or data ({differences}); \
                 resume it with the same ones, or choose another output folder"
            ),
        })
    }

    /// `metrics.jsonl`, with the rows that stand at `state`.
    pub(super) fn metrics(&self, state: &RunState) -> Result<MetricsLog, TrainingError> {
        let path = self.folder.join("metrics.jsonl");
        match self.start {
            Start::New => MetricsLog::create(path),
            // Cut off before its first row.
            Start::NewestCheckpoint if state.step == 0 && !path.exists() => MetricsLog::create(path),
            Start::NewestCheckpoint => MetricsLog::resume(path, |row| match row {
                MetricsRow::Train(row) => state.keeps_step(row.step),
                MetricsRow::Validation(row) => state.keeps_evaluation(row.step),
            }),
        }
    }

    /// `samples.jsonl`, with the rows that stand at `state`.
    pub(super) fn samples(&self, asked: SampleQuestions, state: &RunState) -> Result<Samples, TrainingError> {
        let resumes = self.start == Start::NewestCheckpoint;
        let path = self.folder.join("samples.jsonl");
        Samples::open(asked, &path, |row| resumes && state.keeps_evaluation(row.step))
    }
}

fn differences(path: &str, before: &Value, now: &Value) -> Vec<String> {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            keys.into_iter()
                .flat_map(|key| differences(key, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null)))
                .collect()
        }
        _ if before == now => Vec::new(),
        _ => vec![format!("{path} was {before} and is now {now}")],
    }
}
