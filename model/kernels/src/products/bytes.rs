//! A weight in bytes on its way into panels, with AVX2: rows that become columns are turned while they are bytes, a quarter
//! of the data, and all become f32 in the registers that write them.

use std::arch::x86_64::{
    __m128i, __m256, _mm_set_epi64x, _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_mul_ps,
};
use std::array::from_fn;
use std::ops::Range;

use pulp::Simd;

use super::weight::{Factor, Weight};

/// Rows that become columns together: a register of f32.
pub(super) const COLUMNS: usize = 8;
/// Terms that are turned at a time.
const TERMS: usize = 16;

/// Writes rows of the weight `[columns, depth]` from `first` on as columns of a panel from `at` on. False, and nothing done,
/// where the weight is not in bytes, its blocks do not fit, or registers are too narrow.
#[inline(always)]
pub(super) fn interleave<S: Simd, const PANEL: usize>(
    weight: Weight<'_>,
    depth: usize,
    first: usize,
    terms: Range<usize>,
    lines: &mut [[f32; PANEL]],
    at: usize,
) -> bool {
    let Weight::Int8 { values, scales, block } = weight else { return false };
    // Whole blocks, whose scales the terms of a square share.
    let fits =
        block.is_multiple_of(TERMS) && terms.start.is_multiple_of(block) && terms.end.is_multiple_of(block);
    if S::F32_LANES < COLUMNS || !fits {
        return false;
    }
    let rows: [&[[i8; TERMS]]; COLUMNS] =
        from_fn(|i| values[(first + i) * depth..][terms.clone()].as_chunks().0);
    let scales: [&[f32]; COLUMNS] = from_fn(|i| &scales[((first + i) * depth + terms.start) / block..]);
    let (parts, _) = lines.as_chunks_mut::<TERMS>();
    for (number, lines) in parts.iter_mut().enumerate() {
        let scales: [f32; COLUMNS] = from_fn(|i| scales[i][number * TERMS / block]);
        let columns = transposed(from_fn(|i| rows[i][number]));
        for (line, column) in lines.iter_mut().zip(columns) {
            // SAFETY: registers of eight f32, which S has, are those of AVX2.
            #[allow(unsafe_code)]
            let column = unsafe { scaled(column, scales) };
            line[at..at + COLUMNS].copy_from_slice(&column);
        }
    }
    true
}

/// Writes some columns of rows of the weight `[terms, columns]` as lines of their panels. False, and nothing done, as above,
/// or where the last panel is not full.
#[inline(always)]
pub(super) fn spread<S: Simd, const PANEL: usize>(
    factor: Factor<Weight<'_>>,
    terms: Range<usize>,
    range: Range<usize>,
    panels: &mut [f32],
) -> bool {
    let Factor { values: weight, columns, .. } = factor;
    let Weight::Int8 { values, scales, block } = weight else { return false };
    // Numbers of a line share a scale.
    let fits = [block, columns, range.start, range.end].iter().all(|count| count.is_multiple_of(PANEL));
    if S::F32_LANES < COLUMNS || !fits {
        return false;
    }
    let size = terms.len() * PANEL;
    for (line, term) in terms.enumerate() {
        factor.ask_for_row_after(term, &range);
        let part = term * columns + range.start..term * columns + range.end;
        let lines = values[part.clone()].as_chunks::<PANEL>().0;
        for ((panel, bytes), start) in panels.chunks_exact_mut(size).zip(lines).zip(part.step_by(PANEL)) {
            let scales = [scales[start / block]; COLUMNS];
            let places = panel[line * PANEL..][..PANEL].as_chunks_mut().0;
            for (place, bytes) in places.iter_mut().zip(bytes.as_chunks().0) {
                // SAFETY: registers of eight f32, which S has, are those of AVX2.
                #[allow(unsafe_code)]
                let numbers = unsafe { scaled(*bytes, scales) };
                *place = numbers;
            }
        }
    }
    true
}

/// Each byte times its scale. Compilers make of the plain form one number at a time.
///
/// # Safety
///
/// The processor has AVX2.
#[allow(unsafe_code)]
#[inline(always)]
unsafe fn scaled(bytes: [i8; COLUMNS], scales: [f32; COLUMNS]) -> [f32; COLUMNS] {
    let scales: __m256 = pulp::cast(scales);
    // SAFETY: the caller's.
    #[allow(unused_unsafe)]
    unsafe {
        let bytes = _mm_set_epi64x(0, pulp::cast(bytes));
        pulp::cast(_mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), scales))
    }
}

/// Rows become columns.
#[inline(always)]
fn transposed(rows: [[i8; TERMS]; COLUMNS]) -> [[i8; COLUMNS]; TERMS] {
    let mut parts: [__m128i; COLUMNS] = pulp::cast(rows);
    // Three times a row of the first half and one of the second, byte by byte in turn.
    for _ in 0..3 {
        let [a, b, c, d, e, f, g, h] = parts;
        // SAFETY: every processor of this kind has SSE2.
        #[allow(unsafe_code, unused_unsafe)]
        let turned = unsafe {
            [
                _mm_unpacklo_epi8(a, e),
                _mm_unpackhi_epi8(a, e),
                _mm_unpacklo_epi8(b, f),
                _mm_unpackhi_epi8(b, f),
                _mm_unpacklo_epi8(c, g),
                _mm_unpackhi_epi8(c, g),
                _mm_unpacklo_epi8(d, h),
                _mm_unpackhi_epi8(d, h),
            ]
        };
        parts = turned;
    }
    pulp::cast(parts)
}
