//! Rows of a weight that become columns of a panel, in the widest registers there are, as they are stored: a register holds
//! 16 bytes of each of four rows, in AVX2 of two, so that the squares of all its parts are turned at once, and numbers
//! become f32 in the registers that are written.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_castsi128_si256, _mm256_cvtepi32_ps,
    _mm256_inserti128_si256, _mm256_loadu_ps, _mm256_mul_ps, _mm256_setzero_si256, _mm256_srai_epi32,
    _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi8, _mm256_unpacklo_epi16, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    _mm512_castsi128_si512, _mm512_cvtepi32_ps, _mm512_inserti32x4, _mm512_loadu_ps, _mm512_mul_ps,
    _mm512_setzero_si512, _mm512_srai_epi32, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi8, _mm512_unpacklo_epi16,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::array::from_fn;
use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use pulp::Simd;
use pulp::bytemuck::{Pod, cast_slice};

use super::weight::{Factor, Weight};

/// Bytes of a row in a register.
const PART: usize = 16;
/// Rows of which a quarter of a register is a square.
const FOUR: usize = 4;

/// Columns in registers of AVX-512, and of AVX2.
const WIDE: usize = 16;
const NARROW: usize = 8;

/// Fills the lines of a panel with columns of the factor, whose terms stand together, as far as registers do. Gives the columns
/// that are left, and of how many of the terms the others are there.
#[inline(always)]
pub(super) fn fill<S: Simd, const PANEL: usize>(
    factor: Factor<Weight<'_>>,
    terms: &Range<usize>,
    columns: Range<usize>,
    lines: &mut [[f32; PANEL]],
) -> (Range<usize>, usize) {
    let count = terms_in_squares(factor.values, terms);
    let lines = &mut lines[..count];
    let (start, mut left) = (columns.start, columns);
    while count > 0 && S::F32_LANES >= NARROW && left.len() >= NARROW {
        let terms = terms.start..terms.start + count;
        let rows = Rows { weight: factor.values, depth: factor.depth, first: left.start, terms };
        // SAFETY: S has registers of as many f32, 16 in AVX-512, and at least those of AVX2.
        #[allow(unsafe_code)]
        unsafe {
            if S::F32_LANES >= WIDE && left.len() >= WIDE {
                rows.interleave::<__m512i, WIDE, WIDE, PANEL>(lines, left.start - start);
                left.start += WIDE;
            } else if left.len() >= WIDE {
                rows.interleave::<__m256i, NARROW, WIDE, PANEL>(lines, left.start - start);
                left.start += WIDE;
            } else {
                rows.interleave::<__m256i, NARROW, NARROW, PANEL>(lines, left.start - start);
                left.start += NARROW;
            }
        }
    }
    (left, count)
}

/// How many of these terms are whole squares; none where blocks of bytes do not fit.
fn terms_in_squares(weight: Weight<'_>, terms: &Range<usize>) -> usize {
    let whole = |size: usize| terms.len() - terms.len() % (PART / size);
    match weight {
        Weight::F32(_) => whole(4),
        Weight::Bf16(_) => whole(2),
        Weight::Int8 { block, .. } => {
            // The bytes of a square share a scale.
            let fits = block.is_multiple_of(PART)
                && terms.start.is_multiple_of(block)
                && terms.end.is_multiple_of(block);
            if fits { terms.len() } else { 0 }
        }
    }
}

/// Some terms of rows of a weight from `first` on.
struct Rows<'w> {
    weight: Weight<'w>,
    depth: usize,
    first: usize,
    terms: Range<usize>,
}

#[allow(unsafe_code)]
impl Rows<'_> {
    /// Writes `COLUMNS` rows as columns from `at` on, a register of `WIDTH` after another, and a line for each of the terms:
    /// sixteen columns are a whole cache line of it.
    ///
    /// # Safety
    ///
    /// The processor has these registers.
    #[inline(always)]
    unsafe fn interleave<R: Register, const WIDTH: usize, const COLUMNS: usize, const PANEL: usize>(
        &self,
        lines: &mut [[f32; PANEL]],
        at: usize,
    ) {
        assert_eq!(lines.len(), self.terms.len());
        // SAFETY: the caller's, and there are parts of each row for as many lines as there are terms.
        unsafe {
            match self.weight {
                Weight::F32(values) => {
                    let mut parts = self.parts(values, COLUMNS);
                    for lines in lines.as_chunks_mut::<4>().0 {
                        for first in (0..COLUMNS).step_by(WIDTH) {
                            put(floats::<R>(parts.of_rows(first)), lines, at + first);
                        }
                        parts.advance();
                    }
                }
                Weight::Bf16(values) => {
                    let mut parts = self.parts::<u16>(values.reinterpret_cast(), COLUMNS);
                    for lines in lines.as_chunks_mut::<8>().0 {
                        for first in (0..COLUMNS).step_by(WIDTH) {
                            put(halves::<R>(parts.of_rows(first)), lines, at + first);
                        }
                        parts.advance();
                    }
                }
                Weight::Int8 { values, scales, block } => {
                    let mut parts = self.parts(values, COLUMNS);
                    let of_row =
                        |row| &scales[((self.first + row) * self.depth + self.terms.start) / block..];
                    let scales: [&[f32]; COLUMNS] = from_fn(of_row);
                    for (index, lines) in lines.chunks_exact_mut(block).enumerate() {
                        let mut scale = [0.0; COLUMNS];
                        for (scale, scales) in scale.iter_mut().zip(scales) {
                            *scale = scales[index];
                        }
                        for lines in lines.as_chunks_mut::<16>().0 {
                            for first in (0..COLUMNS).step_by(WIDTH) {
                                let scale = R::scales(&scale[first..first + WIDTH]);
                                put(bytes::<R>(parts.of_rows(first), scale), lines, at + first);
                            }
                            parts.advance();
                        }
                    }
                }
            }
        }
    }

    /// The first parts of so many rows, all of whose terms there are.
    #[inline(always)]
    fn parts<T: Pod>(&self, values: &[T], rows: usize) -> Parts {
        let rows = &values[self.first * self.depth..][..(rows - 1) * self.depth + self.terms.end];
        // A pointer of all the rows, not of the first one's terms.
        let first = rows.as_ptr().wrapping_add(self.terms.start);
        Parts { at: first.cast(), stride: self.depth * size_of::<T>() }
    }
}

