//! `x W^T` for few rows of x and a weight that is kept in bf16 or int8, on processors with AVX2 and FMA. For a single row
//! the values become f32 in registers, on their way into the sums; for more, once for all of them in the cache, which
//! would take one row longer than the products.
//!
//! Either way a sum is made in the same order, so that a row's result does not depend on how many there are: 16 running
//! sums, in one register or in two; of a weight in int8 those of a block are scaled once, as a whole, and added to 16
//! totals; at the end the halves are added and then their elements in turn.

use super::weight::Weight;

/// The most rows of x for which rows of the weight are read one or two at a time: memory gives one long stream faster than
/// several at a time, and more rows of x have more to compute than to read.
pub(super) const STREAMED: usize = 2;

/// Some rows of the weight, from `first` on, against all rows of x, `[rows, input]`; each row of out has one element for
/// each of them. False, and nothing done, where neither the processor nor the format is one for which it is written.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn multiply(
    _x: &[f32],
    _input: usize,
    _weight: Weight<'_>,
    _first: usize,
    _out: &mut [&mut [f32]],
) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86_64::multiply;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::__m256;

    use half::bf16;
    use pulp::x86::V3;
    use pulp::{NullaryFnOnce, Simd, WithSimd, cast};

    use super::{STREAMED, Weight};
    use crate::memory::prefetch;
    use crate::registers::arch;

    /// Running sums.
    const SUMS: usize = 16;
    /// f32 elements of a register of AVX2.
    const LANES: usize = SUMS / 2;
    /// f32 elements of a cache line.
    const LINE: usize = 16;

    pub(crate) fn multiply(
        x: &[f32],
        input: usize,
        weight: Weight<'_>,
        first: usize,
        out: &mut [&mut [f32]],
    ) -> bool {
        let Some(simd) = V3::try_new() else { return false };
        match weight {
            Weight::Int8 { values, scales, block } if block.is_multiple_of(SUMS) => {
                let values = &values[first * input..];
                let scales = &scales[first * input / block..];
                match out {
                    [out] => {
                        simd.vectorize(OneRow::<_, 1> { simd, rows: Int8 { values, scales, block }, x, out });
                    }
                    out => arch().dispatch(SomeRows { values, scales, block, x, input, out }),
                }
            }
            Weight::Bf16(values) if input.is_multiple_of(SUMS) => {
                let values = &values[first * input..];
                match out {
                    [out] => simd.vectorize(OneRow::<_, 2> { simd, rows: Bf16(values), x, out }),
                    out => arch().dispatch(SomeRows { values, scales: &[], block: input, x, input, out }),
                }
            }
            Weight::F32(_) | Weight::Bf16(_) | Weight::Int8 { .. } => return false,
        }
        true
    }

    /// The halves together, then their elements in turn.
    #[inline(always)]
    fn total(sums: [f32; SUMS]) -> f32 {
        let mut total = sums[0] + sums[LANES];
        for lane in 1..LANES {
            total += sums[lane] + sums[lane + LANES];
        }
        total
    }

    /// A format whose rows can be multiplied `W` at a time.
    trait Rows {
        /// The sums of products of x with the `W` rows from `first` on.
        fn products<const W: usize>(&self, simd: V3, x: &[[f32; LANES]], first: usize) -> [[__m256; 2]; W];
    }

    /// `TALL` rows of the weight at a time, their sums in two registers each: bytes are read as one long stream, which memory
    /// gives faster than several; for bf16 a single row would wait for its sums.
    struct OneRow<'a, R, const TALL: usize> {
        simd: V3,
        rows: R,
        x: &'a [f32],
        out: &'a mut [f32],
    }

    impl<R: Rows, const TALL: usize> NullaryFnOnce for OneRow<'_, R, TALL> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { simd, rows, x, out } = self;
            let (x, _) = x.as_chunks::<LANES>();
            let mut first = 0;
            let (tall, rest) = out.as_chunks_mut::<TALL>();
            for out in tall {
                *out = rows.products::<TALL>(simd, x, first).map(|sums| total(cast(sums)));
                first += TALL;
            }
            for out in rest {
                [*out] = rows.products::<1>(simd, x, first).map(|sums| total(cast(sums)));
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
        #[inline(always)]
        fn products<const W: usize>(&self, simd: V3, x: &[[f32; LANES]], first: usize) -> [[__m256; 2]; W] {
            let (values, _) = self.values.as_chunks::<LANES>();
            let (length, of_block) = (x.len(), self.block / LANES);
            let blocks = length / of_block;
            let zero = simd.avx._mm256_setzero_ps();
            let mut totals = [[zero; 2]; W];
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
                    for (total, sum) in total.iter_mut().zip(sums) {
                        *total = simd.fma._mm256_fmadd_ps(sum, scale, *total);
                    }
                }
            }
            totals
        }
    }

    struct Bf16<'a>(&'a [bf16]);

    impl Rows for Bf16<'_> {
        /// A bf16 is the upper half of an f32.
        #[inline(always)]
        fn products<const W: usize>(&self, simd: V3, x: &[[f32; LANES]], first: usize) -> [[__m256; 2]; W] {
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
            sums
        }
    }

    /// Asks for what will be needed in a while, if it is there.
    #[inline(always)]
    fn ask_for<T>(values: &[[T; LANES]], place: usize) {
        if let Some(values) = values.get(place) {
            prefetch(values);
        }
    }

    /// A number of a weight before its scale.
    trait Stored: Copy {
        fn widen(self) -> f32;
    }

    impl Stored for i8 {
        #[inline(always)]
        fn widen(self) -> f32 {
            f32::from(self)
        }
    }

    impl Stored for bf16 {
        #[inline(always)]
        fn widen(self) -> f32 {
            f32::from_bits(u32::from(self.to_bits()) << 16)
        }
    }

    /// Rows of the weight against several rows of x.
    struct SomeRows<'a, 'o, V> {
        values: &'a [V],
        /// One for each block; none where the values stand for themselves.
        scales: &'a [f32],
        block: usize,
        x: &'a [f32],
        input: usize,
        out: &'a mut [&'o mut [f32]],
    }

    impl<V: Stored> WithSimd for SomeRows<'_, '_, V> {
        type Output = ();

        /// Two rows of x meet as many rows of the weight as leave registers for the factors, but fewer where most of the
        /// time goes into reading them.
        #[inline(always)]
        fn with_simd<S: Simd>(mut self, simd: S) {
            if S::F32_LANES == SUMS && self.out.len() > STREAMED {
                self.run::<S, 4, 1>(simd);
            } else if S::F32_LANES == SUMS {
                self.run::<S, 2, 1>(simd);
            } else {
                self.run::<S, 2, 2>(simd);
            }
        }
    }

    impl<V: Stored> SomeRows<'_, '_, V> {
        /// `W` rows of the weight at a time; the running sums of a pair of rows take `R` registers.
        #[inline(always)]
        fn run<S: Simd, const W: usize, const R: usize>(&mut self, simd: S) {
            let mut wide = vec![0.0; W * self.input];
            let columns = self.out.first().map_or(0, |row| row.len());
            let mut column = 0;
            while column < columns {
                let count = if column + W <= columns { W } else { 1 };
                let range = column * self.input..(column + count) * self.input;
                for (wide, value) in wide.iter_mut().zip(&self.values[range]) {
                    *wide = value.widen();
                }
                if count == W {
                    self.against_all::<S, W, R>(simd, &wide, column);
                } else {
                    self.against_all::<S, 1, R>(simd, &wide, column);
                }
                column += count;
            }
        }

        #[inline(always)]
        fn against_all<S: Simd, const W: usize, const R: usize>(
            &mut self,
            simd: S,
            wide: &[f32],
            column: usize,
        ) {
            let mut row = 0;
            while row + 2 <= self.out.len() {
                self.tile::<S, W, 2, R>(simd, wide, row, column);
                row += 2;
            }
            if row < self.out.len() {
                self.tile::<S, W, 1, R>(simd, wide, row, column);
            }
        }

        /// The products of `W` rows of the weight with `X` rows of x.
        ///
        /// Plain loops over arrays: they are unrolled, and the sums stay in registers.
        #[inline(always)]
        #[allow(clippy::needless_range_loop)]
        fn tile<S: Simd, const W: usize, const X: usize, const R: usize>(
            &mut self,
            simd: S,
            wide: &[f32],
            row: usize,
            column: usize,
        ) {
            let Self { scales, block, x, input, .. } = *self;
            let registers = block / SUMS * R;
            let mut w_rows: [&[S::f32s]; W] = [&[]; W];
            for (i, row) in w_rows.iter_mut().enumerate() {
                *row = S::as_simd_f32s(&wide[i * input..][..input]).0;
            }
            let mut x_rows: [&[S::f32s]; X] = [&[]; X];
            for (j, x_row) in x_rows.iter_mut().enumerate() {
                *x_row = S::as_simd_f32s(&x[(row + j) * input..][..input]).0;
            }
            let zero = simd.splat_f32s(0.0);
            let mut totals = [[[zero; R]; X]; W];
            for index in 0..input / block {
                let start = index * registers;
                let mut sums = [[[zero; R]; X]; W];
                for k in (start..start + registers).step_by(R) {
                    for r in 0..R {
                        for i in 0..W {
                            let w = w_rows[i][k + r];
                            for j in 0..X {
                                sums[i][j][r] = simd.mul_add_f32s(w, x_rows[j][k + r], sums[i][j][r]);
                            }
                        }
                    }
                }
                if scales.is_empty() {
                    totals = sums;
                    continue;
                }
                for i in 0..W {
                    let scale = simd.splat_f32s(scales[(column + i) * (input / block) + index]);
                    for j in 0..X {
                        for r in 0..R {
                            totals[i][j][r] = simd.mul_add_f32s(sums[i][j][r], scale, totals[i][j][r]);
                        }
                    }
                }
            }
            for i in 0..W {
                for j in 0..X {
                    let mut sums = [0.0; SUMS];
                    sums.copy_from_slice(pulp::bytemuck::cast_slice::<S::f32s, f32>(&totals[i][j]));
                    self.out[row + j][column + i] = total(sums);
                }
            }
        }
    }
}
