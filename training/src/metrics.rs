//! `metrics.jsonl`: a row a training step and a row a validation.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::TrainingError;
use crate::step_log::{LogRow, StepLog, read_rows};

/// A row of the metrics file. A value that is not finite is written as `null` and read as NaN; losses are always
/// finite, but of a step that was skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "split", rename_all = "lowercase")]
pub enum MetricsRow {
    /// An optimizer step.
    Train(TrainRow),
    /// The model on the validation set after a step.
    Validation(ValidationRow),
}

/// What one optimizer step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainRow {
    /// The step, from 1.
    pub step: usize,
    /// Mean loss over the step's supervised tokens, in nats.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// Global gradient norm before clipping; not a number where the step was skipped.
    #[serde(deserialize_with = "number")]
    pub grad_norm: f64,
    /// The learning rate of the step.
    #[serde(deserialize_with = "number")]
    pub learning_rate: f64,
    /// Supervised tokens of the step.
    pub tokens: u64,
    /// What the loss was multiplied with for the backward pass, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// The gradients were not finite at that scale: no parameter was changed and the learning rate did not move on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skipped: bool,
    /// The epoch of the step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// Seconds that the step took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Supervised tokens for each second of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
}

/// What a validation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationRow {
    /// The step after which it ran; 0 is before training.
    pub step: usize,
    /// Mean loss over the supervised tokens, in nats.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// The loss's exponential.
    #[serde(deserialize_with = "number")]
    pub perplexity: f64,
    /// Supervised tokens.
    pub tokens: u64,
}

/// JSON has no NaN: serde writes `null` for it, and this reads it back.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl MetricsRow {
    /// The step of the row.
    pub fn step(&self) -> usize {
        match self {
            Self::Train(row) => row.step,
            Self::Validation(row) => row.step,
        }
    }
}

impl LogRow for MetricsRow {
    fn fault(&self) -> Option<String> {
        let (loss, may_be_none) = match self {
            Self::Train(row) => (row.loss, row.skipped),
            Self::Validation(row) => (row.loss, false),
        };
        (!loss.is_finite() && !may_be_none)
            .then(|| format!("the loss of step {} is not a finite number", self.step()))
    }
}

/// The metrics file of a run, open for more rows.
pub type MetricsLog = StepLog<MetricsRow>;

/// The rows of a metrics file in order. A torn last line, as a run that still writes may show, is left out.
///
/// # Errors
///
/// The file cannot be read, or a line is no row ([`TrainingError::Metrics`]).
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<MetricsRow>, TrainingError> {
    read_rows(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;

    fn train(step: usize, loss: f64) -> MetricsRow {
        MetricsRow::Train(TrainRow {
            step,
            loss,
            grad_norm: 1.0 / 3.0,
            learning_rate: 2e-4,
            tokens: 61,
            loss_scale: None,
            skipped: false,
            epoch: None,
            seconds: None,
            tokens_per_second: None,
        })
    }

    fn validation(step: usize) -> MetricsRow {
        let (loss, perplexity) = (1.5, 1.5f64.exp());
        MetricsRow::Validation(ValidationRow { step, loss, perplexity, tokens: 9 })
    }

    fn log(folder: &tempfile::TempDir, rows: &[MetricsRow]) -> PathBuf {
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        rows.iter().for_each(|row| log.append(row).unwrap());
        path
    }

    #[test]
    fn a_row_is_a_line_with_its_split_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, &[train(1, 0.5), validation(1)]);
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "{\"split\":\"train\",\"step\":1,\"loss\":0.5,\"grad_norm\":0.3333333333333333,\
             \"learning_rate\":0.0002,\"tokens\":61}\n\
             {\"split\":\"validation\",\"step\":1,\"loss\":1.5,\"perplexity\":4.4816890703380645,\"tokens\":9}\n"
        );
    }

    #[test]
    fn floats_come_back_exactly() {
        let folder = tempfile::tempdir().unwrap();
        // Many digits and small and large exponents: a parser that rounds twice misses some by one unit.
        let rows: Vec<_> = (1..2000)
            .map(|i| train(i, (i as f64 * 0.37).sin().exp() * 1e-9_f64.powi(i as i32 % 5)))
            .collect();
        let path = log(&folder, &rows);
        let off = read_metrics(path).unwrap().iter().zip(&rows).filter(|(found, row)| found != row).count();
        assert_eq!(off, 0, "serde_json needs its feature float_roundtrip");
    }

    #[test]
    fn what_is_not_finite_reads_as_nan() {
        let folder = tempfile::tempdir().unwrap();
        let MetricsRow::Train(row) = train(1, f64::INFINITY) else { unreachable!() };
        let path = log(&folder, &[MetricsRow::Train(TrainRow { skipped: true, ..row.clone() })]);
        let rows = read_metrics(path).unwrap();
        assert!(matches!(&rows[..], [MetricsRow::Train(row)] if row.loss.is_nan() && row.step == 1));
        // Only a step that changed nothing may have lost no number.
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, &[train(1, 0.5), MetricsRow::Train(row)]);
        for error in [read_metrics(&path).unwrap_err(), MetricsLog::resume(&path, |_| true).unwrap_err()]
            .map(|e| e.to_string())
        {
            assert!(error.contains("line 2") && error.contains("loss of step 1 is not a finite"), "{error}");
        }
    }

    #[test]
    fn a_resumed_run_drops_later_rows_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, &[train(1, 3.0), train(2, 2.0), validation(2), train(3, 1.0)]);
        let whole = std::fs::read_to_string(&path).unwrap();
        let torn = &whole[..whole.len() - 9];
        std::fs::write(&path, torn).unwrap();
        assert_eq!(read_metrics(&path).unwrap(), [train(1, 3.0), train(2, 2.0), validation(2)]);

        let mut log = MetricsLog::resume(&path, |row| row.step() <= 3).unwrap();
        log.append(&train(3, 1.0)).unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), whole);
        let mut log = MetricsLog::resume(&path, |row| row.step() <= 2).unwrap();
        log.append(&train(3, 0.5)).unwrap();
        assert_eq!(
            read_metrics(&path).unwrap(),
            [train(1, 3.0), train(2, 2.0), validation(2), train(3, 0.5)]
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_line_that_lacks_only_its_newline_stays_and_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, &[train(1, 3.0), train(2, 2.0)]);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.trim_end()).unwrap();
        let mut log = MetricsLog::resume(&path, |row| row.step() <= 2).unwrap();
        log.append(&train(3, 1.0)).unwrap();
        assert_eq!(read_metrics(&path).unwrap().len(), 3);
    }

    #[test]
    fn other_bad_lines_and_an_existing_file_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(&folder, &[train(1, 3.0)]);
        let text = std::fs::read_to_string(&path).unwrap();
        let fault = MetricsLog::create(&path).unwrap_err().to_string();
        assert!(fault.contains("choose another folder"), "{fault}");
        std::fs::write(&path, format!("{text}{{\"split\":\"train\"}}\n{text}")).unwrap();
        for error in
            [read_metrics(&path).unwrap_err(), MetricsLog::resume(&path, |row| row.step() <= 9).unwrap_err()]
        {
            assert!(matches!(&error, TrainingError::Metrics { line: 2, .. }), "{error}");
        }
    }
}
