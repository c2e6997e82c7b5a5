//! A weight's columns in panels: for each term a line of columns, one after the other as a product reads them.

use std::ops::Range;

use pulp::Simd;

#[cfg(target_arch = "x86_64")]
use super::bytes;
use super::matrix::Matrix;
#[cfg(target_arch = "x86_64")]
use super::squares;
use super::weight::{Factor, Weight};
use crate::memory::LINE;

/// The f32 of a cache line.
const FLOATS: usize = LINE / size_of::<f32>();

/// A buffer that begins with a cache line: no register is loaded from two of them.
#[derive(Default)]
pub(super) struct Panels(Vec<f32>);

impl Panels {
    /// So many numbers, whatever they were last.
    pub(super) fn of(&mut self, count: usize) -> &mut [f32] {
        if self.0.len() < count + FLOATS {
            self.0.resize(count + FLOATS, 0.0);
        }
        let start = self.0.as_ptr().align_offset(LINE).min(FLOATS);
        &mut self.0[start..][..count]
    }
}

/// Rows of a weight that become columns of a panel together.
const TOGETHER: usize = 8;
/// Rows and columns that change places in registers.
const SQUARE: usize = 4;
/// Columns that are brought into panels together where rows stand together. As many as share a cache line would do for
/// bytes; of wider ones the next lines come along. More of them, and the panels evict each other.
const GROUP: usize = 64;

/// Columns that are brought into panels together, whole panels.
pub(super) fn together<const PANEL: usize>(factor: Factor<Weight<'_>>) -> usize {
    if factor.columns_together { PANEL } else { GROUP.max(PANEL) }
}

/// Brings some terms of columns of the factor into panels, each `[terms, PANEL]`.
#[inline(always)]
pub(super) fn pack<S: Simd, const PANEL: usize>(
    factor: Factor<Weight<'_>>,
    terms: Range<usize>,
    columns: Range<usize>,
    panels: &mut [f32],
) {
    if !factor.columns_together {
        return pack_rows::<S, PANEL>(factor, terms, columns, panels);
    }
    let starts = columns.clone().step_by(PANEL);
    for (panel, start) in panels.chunks_exact_mut(terms.len() * PANEL).zip(starts) {
        pack_columns::<S, PANEL>(factor, terms.clone(), start..columns.end.min(start + PANEL), panel);
    }
}

/// Columns that stand together, into a panel.
#[inline(always)]
fn pack_columns<S: Simd, const PANEL: usize>(
    factor: Factor<Weight<'_>>,
    terms: Range<usize>,
    columns: Range<usize>,
    panel: &mut [f32],
) {
    let (lines, _) = panel.as_chunks_mut::<PANEL>();
    #[cfg(target_arch = "x86_64")]
    let (left, squared) = squares::fill::<S, PANEL>(factor, &terms, columns.clone(), lines);
    #[cfg(not(target_arch = "x86_64"))]
    let (left, squared) = (columns.clone(), 0);
    let (at, there) = (left.start - columns.start, columns.start..left.start);
    interleave_any(factor, terms.start + squared..terms.end, there, &mut lines[squared..], 0);
    interleave_any(factor, terms, left, lines, at);
}

/// Writes columns, whose terms stand together, from `at` on, whatever they are and however many.
#[inline(always)]
fn interleave_any<const PANEL: usize>(
    factor: Factor<Weight<'_>>,
    terms: Range<usize>,
    columns: Range<usize>,
    lines: &mut [[f32; PANEL]],
    at: usize,
) {
    let Factor { values, depth, .. } = factor;
    let mut scratch: [Vec<f32>; TOGETHER] = [const { Vec::new() }; TOGETHER];
    for (first, at) in columns.clone().step_by(TOGETHER).zip((at..).step_by(TOGETHER)) {
        let mut rows: [&[f32]; TOGETHER] = [&[]; TOGETHER];
        for ((row, column), scratch) in rows.iter_mut().zip(first..columns.end).zip(&mut scratch) {
            *row = values.floats(column * depth + terms.start..column * depth + terms.end, scratch);
        }
        interleave::<PANEL>(rows, lines, at);
    }
}

