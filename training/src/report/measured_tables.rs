//! The tables about single answers and rows: how close the answers are, and what each held-out row lost.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ReportError;
use super::tables::write_table;
use crate::measure::AnswerMetrics;

/// The columns of the table of answer measures, in order.
const ANSWER_COLUMNS: [&str; 7] =
    ["Model", "Questions", "Token F1", "Standard Error", "Exact Match", "Mean Tokens", "Stopped"];
/// The columns of the table of held-out losses, in order.
const HELD_OUT_COLUMNS: [&str; 4] = ["Record", "Response Tokens", "Base Loss", "Tuned Loss"];

/// What both models lost on one held-out row's answer and its end-of-text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRow {
    /// The record in the data, from 1; for plain text, the block.
    #[serde(rename = "Record")]
    pub record: usize,
    /// The tokens scored: the answer's and the end-of-text.
    #[serde(rename = "Response Tokens")]
    pub tokens: u64,
    /// The base model's summed loss over them, in nats.
    #[serde(rename = "Base Loss")]
    pub base: f64,
    /// The tuned model's.
    #[serde(rename = "Tuned Loss")]
    pub tuned: f64,
}

/// Writes the measures of the answers. Shares go from 0 to 1; what was not measured is an empty cell.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_answer_metrics(path: impl AsRef<Path>, rows: &[AnswerMetrics]) -> Result<(), ReportError> {
    let cell = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let records = rows.iter().map(|row| {
        [
            row.model.clone(),
            row.questions.to_string(),
            cell(row.token_f1),
            cell(row.standard_error),
            cell(row.exact_match),
            row.mean_tokens.to_string(),
            row.stopped.to_string(),
        ]
    });
    write_table(path.as_ref(), &ANSWER_COLUMNS, records)
}

/// Writes what each held-out row lost, every digit of it.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_held_out(path: impl AsRef<Path>, rows: &[HeldOutRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        [row.record.to_string(), row.tokens.to_string(), row.base.to_string(), row.tuned.to_string()]
    });
    write_table(path.as_ref(), &HELD_OUT_COLUMNS, records)
}

/// Reads a table that [`write_held_out`] wrote.
///
/// # Errors
/// [`ReportError::Read`] for a file that cannot be opened, a missing column, or a cell that is not a number.
pub fn read_held_out(path: impl AsRef<Path>) -> Result<Vec<HeldOutRow>, ReportError> {
    let path = path.as_ref();
    let failed = |source| ReportError::Read {
        path: path.to_path_buf(),
        expected: HELD_OUT_COLUMNS.join(", "),
        source,
    };
    let mut reader = csv::Reader::from_path(path).map_err(failed)?;
    reader.deserialize().map(|row| row.map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn held_out_losses_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("losses.csv");
        let rows = [
            HeldOutRow { record: 3, tokens: 17, base: 0.1 + 0.2, tuned: 1.0 / 3.0 },
            HeldOutRow { record: 9, tokens: 0, base: 0.0, tuned: 0.0 },
        ];
        write_held_out(&path, &rows).unwrap();
        assert_eq!(read_held_out(&path).unwrap(), rows);
        std::fs::write(&path, "Record,Base Loss\n1,2\n").unwrap();
        assert!(read_held_out(&path).unwrap_err().to_string().contains("Response Tokens"));
    }

    #[test]
    fn what_was_not_measured_is_an_empty_cell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.csv");
        let row = AnswerMetrics {
            model: "Base Model".into(),
            questions: 2,
            token_f1: None,
            standard_error: None,
            exact_match: None,
            mean_tokens: 3.5,
            stopped: 0.5,
        };
        write_answer_metrics(&path, &[row]).unwrap();
        let expected = "Model,Questions,Token F1,Standard Error,Exact Match,Mean Tokens,Stopped\n\
                        Base Model,2,,,,3.5,0.5\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}
