//! Matrix products of bf16 with sums in f32, for processors that have instructions for them. One factor is kept in
//! bf16; the other is f32 and rounded to nearest, ties to even, on its way in.
//!
//! The order of the work is that of Goto and van de Geijn (2008): a task brings a block of the bf16 factor into the
//! order in which its tiles read it, pairs of terms side by side as the instruction wants them. A task's work does not
//! depend on how many threads there are, so results do not either.

mod unit;

use half::bf16;
use rayon::prelude::*;

#[cfg(test)]
use self::unit::Emulated;
pub(super) use self::unit::Native;
use self::unit::{LANES, Unit};

/// Rows and columns of a tile: its 16 sums of 16 lanes are half of the processor's registers.
const TALL: usize = 8;
const WIDE: usize = 2 * LANES;
/// Rows, columns and terms of what a task holds in its caches at a time; the terms are even.
const ROWS: usize = 256;
const COLUMNS: usize = 128;
const DEPTH: usize = 512;

/// Two terms of a sum, bf16 each, the first in the lower half.
type Pair = u32;

/// The factor that is kept in bf16: a matrix `[depth, columns]`, whose rows or whose columns stand together.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    values: &'a [bf16],
    depth: usize,
    columns: usize,
    columns_together: bool,
}

impl<'a> Factor<'a> {
    /// `W^T` of a weight W `[output, input]`.
    pub(super) fn transposed(values: &'a [bf16], [output, input]: [usize; 2]) -> Self {
        Self { values, depth: input, columns: output, columns_together: true }
    }

    /// A weight W `[output, input]`.
    pub(super) fn plain(values: &'a [bf16], [output, input]: [usize; 2]) -> Self {
        Self { values, depth: output, columns: input, columns_together: false }
    }

    /// `WIDE` columns from `column` on, of the terms from `term` on, as many as `panel` has room for: for each pair of
    /// terms the pairs of all columns; zeros beyond the matrix.
    #[inline(always)]
    fn pack(&self, term: usize, column: usize, panel: &mut [[Pair; LANES]]) {
        let columns = column..self.columns.min(column + WIDE);
        let (rows, _) = panel.as_flattened_mut().as_chunks_mut::<WIDE>();
        if self.columns_together {
            for (place, column) in columns.enumerate() {
                let values = &self.values[column * self.depth..][term..self.depth];
                let (pairs, rest) = values.as_chunks::<2>();
                let rest = rest.first().map(|last| [*last, bf16::ZERO]);
                for (row, terms) in rows.iter_mut().zip(pairs.iter().copied().chain(rest)) {
                    row[place] = pair(terms);
                }
            }
            return;
        }
        for (index, row) in rows.iter_mut().enumerate() {
            let term = term + 2 * index;
            let first = &self.values[term * self.columns..][columns.clone()];
            if term + 1 < self.depth {
                let second = &self.values[(term + 1) * self.columns..][columns.clone()];
                row.iter_mut().zip(first.iter().zip(second)).for_each(|(to, (a, b))| *to = pair([*a, *b]));
            } else {
                row.iter_mut().zip(first).for_each(|(to, a)| *to = pair([*a, bf16::ZERO]));
            }
        }
    }
}

#[inline(always)]
fn pair([first, second]: [bf16; 2]) -> Pair {
    Pair::from(first.to_bits()) | Pair::from(second.to_bits()) << 16
}

/// `out += x W`: x `[rows, depth]`, W the factor, out `[rows, columns]`.
pub(super) fn add_product<U: Unit>(unit: U, x: &[f32], factor: Factor<'_>, out: &mut [f32]) {
    let Factor { depth, columns, .. } = factor;
    if depth == 0 || columns == 0 {
        return;
    }
    let pairs = depth.div_ceil(2);
    let x = rounded(unit, x, depth);
    blocks(out, columns).into_par_iter().for_each(|Block { first_row, first_column, mut rows }| {
        let x = &x[first_row / TALL * pairs..];
        unit.run(
            #[inline(always)]
            || multiply_block(unit, x, factor, first_column, &mut rows),
        );
    });
}

/// x in bf16, `TALL` rows at a time: for each pair of terms the pairs of these rows; zeros below the last row.
fn rounded<U: Unit>(unit: U, x: &[f32], depth: usize) -> Vec<[Pair; TALL]> {
    let pairs = depth.div_ceil(2);
    let blocks = x.len().div_ceil(TALL * depth);
    let mut packed = vec![[0; TALL]; blocks * pairs];
    packed.par_chunks_mut(pairs).zip(x.par_chunks(TALL * depth)).for_each(|(packed, x)| {
        unit.run(
            #[inline(always)]
            || {
                for (place, row) in x.chunks_exact(depth).enumerate() {
                    for (to, terms) in packed.iter_mut().zip(row.chunks(2)) {
                        let second = terms.get(1).copied().unwrap_or_default();
                        to[place] = pair([terms[0], second].map(bf16::from_f32));
                    }
                }
            },
        );
    });
    packed
}

