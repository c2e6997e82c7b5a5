//! Large matrix products in f32, whatever a weight is stored in.
//!
//! The order of the work is that of Goto and van de Geijn (2008), less the preparation of x, whose rows are read as they
//! lie: a task brings the columns of its block of the weight into panels, some hundred terms of the sums at a time, and
//! meets all of its rows of x with them while they are in the cache. An element of the result is summed in the same order
//! however the work is cut and in any registers.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::blocks::{Block, blocks};
use super::matrix::Matrix;
use super::small::{Place, place_product};
use super::weight::{Factor, Weight};
use crate::memory::prefetch;
use crate::memory::written;

/// Columns of a task.
const COLUMNS: usize = 96;
/// Terms of the sums that are added at a time. A task's panels then take 0.3 MB, and stay in the cache of a core.
const DEPTH: usize = 768;
/// Columns of a panel: it holds for each term a line of them.
const PANEL: usize = 32;
/// Rows that meet all panels together.
const TALL: usize = 24;

/// The fewest rows of a task, where rows are cut as well: each task makes its own panels.
const ROWS: usize = 64;
/// Tasks for each thread: the last of them keep few waiting.
const TASKS: usize = 2;
/// Multiplications and additions from which on more threads are worth waking.
const WORTH_SHARING: usize = 1 << 22;

thread_local! {
    /// The panels of a task, kept for the following.
    static PANELS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// `x F` by all threads, `[rows, columns]`, with the bias added to each row: x `[rows, depth]`, F the factor, bias
/// `[columns]`.
///
/// # Panics
///
/// Where there is no term to sum, or a slice is too short.
pub(crate) fn large_product(x: &[f32], factor: Factor<Weight<'_>>, bias: Option<&[f32]>) -> Vec<f32> {
    let Factor { depth, columns, .. } = factor;
    assert!(depth > 0, "a matrix product without a term");
    let rows = x.len() / depth;
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let arch = Arch::new();
    let run = |block: Block<'_, _>| arch.dispatch(Task { x, factor, bias, block });
    // SAFETY: the blocks are all of the result, and a task writes all of its block.
    #[allow(unsafe_code)]
    let [out] = unsafe {
        written([rows * columns], |[out]| {
            if rows.saturating_mul(depth).saturating_mul(columns) < WORTH_SHARING {
                blocks(out, columns, [rows, COLUMNS]).into_iter().for_each(run);
            } else {
                blocks(out, columns, [task_rows(rows, columns), COLUMNS]).into_par_iter().for_each(run);
            }
        })
    };
    out
}

/// Rows of a task: all, if that makes tasks enough.
fn task_rows(rows: usize, columns: usize) -> usize {
    let cuts = (TASKS * rayon::current_num_threads()).div_ceil(columns.div_ceil(COLUMNS));
    rows.div_ceil(cuts.min(rows / ROWS).max(1))
}

/// A block of the result.
struct Task<'a> {
    x: &'a [f32],
    factor: Factor<Weight<'a>>,
    bias: Option<&'a [f32]>,
    block: Block<'a, MaybeUninit<f32>>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, factor, bias, block } = self;
        let Block { first_row, first_column, mut rows } = block;
        let columns = rows.first().map_or(0, |row| row.len());
        let range = first_column..first_column + columns;
        let bias = bias.map(|bias| &bias[range.clone()]);
        let mut panels = PANELS.take();
        for first in (0..factor.depth).step_by(DEPTH) {
            let terms = first..factor.depth.min(first + DEPTH);
            let depth = terms.len();
            let size = columns.div_ceil(PANEL) * depth * PANEL;
            if panels.len() < size {
                panels.resize(size, 0.0);
            }
            let panels = &mut panels[..size];
            pack(factor, terms, range.clone(), panels);
            for (index, rows) in rows.chunks_mut(TALL).enumerate() {
                let x = &x[(first_row + index * TALL) * factor.depth + first..];
                let x = Matrix::new(x, rows.len(), depth, factor.depth);
                let starts = (0..columns).step_by(PANEL);
                for (panel, start) in panels.chunks_exact(depth * PANEL).zip(starts) {
                    let panel = Matrix::new(panel, depth, PANEL.min(columns - start), PANEL);
                    let mut place = Part { rows, start, add: first > 0, bias };
                    place_product(simd, &mut place, [x, panel]);
                }
            }
        }
        PANELS.set(panels);
    }
}