/// Where the next part of the first row stands, and the bytes from one row to the next. A check of each row's place would take
/// more instructions than its turn.
struct Parts {
    at: *const u8,
    stride: usize,
}

#[allow(unsafe_code)]
impl Parts {
    /// The next part of the rows from `first` on, in four registers.
    ///
    /// # Safety
    ///
    /// The rows have it, and the processor such registers.
    #[inline(always)]
    unsafe fn of_rows<R: Register>(&self, first: usize) -> [R; FOUR] {
        let Self { at, stride } = *self;
        // SAFETY: the caller's.
        unsafe {
            let at = at.add(first * stride);
            [
                R::joined(at, stride),
                R::joined(at.add(stride), stride),
                R::joined(at.add(2 * stride), stride),
                R::joined(at.add(3 * stride), stride),
            ]
        }
    }

    /// Goes on to the next parts.
    #[inline(always)]
    fn advance(&mut self) {
        self.at = self.at.wrapping_add(PART);
    }
}

/// Writes columns from `at` on.
#[inline(always)]
fn put<R: Pod, const TERMS: usize, const PANEL: usize>(
    columns: [R; TERMS],
    lines: &mut [[f32; PANEL]; TERMS],
    at: usize,
) {
    for (line, column) in lines.iter_mut().zip(&columns) {
        let column: &[f32] = cast_slice(std::slice::from_ref(column));
        line[at..at + column.len()].copy_from_slice(column);
    }
}

/// Four rows of four f32 in each quarter, turned.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn floats<R: Register>([a, b, c, d]: [R; FOUR]) -> [R; 4] {
    // SAFETY: the caller's.
    unsafe {
        let (ab, cd) = (a.low_32(b), c.low_32(d));
        let (ab_high, cd_high) = (a.high_32(b), c.high_32(d));
        [ab.low_64(cd), ab.high_64(cd), ab_high.low_64(cd_high), ab_high.high_64(cd_high)]
    }
}

/// Four rows of eight bf16, which are the upper halves of f32.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn halves<R: Register>([a, b, c, d]: [R; FOUR]) -> [R; 8] {
    // SAFETY: the caller's.
    unsafe {
        let (ab, cd) = (a.low_16(b), c.low_16(d));
        let (ab_high, cd_high) = (a.high_16(b), c.high_16(d));
        // Two terms in each.
        let terms = [ab.low_32(cd), ab.high_32(cd), ab_high.low_32(cd_high), ab_high.high_32(cd_high)];
        let zeros = R::zeros();
        let mut columns = [zeros; 8];
        for (columns, terms) in columns.as_chunks_mut().0.iter_mut().zip(terms) {
            *columns = [zeros.low_16(terms), zeros.high_16(terms)];
        }
        columns
    }
}

/// Four rows of sixteen bytes, each times its row's scale.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn bytes<R: Register>([a, b, c, d]: [R; FOUR], scales: R::Floats) -> [R::Floats; 16] {
    // SAFETY: the caller's.
    unsafe {
        let (ab, cd) = (a.low_8(b), c.low_8(d));
        let (ab_high, cd_high) = (a.high_8(b), c.high_8(d));
        // Four terms in each.
        let terms = [ab.low_16(cd), ab.high_16(cd), ab_high.low_16(cd_high), ab_high.high_16(cd_high)];
        let zeros = R::zeros();
        let mut columns = [scales; 16];
        for (columns, terms) in columns.as_chunks_mut::<4>().0.iter_mut().zip(terms) {
            let (low, high) = (zeros.low_8(terms), zeros.high_8(terms));
            let upper = [zeros.low_16(low), zeros.high_16(low), zeros.low_16(high), zeros.high_16(high)];
            for (column, upper) in columns.iter_mut().zip(upper) {
                *column = upper.scaled_upper_bytes(scales);
            }
        }
        columns
    }
}

