//! Columns of a weight in bytes that stand together, on their way into panels: they become f32 in registers of AVX2.

use std::arch::x86_64::{__m256, _mm_set_epi64x, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_mul_ps};
use std::ops::Range;

use pulp::Simd;

use super::weight::{Factor, Weight};

/// Columns of a register of f32.
const COLUMNS: usize = 8;

/// Writes some columns of rows of the weight `[terms, columns]` as lines of their panels. False, and nothing done, where the
/// weight is not in bytes, its blocks do not fit, registers are too narrow, or the last panel is not full.
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
