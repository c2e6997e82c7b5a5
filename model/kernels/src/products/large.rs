//! Large matrix products in f32, whatever a weight is stored in.
//!
//! The order of the work is that of Goto and van de Geijn (2008): a task brings the columns of its block of the weight into
//! panels, some hundred terms of the sums at a time, and meets all of its rows of x with them, some dozen rows at a time,
//! which stay in the second cache while panels pass by. What the next panel is made of comes from memory meanwhile. An
//! element of the result is summed in the same order however the work is cut and in any registers.

use std::array::from_fn;
use std::cell::RefCell;
use std::mem::MaybeUninit;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::ahead::Ahead;
use super::blocks::{Block, blocks};
use super::matrix::Matrix;
use super::panels::{Panels, pack, together, turn};
use super::tile::{Part, STRETCH, tile};
use super::weight::{Factor, Weight};
use crate::memory::written;
use crate::registers::arch;

/// Columns that tasks are made of, whole panels in any registers.
const STRIP: usize = 32;
/// The most strips of a task.
const WIDEST: usize = 12;
/// The fewest, where that leaves a task for each thread: each task reads its rows of x anew.
const NARROWEST: usize = 2;
/// Terms of the sums that are added at a time.
const DEPTH: usize = 768;
/// Rows of x that meet all panels together; twice as many, where there are no more: panels that passed by come from afar.
const TALL: usize = 48;

/// The fewest rows of a task, where rows are cut as well: each task makes its own panels.
const ROWS: usize = 512;
/// Tasks for each thread: the last of them keep few waiting.
const TASKS: usize = 2;
/// Multiplications and additions from which on more threads are worth waking.
const WORTH_SHARING: usize = 1 << 22;

/// What a thread keeps from one task to the next.
#[derive(Default)]
struct Scratch {
    panels: Panels,
    /// Rows of an x whose columns stand together.
    turned: Vec<f32>,
    /// Sums of one tile.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// `x F` by all threads, `[rows, columns]`, with the bias added to each row: x `[rows, depth]`, whose rows or whose columns
/// stand together, F the factor, bias `[columns]`.
///
/// # Panics
///
/// Where there is no term to sum, or a slice is too short.
pub(crate) fn large_product(x: Matrix<'_>, factor: Factor<Weight<'_>>, bias: Option<&[f32]>) -> Vec<f32> {
    product_in(arch(), x, factor, bias)
}

fn product_in(arch: Arch, x: Matrix<'_>, factor: Factor<Weight<'_>>, bias: Option<&[f32]>) -> Vec<f32> {
    let Factor { depth, columns, .. } = factor;
    assert!(depth > 0, "a matrix product without a term");
    assert_eq!(x.columns, depth, "terms of x and of the other factor");
    let rows = x.rows;
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let run = |block: Block<'_, _>| {
        SCRATCH.with_borrow_mut(|scratch| arch.dispatch(Task { x, factor, bias, block, scratch }));
    };
    // SAFETY: the blocks are all of the result, and a task writes all of its block.
    #[allow(unsafe_code)]
    let [out] = unsafe {
        written([rows * columns], |[out]| {
            if rows.saturating_mul(depth).saturating_mul(columns) < WORTH_SHARING {
                blocks(out, columns, [rows, WIDEST * STRIP]).into_iter().for_each(run);
            } else {
                blocks(out, columns, task_shape(rows, columns, rayon::current_num_threads()))
                    .into_par_iter()
                    .for_each(run);
            }
        })
    };
    out
}

/// Rows and columns of a task: as wide as may be, as many as are wanted, about as much for each thread, and no more cuts
/// across the rows than that takes.
fn task_shape(rows: usize, columns: usize, threads: usize) -> [usize; 2] {
    let (wanted, most_cuts) = (TASKS * threads, (rows / ROWS).max(1));
    let strips = columns.div_ceil(STRIP);
    let share = strips.div_ceil(threads);
    let widest = strips.div_ceil(wanted.div_ceil(most_cuts)).min(WIDEST);
    let narrowest = NARROWEST.min(share);
    // Strips of the thread that has the most, where a per cent does not matter.
    let most = |wide: &usize| (strips.div_ceil(*wide).div_ceil(threads) * wide).max(share + share / 100);
    let wide = (narrowest..=widest.max(narrowest)).rev().min_by_key(most).unwrap_or(narrowest);
    let cuts = wanted.div_ceil(strips.div_ceil(wide)).min(most_cuts);
    [rows.div_ceil(cuts), wide * STRIP]
}

