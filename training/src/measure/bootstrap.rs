//! Two models on the same rows, each with a score: how far their means are apart, and whether by more than chance.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How often the rows are drawn anew.
const DRAWS: usize = 2000;
/// The seed of the draws, so that the same scores give the same interval.
const SEED: u64 = 42;

/// The paired bootstrap (B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; for texts,
/// P. Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The second's mean less the first's.
    pub difference: f64,
    /// Where 95 % of the differences lie when the rows are drawn anew.
    pub interval: [f64; 2],
    /// Twice the share of draws on the other side of zero than the difference; 1 where there is no difference.
    pub p_value: f64,
}

impl Bootstrap {
    /// Compares `second` with `first`, row by row; nothing where they are not equally many, or fewer than two.
    pub fn of(first: &[f64], second: &[f64]) -> Option<Self> {
        if first.len() != second.len() || first.len() < 2 {
            return None;
        }
        let rows: Vec<f64> = first.iter().zip(second).map(|(first, second)| second - first).collect();
        let difference = mean(&rows);
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut draw = || {
            let sum: f64 = (0..rows.len()).map(|_| rows[rng.random_range(0..rows.len())]).sum();
            sum / rows.len() as f64
        };
        let mut draws: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
        draws.sort_by(f64::total_cmp);
        let against = draws.iter().filter(|draw| **draw * difference <= 0.0).count();
        // The least that so many draws can tell is one of them.
        let p_value = (2.0 * against.max(1) as f64 / DRAWS as f64).min(1.0);
        let at = |share: f64| draws[(share * (DRAWS - 1) as f64).round() as usize];
        Some(Self { difference, interval: [at(0.025), at(0.975)], p_value })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_steady_gain_on_rows_of_all_kinds_is_seen_and_noise_is_not() {
        let first: Vec<f64> = (0..40).map(|row| f64::from(row % 7) / 7.0).collect();
        let better: Vec<f64> =
            first.iter().enumerate().map(|(row, score)| score + 0.05 + 0.01 * (row % 3) as f64).collect();
        let found = Bootstrap::of(&first, &better).unwrap();
        assert!((found.difference - 0.05975).abs() < 1e-9, "{found:?}");
        assert!(found.interval[0] > 0.05 && found.interval[1] < 0.07 && found.p_value <= 0.001, "{found:?}");
        let other: Vec<f64> = first.iter().rev().copied().collect();
        let noise = Bootstrap::of(&first, &other).unwrap();
        assert!(noise.interval[0] < 0.0 && noise.interval[1] > 0.0 && noise.p_value > 0.2, "{noise:?}");
        assert_eq!(Bootstrap::of(&first, &first).unwrap().p_value, 1.0);
    }

    #[test]
    fn the_interval_is_as_wide_as_the_standard_error_says() {
        // Differences of -1 and 1 in turn: the standard error of the mean of 100 is 0.1.
        let second: Vec<f64> = (0..100).map(|row| if row % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let [low, high] = Bootstrap::of(&[0.0; 100], &second).unwrap().interval;
        assert!((high - low - 2.0 * 0.196).abs() < 0.04, "{low} {high}");
    }

    #[test]
    fn rows_that_do_not_pair_are_not_compared() {
        assert_eq!(Bootstrap::of(&[1.0, 2.0], &[1.0]), None);
        assert_eq!(Bootstrap::of(&[1.0], &[2.0]), None);
    }
}
