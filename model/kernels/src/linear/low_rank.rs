//! The low-rank part of a linear layer, `scale * (m * x) A^T B^T`, block by block of rows, while a block is in the cache;
//! the formulas are in the module above.
//!
//! Blocks are of fixed size and their sums are added in order: results do not depend on the number of threads.

use std::borrow::Cow;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::dropout::SeededDropout;
use crate::memory::zeros;
use crate::products::{Matrix, add_small_product, small_product};
use crate::registers::arch;

/// Rows of a block.
const BLOCK: usize = 128;

/// The low-rank part of a linear layer.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// A, `[rank, input]`.
    pub a: &'a [f32],
    /// B, `[output, rank]`.
    pub b: &'a [f32],
    /// Rows of A.
    pub rank: usize,
    /// The factor of the product.
    pub scale: f32,
    /// Which elements of x it does not see.
    pub dropout: Option<SeededDropout>,
}

/// Adds the low-rank part of a layer to its output: x `[rows, input]`, out `[rows, output]`. A row's sums are the same
/// however many rows there are.
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn add_low_rank(lora: &LowRank<'_>, x: &[f32], [input, output]: [usize; 2], out: &mut [f32]) {
    let LowRank { a, b, rank, .. } = *lora;
    assert_eq!([a.len(), b.len()], [rank * input, output * rank], "numbers of A and B");
    assert_eq!(x.len() * output, out.len() * input, "rows of x and of the output");
    if !out.is_empty() {
        add_forward(lora, x, [input, output], out);
    }
}

/// Adds it to the output: x `[rows, input]`, out `[rows, output]`.
pub(super) fn add_forward(lora: &LowRank<'_>, x: &[f32], [input, output]: [usize; 2], out: &mut [f32]) {
    let arch = arch();
    let layer = Layer::new(lora, x, [input, output]);
    let b = Matrix::dense(lora.b, output, lora.rank).by_columns();
    out.par_chunks_mut(BLOCK * output).enumerate().for_each(|(index, out)| {
        arch.dispatch(Forward { layer: &layer, b: &b, index, out });
    });
}

/// Adds it to the gradient of x, `[rows, input]`, from that of the output, `[rows, output]`, and returns those of A and B
/// that are wanted.
pub(super) fn backward(
    lora: &LowRank<'_>,
    x: &[f32],
    [input, output]: [usize; 2],
    gradient: &[f32],
    of_x: Option<&mut [f32]>,
    wanted: [bool; 2],
) -> [Option<Vec<f32>>; 2] {
    let arch = arch();
    let layer = Layer::new(lora, x, [input, output]);
    let blocks = (x.len() / input.max(1)).div_ceil(BLOCK);
    let blocks_of_x: Vec<Option<&mut [f32]>> = match of_x {
        Some(of_x) => of_x.chunks_mut(BLOCK * input).map(Some).collect(),
        None => (0..blocks).map(|_| None).collect(),
    };
    let parts: Vec<[Vec<f32>; 2]> = blocks_of_x
        .into_par_iter()
        .enumerate()
        .map(|(index, of_x)| arch.dispatch(Backward { layer: &layer, index, gradient, of_x, wanted }))
        .collect();
    let sizes = [lora.rank * input, output * lora.rank];
    std::array::from_fn(|which| {
        wanted[which].then(|| {
            let mut sum = zeros(sizes[which]);
            for part in &parts {
                sum.iter_mut().zip(&part[which]).for_each(|(sum, part)| *sum += part);
            }
            sum
        })
    })
}

/// What all blocks need.
struct Layer<'a> {
    lora: &'a LowRank<'a>,
    x: &'a [f32],
    input: usize,
    output: usize,
    /// A^T, `[input, rank]`.
    a: Vec<f32>,
}

impl<'a> Layer<'a> {
    fn new(lora: &'a LowRank<'a>, x: &'a [f32], [input, output]: [usize; 2]) -> Self {
        Self { lora, x, input, output, a: Matrix::dense(lora.a, lora.rank, input).by_columns() }
    }

