//! One measure over several runs that differ in their seed: mean and spread, and the table of all.

use std::path::Path;

use serde::Serialize;

use crate::error::ReportError;
use crate::table::{cell, write_table};

/// The columns of the table, in order.
const COLUMNS: [&str; 7] = ["Measure", "Model", "Mean", "Standard Deviation", "Smallest", "Largest", "Runs"];

/// A measure over several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpreadRow {
    /// What is measured, such as "perplexity, response".
    pub measure: String,
    /// The model as people should read it; empty for what is known without one.
    pub model: String,
    /// The mean of the runs.
    pub mean: f64,
    /// Their standard deviation, with n - 1; none for a single run.
    pub standard_deviation: Option<f64>,
    /// The smallest.
    pub smallest: f64,
    /// The largest.
    pub largest: f64,
    /// How many runs.
    pub runs: usize,
}

impl SpreadRow {
    /// The row of `values`; nothing without one.
    pub fn of(measure: &str, model: &str, values: &[f64]) -> Option<Self> {
        let (smallest, largest) =
            (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
        let runs = values.len();
        // From the smallest on, so that equal values have their own mean, and no spread from rounding.
        let mean = smallest + values.iter().map(|value| value - smallest).sum::<f64>() / runs as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            measure: measure.to_string(),
            model: model.to_string(),
            mean,
            standard_deviation: (runs > 1).then(|| (squares / (runs - 1) as f64).sqrt()),
            smallest,
            largest,
            runs,
        })
    }
}

/// Writes the table, every digit of it.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_spread(path: impl AsRef<Path>, rows: &[SpreadRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        let SpreadRow { measure, model, mean, standard_deviation, smallest, largest, runs } = row;
        [
            measure.clone(),
            model.clone(),
            mean.to_string(),
            cell(*standard_deviation),
            smallest.to_string(),
            largest.to_string(),
            runs.to_string(),
        ]
    });
    write_table(path.as_ref(), &COLUMNS, records)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let row = SpreadRow::of("loss, text", "Base Model", &[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((row.mean, row.standard_deviation, row.runs), (3.0, Some(7.0f64.sqrt()), 3));
        assert_eq!((row.smallest, row.largest), (1.0, 6.0));
        assert_eq!(SpreadRow::of("a", "b", &[1.0]).unwrap().standard_deviation, None);
        assert_eq!(SpreadRow::of("a", "b", &[]), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seeds.csv");
        write_spread(&path, &[row]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\"loss, text\",Base Model,3,2.6457513110645907,1,6,3\n"), "{text}");
    }
}
