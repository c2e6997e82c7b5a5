//! What no product of f32 can pass: fused multiply-adds that never leave their registers.

use std::hint::black_box;

use pulp::{Simd, WithSimd};

use crate::registers::{arch, lanes};

/// As many sums as keep the units of a processor busy.
const SUMS: usize = 12;
/// Additions to each sum: a few milliseconds.
const TIMES: usize = 1 << 20;

/// Fused multiply-adds on all threads, in the registers that the kernels compute in, for some milliseconds; returns how many
/// operations they were, each counted as two.
pub fn multiply_adds() -> usize {
    let arch = arch();
    let threads = rayon::broadcast(|_| black_box(arch.dispatch(MultiplyAdd))).len();
    2 * SUMS * lanes() * TIMES * threads
}

struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (factor, term) = (simd.splat_f32s(black_box(0.5)), simd.splat_f32s(black_box(1.0)));
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        for _ in 0..TIMES {
            #[allow(clippy::needless_range_loop)] // this one is unrolled
            for i in 0..SUMS {
                sums[i] = simd.mul_add_f32s(factor, sums[i], term);
            }
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}
