//! Two models on the same questions, right or wrong: whether one is right more often than chance would have it.

use serde::{Deserialize, Serialize};

/// McNemar's exact test (Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
/// percentages", Psychometrika 12, 1947; the binomial form).
///
/// Only questions on which the models part say which is better; if neither were, each model would win such a question as
/// often as a fair coin falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Questions that the second has right and the first wrong.
    pub gained: u64,
    /// Questions that the first has right and the second wrong.
    pub lost: u64,
    /// How likely so uneven a count is, or a more uneven one, where neither is better.
    pub p_value: f64,
}

impl McNemar {
    /// Compares `second` with `first`, question by question; nothing where they are not equally many.
    pub fn of(first: &[bool], second: &[bool]) -> Option<Self> {
        if first.len() != second.len() {
            return None;
        }
        let count = |wanted: (bool, bool)| {
            first.iter().zip(second).filter(|(a, b)| (**a, **b) == wanted).count() as u64
        };
        let (gained, lost) = (count((false, true)), count((true, false)));
        Some(Self { gained, lost, p_value: two_sided(gained, lost) })
    }
}

/// Twice the chance of at most the smaller count among `one + other` throws of a fair coin.
fn two_sided(one: u64, other: u64) -> f64 {
    let throws = (one + other) as f64;
    // ln C(n, k) grows by ln((n - k) / (k + 1)) from k to k + 1; summed in logarithms, nothing underflows.
    let (mut log_count, mut tail) = (0.0, 0.0);
    for k in 0..=one.min(other) {
        tail += f64::exp(log_count - throws * std::f64::consts::LN_2);
        log_count += ((throws - k as f64) / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_questions_that_part_the_models_count() {
        let first = [true, true, false, false, false, false, false, true];
        let second = [true, false, true, true, true, true, true, true];
        let found = McNemar::of(&first, &second).unwrap();
        // By hand: 1 of 6: 2 (1 + 6) / 64.
        assert_eq!((found.gained, found.lost), (5, 1));
        assert!((found.p_value - 14.0 / 64.0).abs() < 1e-15, "{found:?}");
        assert_eq!(McNemar::of(&first, &first).unwrap().p_value, 1.0);
        assert_eq!(McNemar::of(&first, &second[1..]), None);
    }

    #[test]
    fn even_counts_say_nothing_and_large_ones_do_not_underflow() {
        assert_eq!(two_sided(3, 3), 1.0);
        assert!((two_sided(0, 10) - 2.0_f64.powi(-9)).abs() < 1e-15);
        // The normal approximation with its correction: z = (|2600 - 2400| - 1) / sqrt(5000) = 2.814, p = 0.00489.
        assert!((two_sided(2400, 2600) - 0.00489).abs() < 1e-4, "{}", two_sided(2400, 2600));
    }
}
