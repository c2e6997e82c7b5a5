//! Two models on the same rows: whether their losses differ by more than chance would have it.
//!
//! Rows that are hard for one model are hard for the other. The difference is therefore taken row by row, and its
//! standard error is that of the differences, which is far smaller than that of either loss.

use serde::Serialize;

use super::evaluation::{RecordLoss, ratio};

/// How far two models' losses on the same rows are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedDifference {
    /// The second's loss less the first's, in nats per token; below zero the second is better.
    pub difference: f64,
    /// The standard error of `difference`, as [`super::Score::standard_error`] over the rows' differences.
    pub standard_error: Option<f64>,
    /// The rows.
    pub records: usize,
    /// Their tokens.
    pub tokens: u64,
}

/// How much a difference says, by its size in standard errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No standard error: fewer than two rows.
    Unknown,
    /// Not larger than its standard error.
    WithinError,
    /// Larger than its standard error, but not than two of them.
    LargerThanError,
    /// Larger than two standard errors.
    LargerThanTwice,
}

impl PairedDifference {
    /// Compares `second` with `first`, row by row. Nothing where the rows or their tokens are not the same, in the
    /// same order, or hold no token.
    pub fn of(first: &[RecordLoss], second: &[RecordLoss]) -> Option<Self> {
        let same = |(a, b): (&RecordLoss, &RecordLoss)| a.record == b.record && a.tokens == b.tokens;
        if first.len() != second.len() || !first.iter().zip(second).all(same) {
            return None;
        }
        let differences: Vec<(f64, u64)> =
            first.iter().zip(second).map(|(a, b)| (b.loss - a.loss, a.tokens)).collect();
        let (difference, tokens, standard_error) = ratio(&differences)?;
        Some(Self { difference, standard_error, records: first.len(), tokens })
    }

    /// What the difference says.
    pub fn verdict(&self) -> Verdict {
        match self.standard_error {
            None => Verdict::Unknown,
            Some(error) if self.difference.abs() > 2.0 * error => Verdict::LargerThanTwice,
            Some(error) if self.difference.abs() > error => Verdict::LargerThanError,
            Some(_) => Verdict::WithinError,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn losses(sums: &[f64]) -> Vec<RecordLoss> {
        let rows = sums.iter().enumerate();
        rows.map(|(record, loss)| RecordLoss { record, loss: *loss, tokens: 2 + record as u64 }).collect()
    }

    #[test]
    fn a_small_steady_gain_on_rows_of_all_kinds_is_seen() {
        let first = losses(&[10.0, 90.0, 40.0, 5.0]);
        let second = losses(&[9.8, 89.7, 39.6, 4.5]);
        let found = PairedDifference::of(&first, &second).unwrap();
        // By hand: 1.4 nats over 14 tokens; every row's residual is zero.
        assert!((found.difference + 0.1).abs() < 1e-12 && found.tokens == 14, "{found:?}");
        assert!(found.standard_error.unwrap() < 1e-12);
        assert_eq!(found.verdict(), Verdict::LargerThanTwice);
    }

    #[test]
    fn noise_is_within_its_error() {
        let first = losses(&[10.0, 10.0, 10.0, 10.0]);
        let second = losses(&[12.0, 7.0, 11.5, 9.0]);
        assert_eq!(PairedDifference::of(&first, &second).unwrap().verdict(), Verdict::WithinError);
        let one = PairedDifference::of(&first[..1], &second[..1]).unwrap();
        assert_eq!((one.difference, one.verdict()), (1.0, Verdict::Unknown));
    }

    #[test]
    fn other_rows_cannot_be_compared() {
        let first = losses(&[1.0, 2.0]);
        assert_eq!(PairedDifference::of(&first, &losses(&[1.0])), None);
        let mut other = first.clone();
        other[1].tokens += 1;
        assert_eq!(PairedDifference::of(&first, &other), None);
        assert_eq!(PairedDifference::of(&[], &[]), None);
    }
}
