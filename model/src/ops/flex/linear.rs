//! The linear layer on slices: one matrix product for the weight, then the low-rank part block by block of rows,
//! while a block is in the cache.
//!
//! Blocks are of fixed size and their sums are added in order: results do not depend on the number of threads.

use pulp::Arch;
use rayon::prelude::*;

use super::super::LinearGradients;
use super::super::dropout::SeededDropout;
use super::few_rows::{self, FEW, Weight};
use super::gemm::{Matrix, add_product, gemm, product};
use super::tensors::zeros;
use super::tiles::{Factor, Native, Values};

/// Rows of a block.
const BLOCK: usize = 128;
/// Rows of a weight that are brought to f32 at a time.
const UNPACKED: usize = 1024;

/// The fewest rows of x, and the least other size, of a product of f32 that tiles of bf16 make faster: the weight is
/// brought into tiles for every product.
const TILED_ROWS: usize = 64;
const TILED_SIDE: usize = 64;

/// A linear layer's inputs: x `[rows, input]`, weight `[output, input]`, bias `[output]`.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight: Weight<'a>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) lora: Option<Lora<'a>>,
    /// Multiplies with a weight in bf16, to which x is rounded then.
    pub(super) unit: Option<Native>,
    pub(super) rows: usize,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// The low-rank part: a `[rank, input]`, b `[output, rank]`.
#[derive(Clone, Copy)]
pub(super) struct Lora<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
    pub(super) rank: usize,
    pub(super) scale: f32,
    pub(super) dropout: Option<SeededDropout>,
}

/// A matrix without gaps.
fn dense(data: &[f32], rows: usize, columns: usize) -> Matrix<'_> {
    Matrix::new(data, rows, columns, columns)
}

/// The output, `[rows, output]`.
pub(super) fn forward(inputs: &Inputs<'_>) -> Vec<f32> {
    let mut out = through_weight(inputs);
    let Some(lora) = inputs.lora else { return out };
    let output = inputs.output;
    out.par_chunks_mut(BLOCK * output).enumerate().for_each(|(index, out)| {
        let block = Block::new(inputs, &lora, index);
        let reduced = dense(&block.reduced, block.rows, lora.rank);
        let b = dense(lora.b, output, lora.rank);
        gemm(out, output, true, lora.scale, [reduced, b.t()]);
    });
    out
}

/// `x W^T + b`.
fn through_weight(inputs: &Inputs<'_>) -> Vec<f32> {
    let Inputs { x, weight, bias, unit, rows, input, output, .. } = *inputs;
    let shape = [output, input];
    match weight {
        _ if rows == 0 || input == 0 => in_each_row(bias, rows, output),
        Weight::Bf16(weight) if let Some(unit) = unit => {
            unit.rounded_product(x, Factor::transposed(Values::Bf16(weight), shape), bias)
        }
        weight if rows <= FEW => {
            let mut out = zeros(rows * output);
            few_rows::multiply(x, weight, bias, input, &mut out, output);
            out
        }
        Weight::F32(weight) if let Some(unit) = for_f32([rows, input, output]) => {
            unit.product(x, Factor::transposed(Values::F32(weight), shape), bias)
        }
        Weight::F32(weight) => product([dense(x, rows, input), dense(weight, output, input).t()], bias),
        weight => {
            let mut out = in_each_row(bias, rows, output);
            by_blocks(x, weight, [rows, input, output], &mut out);
            out
        }
    }
}

/// The unit for a product of f32 that is large enough for it.
fn for_f32([rows, depth, columns]: [usize; 3]) -> Option<Native> {
    let pays = rows >= TILED_ROWS && depth.min(columns) >= TILED_SIDE;
    pays.then(Native::for_f32).flatten()
}

/// The bias in every row; without one, zeros.
fn in_each_row(bias: Option<&[f32]>, rows: usize, output: usize) -> Vec<f32> {
    let mut out = zeros(rows * output);
    if let Some(bias) = bias {
        out.par_chunks_mut(BLOCK * output)
            .for_each(|block| block.chunks_exact_mut(output).for_each(|row| row.copy_from_slice(bias)));
    }
    out
}

/// `out += x W^T` for a weight that is not f32: a block of its rows at a time becomes f32.
fn by_blocks(x: &[f32], weight: Weight<'_>, [rows, input, output]: [usize; 3], out: &mut [f32]) {
    let mut scratch = Vec::new();
    for first in (0..output).step_by(UNPACKED) {
        let count = UNPACKED.min(output - first);
        let range = first * input..(first + count) * input;
        let weight = Arch::new().dispatch(
            #[inline(always)]
            || weight.floats(range, &mut scratch),
        );
        let factors = [dense(x, rows, input), dense(weight, count, input).t()];
        add_product(&mut out[first..], output, factors);
    }
}

/// What forward and backward pass both need of a block of rows.
struct Block<'a> {
    first_row: usize,
    rows: usize,
    /// x after dropout, `[rows, input]`; with none, x itself.
    dropped: std::borrow::Cow<'a, [f32]>,
    /// h, `[rows, rank]`.
    reduced: Vec<f32>,
}