/// A block of the result.
struct Task<'a, 's> {
    x: Matrix<'a>,
    factor: Factor<Weight<'a>>,
    bias: Option<&'a [f32]>,
    block: Block<'a, MaybeUninit<f32>>,
    scratch: &'s mut Scratch,
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    /// Tiles of as many sums as leave registers for their factors.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (S::F32_LANES, S::REGISTER_COUNT) {
            (16, _) => self.run::<S, 8, 2, 32>(simd),
            (8, _) => self.run::<S, 6, 2, 16>(simd),
            (4, 32) => self.run::<S, 6, 4, 16>(simd),
            (4, _) => self.run::<S, 2, 4, 16>(simd),
            _ => self.run::<S, 1, 4, 4>(simd),
        }
    }
}

impl Task<'_, '_> {
    /// In tiles of `T` rows and `W` registers, which are `PANEL` columns.
    #[inline(always)]
    fn run<S: Simd, const T: usize, const W: usize, const PANEL: usize>(self, simd: S) {
        let Self { x, factor, bias, block, scratch: Scratch { panels, turned, sums } } = self;
        let Block { first_row, first_column, mut rows } = block;
        let columns = rows.first().map_or(0, |row| row.len());
        let range = first_column..first_column + columns;
        let bias = bias.map(|bias| &bias[range.clone()]);
        sums.resize(T.max(4) * PANEL, 0.0);
        let sums = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<W>().0;
        let wide = together::<PANEL>(factor);
        let of_group = |start: usize| range.start + start..range.end.min(range.start + start + wide);
        for first in (0..factor.depth).step_by(DEPTH) {
            let terms = first..factor.depth.min(first + DEPTH);
            let depth = terms.len();
            let panels = panels.of(columns.div_ceil(PANEL) * depth * PANEL);
            // What the group after this one is made of.
            let following = |start: usize| match start + wide < columns {
                true => (terms.clone(), of_group(start + wide)),
                false => (terms.end..factor.depth.min(terms.end + DEPTH), of_group(0)),
            };
            let tall = if rows.len() <= 2 * TALL { 2 * TALL } else { TALL };
            for (index, rows) in rows.chunks_mut(tall).enumerate() {
                let first_row = first_row + index * tall;
                let (x, stride) = if x.has_rows_together() {
                    (&x.data[first_row * x.row_stride + terms.start..], x.row_stride)
                } else {
                    (turn(x, first_row..first_row + rows.len(), terms.clone(), turned), depth)
                };
                let row = |row: usize| &x[row * stride..][..depth];
                let groups = panels.chunks_mut(wide * depth).zip((0..columns).step_by(wide));
                for (group, start) in groups {
                    let mut ahead = Ahead::default();
                    if index == 0 {
                        // Just before its first use: for few rows it is the only one.
                        pack::<S, PANEL>(factor, terms.clone(), of_group(start), group);
                        let panels = group.len() / (depth * PANEL);
                        let steps = panels * rows.len().div_ceil(T) * depth.div_ceil(STRETCH);
                        let (terms, range) = following(start);
                        ahead = Ahead::new(factor, terms, range, steps);
                    }
                    let starts = (start..columns).step_by(PANEL);
                    for (panel, start) in group.chunks_exact(depth * PANEL).zip(starts) {
                        let panel = S::as_simd_f32s(panel).0.as_chunks::<W>().0;
                        let mut part = Part::<'_, '_, PANEL> { rows, start, add: first > 0, bias };
                        let mut at = 0;
                        while at + T <= part.rows.len() {
                            part.ask_for(at, T);
                            let x = from_fn(|i| row(at + i));
                            part.put(at, tiled::<S, T, W>(simd, x, panel, &mut ahead, sums));
                            at += T;
                        }
                        while at + 4 <= part.rows.len() {
                            let x = from_fn(|i| row(at + i));
                            part.put(at, tiled::<S, 4, W>(simd, x, panel, &mut ahead, sums));
                            at += 4;
                        }
                        for at in at..part.rows.len() {
                            part.put(at, tiled::<S, 1, W>(simd, [row(at)], panel, &mut ahead, sums));
                        }
                    }
                }
            }
        }
    }
}

