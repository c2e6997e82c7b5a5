//! A product in tiles, whatever unit multiplies them.
//!
//! The order of the work is that of Goto and van de Geijn (2008): x is brought into tiles first; then each task brings
//! a block of the other factor into tiles and meets all of its rows of x with it. An element of the result is summed in
//! the same order however the work is cut, so that results do not depend on the number of threads.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::pack::{Values, pack_columns, pack_rows, pack_turned_rows};
use super::unit::{SIDE, Sums, Tiles, Unit};
use crate::memory::prefetch;
use crate::products::{Block, Factor, Matrix, blocks};

/// The most columns of a task.
pub(super) const COLUMNS: usize = 192;
/// Terms of the sums that are added at a time. A task's block of the other factor then takes 0.9 MB in three parts, and
/// stays in the cache of a core.
pub(super) const DEPTH: usize = 768;

/// `x F`, with the bias added to each row: x `[rows, depth]`, whose rows or whose columns stand together without gaps, F
/// the factor, both in `PARTS` parts; bias `[columns]`. There is at least one term.
pub(super) fn product<U: Unit, const PARTS: usize>(
    unit: U,
    x: Matrix<'_>,
    factor: Factor<Values<'_>>,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let Factor { depth, columns, .. } = factor;
    assert_eq!(x.columns, depth, "terms of x and of the other factor");
    let count = x.rows * columns;
    let mut out: Vec<f32> = Vec::with_capacity(count);
    let new = &mut out.spare_capacity_mut()[..count];
    add_terms::<U, _, PARTS>(unit, x, factor, 0..depth.min(DEPTH), bias, new);
    // SAFETY: each of them has just been written.
    #[allow(unsafe_code)]
    unsafe {
        out.set_len(count);
    }
    for first in (DEPTH..depth).step_by(DEPTH) {
        add_terms::<U, _, PARTS>(unit, x, factor, first..depth.min(first + DEPTH), None, &mut out);
    }
    out
}

/// An element of the result: one that is there already, or the place of one.
trait Element: Send {
    fn add(&mut self, sum: f32);
}

impl Element for f32 {
    #[inline(always)]
    fn add(&mut self, sum: f32) {
        *self += sum;
    }
}

impl Element for MaybeUninit<f32> {
    #[inline(always)]
    fn add(&mut self, sum: f32) {
        self.write(sum);
    }
}

/// Adds the sums over `terms`, and the bias, to each element of the result.
fn add_terms<U: Unit, E: Element, const PARTS: usize>(
    unit: U,
    x: Matrix<'_>,
    factor: Factor<Values<'_>>,
    terms: Range<usize>,
    bias: Option<&[f32]>,
    out: &mut [E],
) {
    let columns = factor.columns;
    let of_rows = |side: usize| {
        let rows = side * SIDE..x.rows.min(side * SIDE + SIDE);
        unit.run(
            #[inline(always)]
            || match x.has_rows_together() {
                true => pack_rows::<PARTS>(x, rows, terms.clone()),
                false => pack_turned_rows::<U, PARTS>(unit, x, rows, terms.clone()),
            },
        )
    };
    let shape = task_shape(x.rows, columns);
    let x: Vec<Tiles> = (0..x.rows.div_ceil(SIDE)).into_par_iter().map(of_rows).collect();
    blocks(out, columns, shape).into_par_iter().for_each(|block| {
        unit.run(
            #[inline(always)]
            || multiply_block::<U, E, PARTS>(unit, &x, factor, terms.clone(), bias, block),
        );
    });
}

/// Rows and columns of a task: all rows, if each thread then has a task.
fn task_shape(rows: usize, columns: usize) -> [usize; 2] {
    let threads = rayon::current_num_threads();
    let tasks = columns.div_ceil(COLUMNS).next_multiple_of(threads);
    let wide = columns.div_ceil(tasks).next_multiple_of(SIDE);
    let cuts = threads.div_ceil(columns.div_ceil(wide));
    [rows.div_ceil(cuts).next_multiple_of(SIDE), wide]
}

/// Adds the sums over `terms`, and the bias, to a block of the output; x holds the tiles of all rows.
#[inline(always)]
fn multiply_block<U: Unit, E: Element, const PARTS: usize>(
    unit: U,
    x: &[Tiles],
    factor: Factor<Values<'_>>,
    terms: Range<usize>,
    bias: Option<&[f32]>,
    block: Block<'_, E>,
) {
    let Block { first_row, first_column, mut rows } = block;
    let columns = rows.first().map_or(0, |row| row.len());
    let bias = bias.map(|bias| &bias[first_column..first_column + columns]);
    // A loop: what `map` is given would be compiled by itself, for the oldest processor.
    let mut panels: Vec<Tiles> = Vec::with_capacity(columns.div_ceil(SIDE));
    for column in (first_column..first_column + columns).step_by(SIDE) {
        panels.push(pack_columns::<U, PARTS>(unit, factor, terms.clone(), column));
    }
    let mut sums = Sums::default();
    let x = &x[first_row / SIDE..];
    for (number, (tiles, rows)) in x.iter().zip(rows.chunks_mut(SIDE)).enumerate() {
        // Each panel asks for its share of the following rows' tiles.
        let following = x.get(number + 1).unwrap_or(tiles);
        for (index, panel) in panels.iter().enumerate() {
            for row in &*rows {
                let row = &row[index * SIDE..];
                prefetch(&row[0]);
                prefetch(&row[row.len().min(SIDE) - 1]);
            }
            let next = &following[following.len() * index / panels.len()..];
            unit.multiply::<PARTS>(tiles, panel, next, &mut sums);
            let bias = bias.map(|bias| &bias[index * SIDE..]);
            for (row, sums) in rows.iter_mut().zip(&mut sums.0) {
                if let Some(bias) = bias {
                    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
                }
                row[index * SIDE..].iter_mut().zip(&*sums).for_each(|(out, sum)| out.add(*sum));
            }
        }
    }
}