/// A register of whole numbers. The methods take numbers of so many bits in turn from the lower or upper halves of each
/// quarter of two.
///
/// # Safety
///
/// Of all methods: the processor has such registers.
#[allow(unsafe_code)]
trait Register: Pod {
    /// The same register as f32.
    type Floats: Pod;

    /// The part of a row, and those of each fourth row behind it in the other quarters, all of which there are.
    unsafe fn joined(at: *const u8, stride: usize) -> Self;
    unsafe fn zeros() -> Self;
    unsafe fn scales(scales: &[f32]) -> Self::Floats;
    /// The upper bytes of 32 bits each as numbers, times the scales.
    unsafe fn scaled_upper_bytes(self, scales: Self::Floats) -> Self::Floats;
    unsafe fn low_8(self, other: Self) -> Self;
    unsafe fn high_8(self, other: Self) -> Self;
    unsafe fn low_16(self, other: Self) -> Self;
    unsafe fn high_16(self, other: Self) -> Self;
    unsafe fn low_32(self, other: Self) -> Self;
    unsafe fn high_32(self, other: Self) -> Self;
    unsafe fn low_64(self, other: Self) -> Self;
    unsafe fn high_64(self, other: Self) -> Self;
}

macro_rules! register {
    (
        $register:ty, $floats:ty, $joined:ident, $zeros:ident, $load:ident, $shifted:ident, $converted:ident, $product:ident,
        { $($method:ident: $intrinsic:ident,)* }
    ) => {
        #[allow(unsafe_code)]
        impl Register for $register {
            type Floats = $floats;

            #[inline(always)]
            unsafe fn joined(at: *const u8, stride: usize) -> Self {
                // SAFETY: the caller's.
                unsafe { $joined(at, FOUR * stride) }
            }

            #[inline(always)]
            unsafe fn zeros() -> Self {
                // SAFETY: the caller's.
                unsafe { $zeros() }
            }

            #[inline(always)]
            unsafe fn scales(scales: &[f32]) -> $floats {
                assert_eq!(size_of_val(scales), size_of::<$floats>());
                // SAFETY: the caller's, and there are as many numbers.
                unsafe { $load(scales.as_ptr()) }
            }

            #[inline(always)]
            unsafe fn scaled_upper_bytes(self, scales: $floats) -> $floats {
                // SAFETY: the caller's.
                unsafe { $product($converted($shifted::<24>(self)), scales) }
            }

            $(
                #[inline(always)]
                unsafe fn $method(self, other: Self) -> Self {
                    // SAFETY: the caller's.
                    unsafe { $intrinsic(self, other) }
                }
            )*
        }
    };
}

register!(
    __m512i, __m512, joined_512, _mm512_setzero_si512, _mm512_loadu_ps, _mm512_srai_epi32, _mm512_cvtepi32_ps,
    _mm512_mul_ps,
    {
        low_8: _mm512_unpacklo_epi8,
        high_8: _mm512_unpackhi_epi8,
        low_16: _mm512_unpacklo_epi16,
        high_16: _mm512_unpackhi_epi16,
        low_32: _mm512_unpacklo_epi32,
        high_32: _mm512_unpackhi_epi32,
        low_64: _mm512_unpacklo_epi64,
        high_64: _mm512_unpackhi_epi64,
    }
);
register!(
    __m256i, __m256, joined_256, _mm256_setzero_si256, _mm256_loadu_ps, _mm256_srai_epi32, _mm256_cvtepi32_ps,
    _mm256_mul_ps,
    {
        low_8: _mm256_unpacklo_epi8,
        high_8: _mm256_unpackhi_epi8,
        low_16: _mm256_unpacklo_epi16,
        high_16: _mm256_unpackhi_epi16,
        low_32: _mm256_unpacklo_epi32,
        high_32: _mm256_unpackhi_epi32,
        low_64: _mm256_unpacklo_epi64,
        high_64: _mm256_unpackhi_epi64,
    }
);

/// Four parts.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn joined_512(at: *const u8, stride: usize) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let one = _mm512_castsi128_si512(_mm_loadu_si128(at.cast()));
        let two = _mm512_inserti32x4::<1>(one, _mm_loadu_si128(at.add(stride).cast()));
        let three = _mm512_inserti32x4::<2>(two, _mm_loadu_si128(at.add(2 * stride).cast()));
        _mm512_inserti32x4::<3>(three, _mm_loadu_si128(at.add(3 * stride).cast()))
    }
}

/// Two parts.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn joined_256(at: *const u8, stride: usize) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let one = _mm256_castsi128_si256(_mm_loadu_si128(at.cast()));
        _mm256_inserti128_si256::<1>(one, _mm_loadu_si128(at.add(stride).cast()))
    }
}