impl<'a> Block<'a> {
    fn new(inputs: &Inputs<'a>, lora: &Lora<'_>, index: usize) -> Self {
        let first_row = index * BLOCK;
        let rows = BLOCK.min(inputs.rows - first_row);
        let x = &inputs.x[first_row * inputs.input..][..rows * inputs.input];
        let mut dropped = std::borrow::Cow::Borrowed(x);
        if let Some(dropout) = lora.dropout {
            drop_elements(dropped.to_mut(), first_row, inputs.input, dropout);
        }
        let mut reduced = vec![0.0; rows * lora.rank];
        let factors = [dense(&dropped, rows, inputs.input), dense(lora.a, lora.rank, inputs.input).t()];
        gemm(&mut reduced, lora.rank, false, 1.0, factors);
        Self { first_row, rows, dropped, reduced }
    }
}

/// Multiplies each element by its factor.
fn drop_elements(x: &mut [f32], first_row: usize, columns: usize, dropout: SeededDropout) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (index, row) in x.chunks_exact_mut(columns).enumerate() {
                let key = dropout.row_key(first_row + index);
                row.iter_mut().zip(0u32..).for_each(|(x, column)| *x *= dropout.factor(key, column));
            }
        },
    );
}

/// The gradient of x, `[rows, input]`, through the weight alone.
pub(super) fn input_gradient(
    weight: Weight<'_>,
    unit: Option<Native>,
    gradient: &[f32],
    [rows, output, input]: [usize; 3],
) -> Vec<f32> {
    let shape = [output, input];
    match (weight, unit) {
        _ if rows == 0 || output == 0 => zeros(rows * input),
        (Weight::Bf16(weight), Some(unit)) => {
            unit.rounded_product(gradient, Factor::plain(Values::Bf16(weight), shape), None)
        }
        (Weight::F32(weight), _) if let Some(unit) = for_f32([rows, output, input]) => {
            unit.product(gradient, Factor::plain(Values::F32(weight), shape), None)
        }
        (weight, _) => {
            let mut scratch = Vec::new();
            let weight = weight.floats(0..output * input, &mut scratch);
            product([dense(gradient, rows, output), dense(weight, output, input)], None)
        }
    }
}

/// The gradients of x, A and B that are wanted, each of its tensor's shape, from that of the output, `[rows, output]`.
pub(super) fn backward(
    inputs: &Inputs<'_>,
    gradient: &[f32],
    wanted: LinearGradients<bool>,
) -> LinearGradients<Option<Vec<f32>>> {
    let Inputs { weight, unit, rows, input, output, .. } = *inputs;
    let mut of_x = wanted.x.then(|| input_gradient(weight, unit, gradient, [rows, output, input]));
    let Some(lora) = inputs.lora else { return LinearGradients { x: of_x, ..Default::default() } };
    let blocks = rows.div_ceil(BLOCK);
    let blocks_of_x: Vec<Option<&mut [f32]>> = match &mut of_x {
        Some(of_x) => of_x.chunks_mut(BLOCK * input).map(Some).collect(),
        None => (0..blocks).map(|_| None).collect(),
    };
    let parts: Vec<[Vec<f32>; 2]> = blocks_of_x
        .into_par_iter()
        .enumerate()
        .map(|(index, of_x)| block_gradients(inputs, &lora, index, gradient, of_x, [wanted.a, wanted.b]))
        .collect();
    let mut of_a = wanted.a.then(|| zeros(lora.rank * input));
    let mut of_b = wanted.b.then(|| zeros(output * lora.rank));
    for [part_a, part_b] in &parts {
        add(of_a.as_deref_mut(), part_a);
        add(of_b.as_deref_mut(), part_b);
    }
    LinearGradients { x: of_x, a: of_a, b: of_b, ..Default::default() }
}

/// Adds a block's low-rank part to the gradient of x; returns its share in those of A and B where `wanted`.
fn block_gradients(
    inputs: &Inputs<'_>,
    lora: &Lora<'_>,
    index: usize,
    gradient: &[f32],
    of_x: Option<&mut [f32]>,
    [want_a, want_b]: [bool; 2],
) -> [Vec<f32>; 2] {
    let Inputs { input, output, .. } = *inputs;
    let Lora { rank, scale, .. } = *lora;
    let block = Block::new(inputs, lora, index);
    let gradient = dense(&gradient[block.first_row * output..], block.rows, output);
    let mut reduced_gradient = vec![0.0; block.rows * rank];
    let factors = [gradient, dense(lora.b, output, rank)];
    gemm(&mut reduced_gradient, rank, false, scale, factors);
    let reduced_gradient = dense(&reduced_gradient, block.rows, rank);
    if let Some(of_x) = of_x {
        let factors = [reduced_gradient, dense(lora.a, rank, input)];
        match lora.dropout {
            None => gemm(of_x, input, true, 1.0, factors),
            Some(dropout) => {
                let mut part = vec![0.0; of_x.len()];
                gemm(&mut part, input, false, 1.0, factors);
                drop_elements(&mut part, block.first_row, input, dropout);
                of_x.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
    }
    let mut of_a = vec![0.0; if want_a { rank * input } else { 0 }];
    if want_a {
        let factors = [reduced_gradient.t(), dense(&block.dropped, block.rows, input)];
        gemm(&mut of_a, input, false, 1.0, factors);
    }
    let mut of_b = vec![0.0; if want_b { output * rank } else { 0 }];
    if want_b {
        let factors = [gradient.t(), dense(&block.reduced, block.rows, rank)];
        gemm(&mut of_b, rank, false, scale, factors);
    }
    [of_a, of_b]
}

fn add(sum: Option<&mut [f32]>, part: &[f32]) {
    if let Some(sum) = sum {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}
