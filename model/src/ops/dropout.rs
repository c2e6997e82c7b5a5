//! Inverted dropout (Srivastava et al. 2014, section 10, as PyTorch computes it): an element is dropped with
//! probability p and kept values are divided by 1 - p.
//!
//! What was dropped is either a mask that a backend drew, or a seed from which each element's fate follows by
//! itself: nothing is stored then, and the backward pass works out the same again. Drawing a mask keeps a GPU
//! from waiting for a seed; a seed keeps a CPU from reading and writing a mask.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Distribution, Tensor, TensorData, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

use super::NeoBackend;

/// Which elements of a matrix are dropped.
#[derive(Clone, Debug)]
pub enum Dropout<F> {
    /// Factors of the matrix' shape: 0 where an element is dropped, 1 / (1 - p) elsewhere.
    Mask(F),
    /// A hash of seed, row and column says it, the same in the forward and the backward pass.
    Seed {
        /// Picks one of the possible patterns.
        seed: u64,
        /// The share of elements that are dropped, at least 0 and below 1.
        probability: f64,
    },
}

impl<F> Dropout<F> {
    /// The same for another kind of tensor.
    pub(super) fn map<G>(self, mask: impl FnOnce(F) -> G) -> Dropout<G> {
        match self {
            Self::Mask(factors) => Dropout::Mask(mask(factors)),
            Self::Seed { seed, probability } => Dropout::Seed { seed, probability },
        }
    }
}

/// The rule by which a seed drops elements: a hash of seed, row and column against a threshold.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeededDropout {
    seed: u64,
    threshold: u32,
    factor: f32,
}

impl SeededDropout {
    pub(super) fn new(seed: u64, probability: f64) -> Self {
        let threshold = (probability * 2f64.powi(32)) as u32;
        Self { seed, threshold, factor: (1.0 / (1.0 - probability)) as f32 }
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

/// The default of [`NeoBackend::draw_dropout`]: a mask.
pub(super) fn draw_mask<B: Backend>(x: &FloatTensor<B>, probability: f64) -> Dropout<FloatTensor<B>> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x.clone()));
    let kept = x.random_like(Distribution::Bernoulli(1.0 - probability));
    Dropout::Mask((kept * (1.0 / (1.0 - probability))).into_primitive().tensor())
}

/// What the inner backend draws; no gradient reaches it.
pub(super) fn untracked<B: NeoBackend, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    probability: f64,
) -> Dropout<FloatTensor<Autodiff<B, C>>> {
    B::draw_dropout(&x.primitive, probability).map(Autodiff::<B, C>::from_inner)
}

/// The factors of each element, of the shape of `like` `[rows, columns]`.
pub(super) fn factors<B: Backend>(dropout: Dropout<FloatTensor<B>>, like: &Tensor<B, 2>) -> Tensor<B, 2> {
    match dropout {
        Dropout::Mask(mask) => Tensor::from_primitive(TensorPrimitive::Float(mask)),
        Dropout::Seed { seed, probability } => {
            let [rows, columns] = like.dims();
            let rule = SeededDropout::new(seed, probability);
            let row = |row| {
                let key = rule.row_key(row);
                (0..columns as u32).map(move |column| rule.factor(key, column))
            };
            let factors: Vec<f32> = (0..rows).flat_map(row).collect();
            Tensor::from_data(TensorData::new(factors, [rows, columns]), (&like.device(), like.dtype()))
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
