//! `x W^T` for some dozen rows of x at most, as in decoding: the weight is read once, in the layout and the format it is
//! stored in, and each of its rows meets all rows of x while it is in the cache. A matrix product that first brings
//! its factors into another layout would spend most of its time on that.
//!
//! A row's sums are made in the same order however many rows there are.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::blocks::blocks;
use super::packed_row::{self, STREAMED};
use super::weight::Weight;
use crate::memory::zeros;
use crate::registers::arch;

/// The most rows of x that come here: up to so many, a row of a product is the same however many there are.
pub const FEW: usize = 48;
/// Rows of the weight and of x whose products are summed together: 8 sums and 6 factors fit into 16 registers.
const TALL: usize = 4;
const WIDE: usize = 2;
/// Rows of the weight in a task.
const TASK: usize = 64;

/// `x W^T + b`, `[rows, output]`: x `[rows, input]`; there are few rows, and at least one input.
pub(crate) fn few_rows_product(
    x: &[f32],
    weight: Weight<'_>,
    bias: Option<&[f32]>,
    [rows, input, output]: [usize; 3],
) -> Vec<f32> {
    let arch = arch();
    let mut out = zeros(rows * output);
    blocks(&mut out, output, [rows, TASK]).into_par_iter().for_each(|mut block| {
        let first = block.first_column;
        if !packed_row::multiply(x, input, weight, first, &mut block.rows) {
            arch.dispatch(Task { x, weight, input, first, out: &mut block.rows });
        }
        if let Some(bias) = bias {
            for row in block.rows {
                row.iter_mut().zip(&bias[first..]).for_each(|(out, bias)| *out += bias);
            }
        }
    });
    out
}

/// Some rows of the weight, from `first` on, against all rows of x; these rows of `out` have a column for each.
struct Task<'a, 'o> {
    x: &'a [f32],
    weight: Weight<'a>,
    input: usize,
    first: usize,
    out: &'a mut [&'o mut [f32]],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, input, first, out } = self;
        let mut scratch = Vec::new();
        let columns = out.first().map_or(0, |row| row.len());
        let tall = if out.len() <= STREAMED { 1 } else { TALL };
        let mut column = 0;
        while column < columns {
            let count = if column + tall <= columns { tall } else { 1 };
            let start = (first + column) * input;
            let weight = weight.floats(start..start + count * input, &mut scratch);
            if count == TALL {
                against_all::<S, TALL>(simd, weight, x, input, column, out);
            } else {
                against_all::<S, 1>(simd, weight, x, input, column, out);
            }
            column += count;
        }
    }
}

/// `W` rows of the weight against all rows of x, to the columns from `column` on.
#[inline(always)]
fn against_all<S: Simd, const W: usize>(
    simd: S,
    weight: &[f32],
    x: &[f32],
    input: usize,
    column: usize,
    out: &mut [&mut [f32]],
) {
    let mut row = 0;
    while row + WIDE <= out.len() {
        tile::<S, W, WIDE>(simd, weight, &x[row * input..], input, column, &mut out[row..]);
        row += WIDE;
    }
    if row < out.len() {
        tile::<S, W, 1>(simd, weight, &x[row * input..], input, column, &mut out[row..]);
    }
}