/// A panel's columns of some rows of the result; with `add`, what is there counts, else the bias.
struct Part<'a, 'r> {
    rows: &'a mut [&'r mut [MaybeUninit<f32>]],
    start: usize,
    add: bool,
    bias: Option<&'a [f32]>,
}

impl Place for Part<'_, '_> {
    #[inline(always)]
    fn put<S: Simd, const W: usize>(
        &mut self,
        _: S,
        [row, column]: [usize; 2],
        columns: usize,
        sums: [S::f32s; W],
    ) {
        let sums = pulp::bytemuck::cast_slice::<S::f32s, f32>(&sums);
        let range = self.start + column..self.start + column + columns;
        let places = self.rows[row][range.clone()].iter_mut().zip(sums);
        if self.add {
            for (place, sum) in places {
                // SAFETY: the sums of the first terms have been written to all of the block's rows.
                #[allow(unsafe_code)]
                unsafe {
                    *place.assume_init_mut() += sum;
                }
            }
        } else if let Some(bias) = self.bias {
            for ((place, sum), bias) in places.zip(&bias[range]) {
                place.write(bias + sum);
            }
        } else {
            for (place, sum) in places {
                place.write(*sum);
            }
        }
    }
}

/// Rows of a weight that become columns of a panel together.
const FOUR: usize = 4;
/// How many rows of a weight ahead are asked for: a processor does not foresee parts of rows.
const AHEAD: usize = 8;

/// Brings columns of the factor into panels, each `[terms, PANEL]`.
#[inline(always)]
fn pack(factor: Factor<Weight<'_>>, terms: Range<usize>, range: Range<usize>, panels: &mut [f32]) {
    let Factor { values, depth, columns, columns_together } = factor;
    let mut scratch: [Vec<f32>; FOUR] = [const { Vec::new() }; FOUR];
    let size = terms.len() * PANEL;
    if !columns_together {
        for (line, term) in terms.enumerate() {
            if let Weight::F32(values) = values
                && let Some(ahead) = values.get((term + AHEAD) * columns + range.start..)
            {
                ahead[..range.len().min(ahead.len())].iter().step_by(16).for_each(prefetch);
            }
            let row =
                values.floats(term * columns + range.start..term * columns + range.end, &mut scratch[0]);
            for (panel, row) in panels.chunks_exact_mut(size).zip(row.chunks(PANEL)) {
                let place = &mut panel[line * PANEL..][..PANEL];
                match (place.as_chunks_mut::<PANEL>().0, row.as_chunks::<PANEL>().0) {
                    ([place], [row]) => *place = *row,
                    _ => place[..row.len()].copy_from_slice(row),
                }
            }
        }
        return;
    }
    for (panel, start) in panels.chunks_exact_mut(size).zip(range.clone().step_by(PANEL)) {
        let end = range.end.min(start + PANEL);
        for first in (start..end).step_by(FOUR) {
            let mut rows: [&[f32]; FOUR] = [&[]; FOUR];
            for ((row, column), scratch) in rows.iter_mut().zip(first..end).zip(&mut scratch) {
                *row = values.floats(column * depth + terms.start..column * depth + terms.end, scratch);
            }
            interleave(rows, &mut panel[first - start..]);
        }
    }
}

