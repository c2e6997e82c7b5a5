//! What both models lost on each held-out row: what two runs are compared by.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ReportError;
use crate::table::{failure, read_table, write_table, wrong};

/// The columns of the table, in order.
const COLUMNS: [&str; 4] = ["Record", "Response Tokens", "Base Loss", "Tuned Loss"];

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

/// Writes what each held-out row lost, every digit of it.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_held_out(path: impl AsRef<Path>, rows: &[HeldOutRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        [row.record.to_string(), row.tokens.to_string(), row.base.to_string(), row.tuned.to_string()]
    });
    write_table(path.as_ref(), &COLUMNS, records)
}

/// Reads a table that [`write_held_out`] wrote.
///
/// # Errors
/// [`ReportError::Read`] for a file that cannot be opened, a missing column, or a loss
/// that is no finite number from 0 on.
pub fn read_held_out(path: impl AsRef<Path>) -> Result<Vec<HeldOutRow>, ReportError> {
    let path = path.as_ref();
    let rows: Vec<HeldOutRow> = read_table(path, &COLUMNS)?;
    for (number, row) in rows.iter().enumerate() {
        for (column, loss) in [(COLUMNS[2], row.base), (COLUMNS[3], row.tuned)] {
            if !loss.is_finite() || loss < 0.0 {
                let what = format!("row {}: {column} is {loss}, expected a number from 0 on", number + 1);
                return Err(failure(path, &COLUMNS, wrong(what)));
            }
        }
    }
    Ok(rows)
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
        let table = "Record,Response Tokens,Base Loss,Tuned Loss\n";
        for losses in ["NaN,1", "1,inf", "1,-2"] {
            std::fs::write(&path, format!("{table}1,3,1,1\n2,3,{losses}\n")).unwrap();
            let error = read_held_out(&path).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("row 2") && source.contains("expected a number"), "{source}");
        }
        std::fs::write(&path, "Record,Base Loss\n1,2\n").unwrap();
        assert!(read_held_out(&path).unwrap_err().to_string().contains("Response Tokens"));
    }
}