/// The products of `W` rows of the weight with `X` rows of x.
///
/// Plain loops over arrays: they are unrolled, and the sums stay in registers. What does not fill a register comes after:
/// a loop of unknown length within the loops over the sums would keep these from being unrolled, and put the sums into
/// memory.
#[inline(always)]
fn tile<S: Simd, const W: usize, const X: usize>(
    simd: S,
    weight: &[f32],
    x: &[f32],
    input: usize,
    column: usize,
    out: &mut [&mut [f32]],
) {
    let lanes = S::F32_LANES;
    let whole = input / lanes;
    let mut w_rows: [&[S::f32s]; W] = [&[]; W];
    for (i, row) in w_rows.iter_mut().enumerate() {
        *row = &S::as_simd_f32s(&weight[i * input..][..input]).0[..whole];
    }
    let mut x_rows: [&[S::f32s]; X] = [&[]; X];
    for (j, row) in x_rows.iter_mut().enumerate() {
        *row = &S::as_simd_f32s(&x[j * input..][..input]).0[..whole];
    }
    let mut sums = [[simd.splat_f32s(0.0); X]; W];
    for k in 0..whole {
        for i in 0..W {
            let w = w_rows[i][k];
            for j in 0..X {
                sums[i][j] = simd.mul_add_f32s(w, x_rows[j][k], sums[i][j]);
            }
        }
    }
    for i in 0..W {
        for j in 0..X {
            out[j][column + i] = simd.reduce_sum_f32s(sums[i][j]);
        }
    }
    let rest = whole * lanes..input;
    if rest.is_empty() {
        return;
    }
    for i in 0..W {
        for j in 0..X {
            for k in rest.clone() {
                out[j][column + i] += weight[i * input + k] * x[j * input + k];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::testing::{assert_near, numbers};

    /// Decoding relies on it: what a text says does not depend on what else is said. A size for each way to multiply.
    #[test]
    fn a_row_gives_the_same_bits_however_many_there_are() {
        for (input, output, block) in [(96, 70, 32), (96, 7, 8), (67, 65, 67), (3, 5, 3)] {
            let (x, weight) = (numbers(1, FEW * input), numbers(2, output * input));
            let half: Vec<bf16> = weight.iter().map(|value| bf16::from_f32(*value)).collect();
            let bytes: Vec<i8> = weight.iter().map(|value| (value * 20.0) as i8).collect();
            let scales: Vec<f32> =
                (0..output * input / block).map(|index| 0.05 + 0.01 * index as f32).collect();
            let int8 = Weight::Int8 { values: &bytes, scales: &scales, block };
            for weight in [Weight::F32(&weight), Weight::Bf16(&half), int8] {
                let product = |rows: std::ops::Range<usize>| {
                    let count = rows.len();
                    let x = &x[rows.start * input..rows.end * input];
                    few_rows_product(x, weight, None, [count, input, output])
                };
                let all = product(0..FEW);
                for rows in [0..1, 5..6, 47..48, 2..4, 10..13, 7..40] {
                    let expected = &all[rows.start * output..rows.end * output];
                    assert_eq!(product(rows.clone()), expected, "rows {rows:?} of {input} x {output}");
                }
            }
        }
    }

    /// Odd sizes: rows that fill no tile, an input or a block that fills no register, more rows of the weight than a
    /// task has.
    #[test]
    fn every_format_equals_the_sums_in_f64() {
        let sizes =
            [(1, 64, 70, 16), (1, 24, 5, 4), (1, 9, 6, 9), (2, 1, 3, 1), (5, 67, 65, 67), (FEW, 32, 9, 8)];
        for (rows, input, output, block) in sizes {
            let (x, weight, bias) =
                (numbers(1, rows * input), numbers(2, output * input), numbers(3, output));
            let half: Vec<bf16> = weight.iter().map(|value| bf16::from_f32(*value)).collect();
            let bytes: Vec<i8> = weight.iter().map(|value| (value * 20.0) as i8).collect();
            let scales: Vec<f32> =
                (0..output * input / block).map(|index| 0.05 + 0.01 * index as f32).collect();
            let int8 = Weight::Int8 { values: &bytes, scales: &scales, block };
            for weight in [Weight::F32(&weight), Weight::Bf16(&half), int8] {
                let mut scratch = Vec::new();
                let wide: Vec<f64> =
                    weight.floats(0..output * input, &mut scratch).iter().map(|w| f64::from(*w)).collect();
                let mut expected = Vec::new();
                for row in x.chunks(input) {
                    for (weight, bias) in wide.chunks(input).zip(&bias) {
                        let sum: f64 = row.iter().zip(weight).map(|(x, w)| f64::from(*x) * w).sum();
                        expected.push((sum + f64::from(*bias)) as f32);
                    }
                }
                let out = few_rows_product(&x, weight, Some(&bias), [rows, input, output]);
                assert_near(&out, &expected, 1e-5, &format!("{rows} x {input} x {output}"));
            }
        }
    }
}
