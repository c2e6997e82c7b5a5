//! Inverted dropout (Srivastava et al. 2014, section 10, as PyTorch computes it) that stores nothing: an element is
//! dropped with probability p and kept values are divided by 1 - p, and each element's fate follows from a seed, so that
//! the backward pass works out the same again.

use crate::memory::zeros;
use crate::tasks::{self, Kernel};

/// The rule by which a seed drops elements: a hash of seed, row and column against a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeededDropout {
    seed: u64,
    threshold: u32,
    factor: f32,
}

impl SeededDropout {
    /// Drops this share of elements, at least 0 and below 1; the seed picks one of the possible patterns.
    pub fn new(seed: u64, probability: f64) -> Self {
        let threshold = (probability * 2f64.powi(32)) as u32;
        Self { seed, threshold, factor: (1.0 / (1.0 - probability)) as f32 }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// An element is dropped where its hash is below.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// What an element that is kept is multiplied with.
    pub fn factor_of_kept(&self) -> f32 {
        self.factor
    }

    /// The factors of each element of a matrix, `[rows, columns]`: 0 where it is dropped, 1 / (1 - p) elsewhere.
    pub fn factors(&self, rows: usize, columns: usize) -> Vec<f32> {
        let mut factors = zeros(rows * columns);
        if columns > 0 {
            let size = tasks::task_size(columns);
            let first_rows = (0..).step_by(size / columns);
            tasks::run(&Factors { rule: *self, columns }, first_rows.zip(factors.chunks_mut(size)));
        }
        factors
    }

    /// What a row's columns are hashed with: SplitMix64 (Steele et al. 2014) of the seed and the row.
    #[inline(always)]
    pub(super) fn row_key(&self, row: usize) -> [u32; 2] {
        let mut z = self.seed.wrapping_add((row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        [z as u32, (z >> 32) as u32]
    }

    /// The factor of one element. MurmurHash3's finaliser (Appleby 2011) mixes the column, with half of the
    /// row's key before it and half within: 32-bit arithmetic, which the compiler vectorises.
    #[inline(always)]
    pub(super) fn factor(&self, [first, second]: [u32; 2], column: u32) -> f32 {
        let mut h = column ^ first;
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B) ^ second;
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        h ^= h >> 16;
        if h < self.threshold { 0.0 } else { self.factor }
    }
}

/// Writes the factors of some rows, from the first on.
struct Factors {
    rule: SeededDropout,
    columns: usize,
}

impl Kernel<(usize, &mut [f32])> for Factors {
    type Output = ();

    #[inline(always)]
    fn run(&self, (first_row, factors): (usize, &mut [f32])) {
        for (row, factors) in (first_row..).zip(factors.chunks_exact_mut(self.columns)) {
            let key = self.rule.row_key(row);
            for (column, factor) in (0..).zip(factors) {
                *factor = self.rule.factor(key, column);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share dropped, of the whole and of what follows a dropped element to the right and below, is p within
    /// four standard deviations of a fair draw.
    #[test]
    fn a_seed_drops_the_right_share_without_a_pattern() {
        let (rows, columns, p) = (200usize, 500u32, 0.1);
        let rule = SeededDropout::new(42, p);
        let dropped = |row: usize, column: u32| rule.factor(rule.row_key(row), column) == 0.0;
        let (mut count, mut right, mut below) = (0.0, 0.0, 0.0);
        for row in 0..rows {
            for column in 0..columns {
                if dropped(row, column) {
                    count += 1.0;
                    right += f64::from(u8::from(dropped(row, column + 1)));
                    below += f64::from(u8::from(dropped(row + 1, column)));
                }
            }
        }
        let fair = |hits: f64, of: f64| (hits - of * p).abs() < 4.0 * (of * p * (1.0 - p)).sqrt();
        assert!(fair(count, rows as f64 * f64::from(columns)), "{count}");
        assert!(fair(right, count) && fair(below, count), "{right} {below} of {count}");
        assert_eq!(rule.factor, 1.0 / 0.9);
    }

    /// More rows than a task takes, of an odd length.
    #[test]
    fn factors_are_those_of_each_element() {
        let (rows, columns) = (50, 701);
        let rule = SeededDropout::new(7, 0.3);
        let factors = rule.factors(rows, columns);
        assert_eq!(factors.len(), rows * columns);
        for (place, factor) in factors.into_iter().enumerate() {
            let (row, column) = (place / columns, place % columns);
            assert_eq!(factor, rule.factor(rule.row_key(row), column as u32), "row {row}, column {column}");
        }
        assert!(rule.factors(3, 0).is_empty());
    }

    #[test]
    fn another_seed_drops_others() {
        let pattern = |seed| -> Vec<bool> {
            let rule = SeededDropout::new(seed, 0.5);
            (0..64).map(|column| rule.factor(rule.row_key(0), column) == 0.0).collect()
        };
        assert_eq!(pattern(1), pattern(1));
        assert_ne!(pattern(1), pattern(2));
    }
}