/// The sums of `T` rows with a panel, in the first of `sums`.
#[inline(always)]
fn tiled<'s, S: Simd, const T: usize, const W: usize>(
    simd: S,
    x: [&[f32]; T],
    panel: &[[S::f32s; W]],
    ahead: &mut Ahead<'_>,
    sums: &'s mut [[S::f32s; W]],
) -> &'s [[S::f32s; W]] {
    let out = &mut sums.as_chunks_mut::<T>().0[0];
    tile::<S, T, W>(simd, x, panel, ahead, out);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use half::bf16;

    use super::*;
    use crate::registers::each_arch;
    use crate::testing::numbers;

    /// One of each, sizes that fill no tile, square, panel or task, more terms than are added at a time, blocks of 64
    /// terms and of 96 columns, more operations than one thread makes, and bytes of more terms than are added at a time, with
    /// more rows than many would share a panel by.
    const SIZES: [[usize; 3]; 10] = [
        [1, 1, 1],
        [3, 7, 5],
        [25, 6, 33],
        [9, 65, WIDEST * STRIP + 34],
        [5, DEPTH + 3, 40],
        [7, 128, 44],
        [70, 2 * DEPTH, 44],
        [9, 70, 192],
        [30, 2 * DEPTH + 1, 4],
        [2 * ROWS + 5, 70, 130],
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
                    let by_rows = Matrix::dense(&x, rows, depth);
                    let out = large_product(by_rows, factor, bias);
                    assert_eq!(out.len(), rows * columns);
                    let turned = by_rows.by_columns();
                    let by_columns = Matrix::dense(&turned, depth, rows).t();
                    assert_eq!(large_product(by_columns, factor, bias), out, "columns of x together");
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
        let factor = Factor::plain(Weight::F32(&weight), [depth, columns]);
        let of = |x: &[f32]| large_product(Matrix::dense(x, x.len() / depth, depth), factor, None);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| of(&x))
        };
        let out = on(1);
        assert_eq!(out, on(7));
        let by_rows: Vec<f32> = x.chunks(depth).flat_map(of).collect();
        assert_eq!(out, by_rows);
    }

    /// Widths of the models' layers, and of the vocabulary.
    #[test]
    fn threads_have_about_the_same_to_do() {
        for columns in [768, 2048, 2560, 3072, 8192, 10240, 50257] {
            for threads in [1, 2, 4] {
                let [rows, wide] = task_shape(256, columns, threads);
                assert_eq!(rows, 256);
                let most = columns.div_ceil(wide).div_ceil(threads) * wide;
                let share = columns.div_ceil(STRIP).div_ceil(threads) * STRIP;
                assert!(most <= share + share / 100, "{columns} columns, {threads} threads: {wide} wide");
            }
        }
    }

    #[test]
    fn a_result_is_the_same_in_any_registers() {
        for [rows, depth, columns] in SIZES {
            let (x, numbers_of_weight) = (numbers(5, rows * depth), numbers(6, depth * columns));
            let half: Vec<bf16> = numbers_of_weight.iter().map(|value| bf16::from_f32(*value)).collect();
            let bytes: Vec<i8> = numbers_of_weight.iter().map(|value| (value * 128.0) as i8).collect();
            let block = if depth.is_multiple_of(32) { 32 } else { 1 };
            let scales = numbers(7, depth * columns / block);
            for weight in [
                Weight::F32(&numbers_of_weight),
                Weight::Bf16(&half),
                Weight::Int8 { values: &bytes, scales: &scales, block },
            ] {
                for factor in
                    [Factor::transposed(weight, [columns, depth]), Factor::plain(weight, [depth, columns])]
                {
                    let (x, bias) = (Matrix::dense(&x, rows, depth), Some(&numbers_of_weight[..columns]));
                    let all = each_arch().into_iter().map(|arch| product_in(arch, x, factor, bias));
                    let all: Vec<Vec<f32>> = all.collect();
                    assert!(all.iter().all(|out| *out == all[0]), "{rows} x {depth} x {columns}, {weight:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_weight_too_short_is_refused() {
        let x = Matrix::dense(&[0.0; 4], 2, 2);
        large_product(x, Factor::transposed(Weight::F32(&[0.0; 5]), [3, 2]), None);
    }
}
