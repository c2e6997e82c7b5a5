//! `W x` for a single row of x and a weight that is kept in bf16 or int8, on processors with AVX2 and FMA: the values
//! become f32 in registers, on their way into the sums. [`super::few_rows`] brings them to f32 in the cache, which pays
//! from the second row of x on; for one row that would take longer than the products.

use super::weight::Weight;

/// Some rows of the weight, from `first` on, against x, `[input]`; out has one element for each. False, and nothing
/// done, where neither the processor nor the format is one for which it is written.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn multiply(_x: &[f32], _weight: Weight<'_>, _first: usize, _out: &mut [f32]) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86_64::multiply;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::__m256;

    use half::bf16;
    use pulp::x86::V3;
    use pulp::{NullaryFnOnce, cast};

    use super::Weight;
    use crate::memory::prefetch;

    /// f32 elements of a register, and of a cache line.
    const LANES: usize = 8;
    const LINE: usize = 16;
    /// Rows of the weight whose products are summed together, each in two registers.
    const TALL: usize = 4;

    pub(crate) fn multiply(x: &[f32], weight: Weight<'_>, first: usize, out: &mut [f32]) -> bool {
        let Some(simd) = V3::try_new() else { return false };
        let input = x.len();
        match weight {
            Weight::Int8 { values, scales, block } if block.is_multiple_of(LANES) => {
                let values = &values[first * input..];
                let scales = &scales[first * input / block..];
                simd.vectorize(Task { simd, rows: Int8 { values, scales, block }, x, out });
            }
            Weight::Bf16(values) if input.is_multiple_of(LANES) => {
                simd.vectorize(Task { simd, rows: Bf16(&values[first * input..]), x, out });
            }
            Weight::F32(_) | Weight::Bf16(_) | Weight::Int8 { .. } => return false,
        }
        true
    }

    /// A format whose rows can be multiplied `W` at a time.
    trait Rows {
        /// The products of x with the `W` rows from `first` on.
        fn products<const W: usize>(&self, simd: V3, x: &[[f32; LANES]], first: usize) -> [f32; W];
    }

    struct Task<'a, R> {
        simd: V3,
        rows: R,
        x: &'a [f32],
        out: &'a mut [f32],
    }

    impl<R: Rows> NullaryFnOnce for Task<'_, R> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { simd, rows, x, out } = self;
            let (x, _) = x.as_chunks::<LANES>();
            let mut first = 0;
            let (tall, rest) = out.as_chunks_mut::<TALL>();
            for out in tall {
                *out = rows.products::<TALL>(simd, x, first);
                first += TALL;
            }
            for out in rest {
                [*out] = rows.products::<1>(simd, x, first);
                first += 1;
            }
        }
    }

    struct Int8<'a> {
        values: &'a [i8],
        scales: &'a [f32],
        block: usize,
    }

    impl Rows for Int8<'_> {
        /// The sum of a block is scaled once, as a whole.
        #[inline(always)]
        fn products<const W: usize>(&self, simd: V3, x: &[[f32; LANES]], first: usize) -> [f32; W] {
            let (values, _) = self.values.as_chunks::<LANES>();
            let (length, of_block) = (x.len(), self.block / LANES);
            let blocks = length / of_block;
            let zero = simd.avx._mm256_setzero_ps();
            let mut totals = [zero; W];
            for (index, x) in x.chunks_exact(of_block).enumerate() {
                for (i, total) in totals.iter_mut().enumerate() {
                    let start = (first + i) * length + index * of_block;
                    ask_for(values, start + W * length);
                    // Two sums: a sum waits for its last addition.
                    let mut sums = [zero; 2];
                    for (k, (values, x)) in values[start..][..of_block].iter().zip(x).enumerate() {
                        let bytes = i64::from_le_bytes(cast(*values));
                        let wide = simd.avx2._mm256_cvtepi8_epi32(simd.sse2._mm_set_epi64x(0, bytes));
                        let floats = simd.avx._mm256_cvtepi32_ps(wide);
                        sums[k % 2] = simd.fma._mm256_fmadd_ps(floats, cast(*x), sums[k % 2]);
                    }
                    let scale = simd.avx._mm256_set1_ps(self.scales[(first + i) * blocks + index]);
                    let sum = simd.avx._mm256_add_ps(sums[0], sums[1]);
                    *total = simd.fma._mm256_fmadd_ps(sum, scale, *total);
                }
            }
            totals.map(sum_of)
        }
    }

    struct Bf16<'a>(&'a [bf16]);

    impl Rows for Bf16<'_> {
        /// A bf16 is the upper half of an f32.
        #[inline(always)]
        fn products<const W: usize>(&self, simd: V3, x: &[[f32; LANES]], first: usize) -> [f32; W] {
            let (values, _) = self.0.as_chunks::<LANES>();
            let length = x.len();
            let mut sums = [[simd.avx._mm256_setzero_ps(); 2]; W];
            for (k, x) in x.iter().enumerate() {
                for (i, sums) in sums.iter_mut().enumerate() {
                    let place = (first + i) * length + k;
                    if k % (2 * LINE / LANES) == 0 {
                        ask_for(values, place + W * length);
                    }
                    let wide = simd.avx2._mm256_cvtepu16_epi32(cast(values[place].map(bf16::to_bits)));
                    let floats: __m256 = cast(simd.avx2._mm256_slli_epi32::<16>(wide));
                    sums[k % 2] = simd.fma._mm256_fmadd_ps(floats, cast(*x), sums[k % 2]);
                }
            }
            sums.map(|[one, other]| sum_of(simd.avx._mm256_add_ps(one, other)))
        }
    }

    /// Asks for what will be needed in a while, if it is there.
    #[inline(always)]
    fn ask_for<T>(values: &[[T; LANES]], place: usize) {
        if let Some(values) = values.get(place) {
            prefetch(values);
        }
    }

    #[inline(always)]
    fn sum_of(lanes: __m256) -> f32 {
        let lanes: [f32; LANES] = cast(lanes);
        lanes.iter().sum()
    }
}
