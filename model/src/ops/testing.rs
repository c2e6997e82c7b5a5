//! What the operations' tests share: the same numbers on every backend, and finite differences in f64.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Uniform noise in [-2, 2).
pub(super) fn noise(shape: impl Into<Vec<usize>>, seed: u64) -> TensorData {
    let shape = shape.into();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect();
    TensorData::new(values, shape)
}

/// The noise as a tensor.
pub(super) fn random<B: Backend, const D: usize>(shape: [usize; D], seed: u64) -> Tensor<B, D> {
    Tensor::from_data(noise(shape, seed), &Default::default())
}

/// The values in f64.
pub(super) fn values(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// The gradient of `of` at `at` by central differences in f64: with a step of 1e-4 they err by about 1e-8, less than
/// f32 can tell.
pub(super) fn differences(at: &[f64], of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-4;
    let mut moved = at.to_vec();
    let mut gradient = Vec::new();
    for index in 0..at.len() {
        moved[index] = at[index] + STEP;
        let above = of(&moved);
        moved[index] = at[index] - STEP;
        gradient.push((above - of(&moved)) / (2.0 * STEP));
        moved[index] = at[index];
    }
    gradient
}

/// Fails where a value is further from the expected one than `tolerance`, taken relative to values above 1.
pub(super) fn assert_close(found: &TensorData, expected: &[f64], tolerance: f64, what: &str) {
    let found = values(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let distance = (found - expected).abs() / expected.abs().max(1.0);
        assert!(distance <= tolerance, "{what}, element {index}: found {found}, expected {expected}");
    }
}

/// Numbers within [-1, 1] that follow from a seed.
pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let number = |index: u64| {
        let mut z = (seed * 7919 + index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..count as u64).map(number).collect()
}

/// Asserts closeness relative to the largest expected number.
pub(super) fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= tolerance * largest, "{what} at {index}: {found} {expected}");
    }
}

/// Asserts that `gradient` is the slope of `loss`, which is worked out in f64, at `inputs[which]`; about
/// `checked` elements are tried.
pub(super) fn assert_slope(
    loss: impl Fn(&[Vec<f64>]) -> f64,
    inputs: &[Vec<f32>],
    which: usize,
    gradient: &[f32],
    checked: usize,
    what: &str,
) {
    const STEP: f64 = 1e-5;
    let mut inputs: Vec<Vec<f64>> =
        inputs.iter().map(|input| input.iter().map(|x| f64::from(*x)).collect()).collect();
    let largest = gradient.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    for index in (0..gradient.len()).step_by((gradient.len() / checked).max(1)) {
        let at = inputs[which][index];
        inputs[which][index] = at + STEP;
        let above = loss(&inputs);
        inputs[which][index] = at - STEP;
        let below = loss(&inputs);
        inputs[which][index] = at;
        let (slope, found) = ((above - below) / (2.0 * STEP), f64::from(gradient[index]));
        // f32 sums of a few hundred terms round by less than this.
        assert!((slope - found).abs() <= 2e-5 * f64::from(largest), "{what} at {index}: {found} {slope}");
    }
}