/// A part of the output: the same columns of some rows.
struct Block<'a> {
    first_row: usize,
    first_column: usize,
    rows: Vec<&'a mut [f32]>,
}

/// The output in blocks that tasks can write side by side.
fn blocks(out: &mut [f32], columns: usize) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (index, rows) in out.chunks_mut(ROWS * columns).enumerate() {
        let new = (0..columns).step_by(COLUMNS).map(|first_column| Block {
            first_row: index * ROWS,
            first_column,
            rows: Vec::with_capacity(ROWS),
        });
        let start = blocks.len();
        blocks.extend(new);
        for row in rows.chunks_exact_mut(columns) {
            blocks[start..]
                .iter_mut()
                .zip(row.chunks_mut(COLUMNS))
                .for_each(|(block, part)| block.rows.push(part));
        }
    }
    blocks
}

/// Adds to a block of the output; x begins with its first row.
#[inline(always)]
fn multiply_block<U: Unit>(
    unit: U,
    x: &[[Pair; TALL]],
    factor: Factor<'_>,
    first_column: usize,
    rows: &mut [&mut [f32]],
) {
    let of_row = factor.depth.div_ceil(2);
    let columns = rows.first().map_or(0, |row| row.len());
    let mut panel = Vec::new();
    for term in (0..factor.depth).step_by(DEPTH) {
        let pairs = DEPTH.min(factor.depth - term).div_ceil(2);
        for column in (0..columns).step_by(WIDE) {
            panel.clear();
            panel.resize(2 * pairs, [0; LANES]);
            factor.pack(term, first_column + column, &mut panel);
            for (index, rows) in rows.chunks_mut(TALL).enumerate() {
                let sums = tile(unit, &x[index * of_row + term / 2..][..pairs], &panel);
                for (row, sums) in rows.iter_mut().zip(&sums) {
                    let row = row[column..].iter_mut().zip(sums.as_flattened());
                    row.for_each(|(out, sum)| *out += sum);
                }
            }
        }
    }
}

/// The sums of `TALL` rows and `WIDE` columns.
#[inline(always)]
fn tile<U: Unit>(unit: U, x: &[[Pair; TALL]], panel: &[[Pair; LANES]]) -> [[[f32; LANES]; 2]; TALL] {
    let mut sums = [[unit.zero(); 2]; TALL];
    let (panel, _) = panel.as_chunks::<2>();
    for (x, [left, right]) in x.iter().zip(panel) {
        for i in 0..TALL {
            sums[i][0] = unit.add(sums[i][0], x[i], left);
            sums[i][1] = unit.add(sums[i][1], x[i], right);
        }
    }
    sums.map(|sums| sums.map(|sums| unit.lanes(sums)))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{assert_near, numbers};
    use super::*;

    fn element(factor: &Factor<'_>, term: usize, column: usize) -> f64 {
        f64::from(match factor.columns_together {
            true => factor.values[column * factor.depth + term],
            false => factor.values[term * factor.columns + column],
        })
    }

    /// Sums of rounded factors in f64 against the product, added to ones.
    fn check<U: Unit>(unit: U, [rows, depth, columns]: [usize; 3]) {
        let x = numbers(1, rows * depth);
        let values: Vec<bf16> = numbers(2, depth * columns).into_iter().map(bf16::from_f32).collect();
        for factor in
            [Factor::transposed(&values, [columns, depth]), Factor::plain(&values, [depth, columns])]
        {
            let mut expected = Vec::new();
            for row in x.chunks(depth) {
                for column in 0..columns {
                    let terms = row
                        .iter()
                        .enumerate()
                        .map(|(term, x)| f64::from(bf16::from_f32(*x)) * element(&factor, term, column));
                    expected.push((1.0 + terms.sum::<f64>()) as f32);
                }
            }
            let mut out = vec![1.0; rows * columns];
            add_product(unit, &x, factor, &mut out);
            let what = format!("{rows} x {depth} x {columns}, {}", factor.columns_together);
            assert_near(&out, &expected, 1e-5, &what);
        }
    }

    /// One of each, and sizes that fill no pair, tile, panel, task or cache.
    #[test]
    fn products_are_those_of_the_rounded_factors() {
        for sizes in [
            [1, 1, 1],
            [3, 7, 5],
            [TALL, 2, WIDE],
            [ROWS + 9, 33, COLUMNS + WIDE + 1],
            [5, DEPTH + 3, 40],
            [9, 2 * DEPTH, COLUMNS],
        ] {
            check(Emulated, sizes);
            if let Some(unit) = Native::new() {
                check(unit, sizes);
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let values = [1.0, 2.0].map(bf16::from_f32);
        let mut out = [0.0; 2];
        let nan = f32::from_bits(0x7FFF_FFFF);
        add_product(Emulated, &[nan, f32::INFINITY], Factor::transposed(&values, [1, 1]), &mut out);
        assert!(out[0].is_nan() && out[1] == f32::INFINITY);
    }
}