/// Writes rows as columns of a panel, those that are there; a square of 4 x 4 at a time, so that no cache line is touched
/// for a single number.
#[inline(always)]
fn interleave(rows: [&[f32]; FOUR], panel: &mut [f32]) {
    let terms = rows[0].len();
    let whole = if rows.iter().all(|row| row.len() == terms) { terms - terms % FOUR } else { 0 };
    for term in (0..whole).step_by(FOUR) {
        let mut square = [[0.0; FOUR]; FOUR];
        for (i, row) in rows.iter().enumerate() {
            for (j, value) in row[term..term + FOUR].iter().enumerate() {
                square[j][i] = *value;
            }
        }
        for (j, line) in square.iter().enumerate() {
            panel[(term + j) * PANEL..][..FOUR].copy_from_slice(line);
        }
    }
    for (i, row) in rows.iter().enumerate() {
        for (term, value) in row.iter().enumerate().skip(whole) {
            panel[term * PANEL + i] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use half::bf16;

    use super::*;
    use crate::testing::numbers;

    /// One of each, sizes that fill no tile, square, panel or task, more terms than are added at a time, and more
    /// operations than one thread makes.
    const SIZES: [[usize; 3]; 7] = [
        [1, 1, 1],
        [3, 7, 5],
        [25, 6, 33],
        [9, 65, COLUMNS + 34],
        [5, DEPTH + 3, 40],
        [30, 2 * DEPTH + 1, 4],
        [2 * ROWS + 5, 300, 130],
    ];

    #[test]
    fn every_format_equals_the_sums_in_f64() {
        for [rows, depth, columns] in SIZES {
            let (x, numbers_of_weight) = (numbers(1, rows * depth), numbers(2, depth * columns));
            let bias = numbers(3, columns);
            let half: Vec<bf16> = numbers_of_weight.iter().map(|value| bf16::from_f32(*value)).collect();
            let bytes: Vec<i8> = numbers_of_weight.iter().map(|value| (value * 100.0) as i8).collect();
            for transposed in [true, false] {
                // A block is half of a row of the weight, or all of it: the terms that are added at a time cut it.
                let row = if transposed { depth } else { columns };
                let block = if row.is_multiple_of(2) { row / 2 } else { row };
                let scales: Vec<f32> =
                    (0..depth * columns / block).map(|i| 0.01 + 0.001 * (i % 7) as f32).collect();
                let int8 = Weight::Int8 { values: &bytes, scales: &scales, block };
                for weight in [Weight::F32(&numbers_of_weight), Weight::Bf16(&half), int8] {
                    let mut scratch = Vec::new();
                    let values = weight.floats(0..depth * columns, &mut scratch).to_vec();
                    let factor = match transposed {
                        true => Factor::transposed(weight, [columns, depth]),
                        false => Factor::plain(weight, [depth, columns]),
                    };
                    let bias = transposed.then_some(&*bias);
                    let out = large_product(&x, factor, bias);
                    assert_eq!(out.len(), rows * columns);
                    for (place, found) in out.iter().enumerate() {
                        let (row, column) = (place / columns, place % columns);
                        let at =
                            |term| if transposed { column * depth + term } else { term * columns + column };
                        let term =
                            |term: usize| f64::from(x[row * depth + term]) * f64::from(values[at(term)]);
                        let terms = || (0..depth).map(term).chain(bias.map(|bias| f64::from(bias[column])));
                        let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                        // A rounding of f32 is 6e-8 at most; they go either way.
                        let allowed = 6e-8 * (2.0 + (depth as f64).sqrt()) * size;
                        assert!(
                            (f64::from(*found) - sum).abs() < allowed,
                            "{rows} x {depth} x {columns}, {transposed}, {place}: {found} for {sum}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_result_does_not_depend_on_how_the_work_is_cut() {
        let (rows, depth, columns) = (150, DEPTH + 70, 201);
        let (x, weight) = (numbers(3, rows * depth), numbers(4, depth * columns));
        let of = |x: &[f32]| large_product(x, Factor::plain(Weight::F32(&weight), [depth, columns]), None);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| of(&x))
        };
        let out = on(1);
        assert_eq!(out, on(7));
        let by_rows: Vec<f32> = x.chunks(depth).flat_map(of).collect();
        assert_eq!(out, by_rows);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_weight_too_short_is_refused() {
        large_product(&[0.0; 4], Factor::transposed(Weight::F32(&[0.0; 5]), [3, 2]), None);
    }
}