/// Columns whose rows stand together.
#[inline(always)]
fn pack_rows<S: Simd, const PANEL: usize>(
    factor: Factor<Weight<'_>>,
    terms: Range<usize>,
    range: Range<usize>,
    panels: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if bytes::spread::<S, PANEL>(factor, terms.clone(), range.clone(), panels) {
        return;
    }
    let Factor { values, columns, .. } = factor;
    let mut scratch = Vec::new();
    let size = terms.len() * PANEL;
    for (line, term) in terms.enumerate() {
        factor.ask_for_row_after(term, &range);
        let part = term * columns + range.start..term * columns + range.end;
        let row = values.floats(part, &mut scratch);
        for (panel, row) in panels.chunks_exact_mut(size).zip(row.chunks(PANEL)) {
            let place = &mut panel[line * PANEL..][..PANEL];
            match (place.as_chunks_mut::<PANEL>().0, row.as_chunks::<PANEL>().0) {
                ([place], [row]) => *place = *row,
                _ => place[..row.len()].copy_from_slice(row),
            }
        }
    }
}

/// Writes rows as columns of a panel from `at` on, those that are there; a square of 4 x 4 at a time, so that no cache line
/// is touched for a single number.
#[inline(always)]
fn interleave<const PANEL: usize>(rows: [&[f32]; TOGETHER], lines: &mut [[f32; PANEL]], at: usize) {
    let terms = rows[0].len();
    let whole = if rows.iter().all(|row| row.len() == terms) { terms - terms % SQUARE } else { 0 };
    let mut parts: [&[[f32; SQUARE]]; TOGETHER] = [&[]; TOGETHER];
    for (parts, row) in parts.iter_mut().zip(rows) {
        *parts = row[..whole].as_chunks().0;
    }
    let (squares, _) = lines.as_chunks_mut::<SQUARE>();
    for (number, lines) in squares.iter_mut().take(whole / SQUARE).enumerate() {
        for ([a, b, c, d], at) in parts.as_chunks().0.iter().zip((at..).step_by(SQUARE)) {
            let columns = transposed([a[number], b[number], c[number], d[number]]);
            for (line, column) in lines.iter_mut().zip(columns) {
                line[at..at + SQUARE].copy_from_slice(&column);
            }
        }
    }
    for (i, row) in rows.iter().enumerate() {
        for (line, value) in lines.iter_mut().zip(*row).skip(whole) {
            line[at + i] = *value;
        }
    }
}

/// Some terms of some rows of x, whose columns stand together, as rows without gaps `[rows, terms]`, in `out`: a cache line
/// of each row at a time.
#[inline(always)]
pub(super) fn turn<'o>(
    x: Matrix<'_>,
    rows: Range<usize>,
    terms: Range<usize>,
    out: &'o mut Vec<f32>,
) -> &'o [f32] {
    let depth = terms.len();
    out.resize(out.len().max(rows.len() * depth), 0.0);
    let column = |term: usize| &x.data[term * x.column_stride..][rows.clone()];
    for first in terms.clone().step_by(FLOATS) {
        let line = first..terms.end.min(first + FLOATS);
        let squares = if line.len() == FLOATS { rows.len() / SQUARE } else { 0 };
        for square in 0..squares {
            for term in line.clone().step_by(SQUARE) {
                let columns = std::array::from_fn(|i| column(term + i).as_chunks::<SQUARE>().0[square]);
                for (row, values) in (square * SQUARE..).zip(transposed(columns)) {
                    out[row * depth + term - terms.start..][..SQUARE].copy_from_slice(&values);
                }
            }
        }
        for term in line {
            for (row, value) in column(term).iter().enumerate().skip(squares * SQUARE) {
                out[row * depth + term - terms.start] = *value;
            }
        }
    }
    &out[..rows.len() * depth]
}

/// Rows become columns. Compilers make of the plain form sixteen moves of single numbers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(rows: [[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    use std::arch::x86_64::{__m128, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps};
    let [a, b, c, d]: [__m128; SQUARE] = pulp::cast(rows);
    // SAFETY: every processor of this kind has SSE.
    #[allow(unsafe_code, unused_unsafe)]
    let columns = unsafe {
        let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
        let (ab_high, cd_high) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
        [
            _mm_movelh_ps(ab, cd),
            _mm_movehl_ps(cd, ab),
            _mm_movelh_ps(ab_high, cd_high),
            _mm_movehl_ps(cd_high, ab_high),
        ]
    };
    pulp::cast(columns)
}

/// Rows become columns.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn transposed(rows: [[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
}