    #[inline(always)]
    fn block<S: Simd>(&self, simd: S, index: usize) -> Block<'a> {
        let Self { lora, x, input, .. } = self;
        let first_row = index * BLOCK;
        let x = &x[first_row * input..];
        let rows = BLOCK.min(x.len() / input);
        let mut dropped = Cow::Borrowed(&x[..rows * input]);
        if let Some(dropout) = lora.dropout {
            drop_elements(dropped.to_mut(), first_row, *input, dropout);
        }
        let mut reduced = vec![0.0; rows * lora.rank];
        let factors = [Matrix::dense(&dropped, rows, *input), Matrix::dense(&self.a, *input, lora.rank)];
        small_product(simd, &mut reduced, lora.rank, factors);
        reduced.iter_mut().for_each(|value| *value *= lora.scale);
        Block { first_row, rows, dropped, reduced }
    }
}

/// What forward and backward pass both need of a block of rows.
struct Block<'a> {
    first_row: usize,
    rows: usize,
    /// x after dropout, `[rows, input]`; with none, x itself.
    dropped: Cow<'a, [f32]>,
    /// `scale * h`, `[rows, rank]`.
    reduced: Vec<f32>,
}

/// Multiplies each element by its factor.
#[inline(always)]
fn drop_elements(x: &mut [f32], first_row: usize, columns: usize, dropout: SeededDropout) {
    for (index, row) in x.chunks_exact_mut(columns).enumerate() {
        let key = dropout.row_key(first_row + index);
        row.iter_mut().zip(0u32..).for_each(|(x, column)| *x *= dropout.factor(key, column));
    }
}

/// Adds a block's part to the output.
struct Forward<'a> {
    layer: &'a Layer<'a>,
    /// B^T, `[rank, output]`.
    b: &'a [f32],
    index: usize,
    /// The block's part of the output.
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Layer { lora, output, .. } = *self.layer;
        let block = self.layer.block(simd, self.index);
        let reduced = Matrix::dense(&block.reduced, block.rows, lora.rank);
        add_small_product(simd, self.out, output, [reduced, Matrix::dense(self.b, lora.rank, output)]);
    }
}

/// Adds a block's part to the gradient of x, and returns its part of those of A and B where `wanted`.
struct Backward<'a> {
    layer: &'a Layer<'a>,
    index: usize,
    /// Of the output, all of it.
    gradient: &'a [f32],
    of_x: Option<&'a mut [f32]>,
    wanted: [bool; 2],
}

impl WithSimd for Backward<'_> {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [Vec<f32>; 2] {
        let Self { layer, index, gradient, of_x, wanted: [want_a, want_b] } = self;
        let Layer { lora, input, output, .. } = *layer;
        let LowRank { rank, scale, .. } = *lora;
        let block = layer.block(simd, index);
        let gradient = Matrix::dense(&gradient[block.first_row * output..], block.rows, output);
        let mut reduced_gradient = vec![0.0; block.rows * rank];
        small_product(simd, &mut reduced_gradient, rank, [gradient, Matrix::dense(lora.b, output, rank)]);
        reduced_gradient.iter_mut().for_each(|value| *value *= scale);
        let reduced_gradient = Matrix::dense(&reduced_gradient, block.rows, rank);
        if let Some(of_x) = of_x {
            let factors = [reduced_gradient, Matrix::dense(lora.a, rank, input)];
            match lora.dropout {
                None => add_small_product(simd, of_x, input, factors),
                Some(dropout) => {
                    let mut part = vec![0.0; of_x.len()];
                    small_product(simd, &mut part, input, factors);
                    drop_elements(&mut part, block.first_row, input, dropout);
                    of_x.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        let mut of_a = vec![0.0; if want_a { rank * input } else { 0 }];
        if want_a {
            let dropped = Matrix::dense(&block.dropped, block.rows, input);
            small_product(simd, &mut of_a, input, [reduced_gradient.t(), dropped]);
        }
        let mut of_b = vec![0.0; if want_b { output * rank } else { 0 }];
        if want_b {
            let reduced = Matrix::dense(&block.reduced, block.rows, rank);
            small_product(simd, &mut of_b, rank, [gradient.t(), reduced]);
        }
        [of_a, of_b]
    }
}
