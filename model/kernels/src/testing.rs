//! What the kernels' tests share: numbers that follow from a seed, and closeness.

/// Numbers within [-1, 1] that follow from a seed.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let number = |index: u64| {
        let mut z = (seed * 7919 + index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    (0..count as u64).map(number).collect()
}

/// Asserts closeness relative to the largest expected number.
pub(crate) fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= tolerance * largest, "{what} at {index}: {found} {expected}");
    }
}
