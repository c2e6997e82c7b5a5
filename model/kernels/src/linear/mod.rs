//! A linear layer with optional bias and low-rank part: one matrix product for the weight, in the way that suits its
//! size, its type and the processor, then the low-rank part.
//!
//! Forward, with x `[rows, input]`, W `[output, input]`, b `[output]`, A `[rank, input]`, B `[output, rank]` and the
//! dropout's factors m `[rows, input]`: `h = (m * x) A^T`, `y = x W^T + b + scale * h B^T`. Backward, from dy
//! `[rows, output]`: `g = dy B`, `dx = dy W + scale * m * (g A)`, `dA = scale * g^T (m * x)`, `dB = scale * dy^T h`.

mod dropout;
mod low_rank;

pub use self::dropout::SeededDropout;
pub use self::low_rank::{LowRank, add_low_rank};
use crate::memory::zeros;
use crate::products::{FEW, Factor, Weight, few_rows_product, large_product};
use crate::registers::unheld;
use crate::tiles::{TileUnit, Values};

/// The fewest rows of x, and the least other size, of a product of f32 that tiles of bf16 make faster: the weight is
/// brought into tiles for every product.
const TILED_ROWS: usize = 64;
const TILED_SIDE: usize = 64;

/// What a linear layer computes with.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// x, `[rows, input]`.
    pub x: &'a [f32],
    /// W, `[output, input]`.
    pub weight: Weight<'a>,
    /// b, `[output]`.
    pub bias: Option<&'a [f32]>,
    /// A, B and what belongs to them.
    pub low_rank: Option<LowRank<'a>>,
    /// Multiplies with a weight in bf16, to which x, and the output's gradient, are rounded then.
    pub unit: Option<TileUnit>,
    /// Rows of x.
    pub rows: usize,
    /// Numbers of a row of x.
    pub input: usize,
    /// Numbers of a row of the output.
    pub output: usize,
}

impl Linear<'_> {
    /// # Panics
    ///
    /// Where a slice is not of its shape.
    fn assert_shapes(&self) {
        let Self { x, weight, bias, low_rank, rows, input, output, .. } = *self;
        assert_eq!(x.len(), rows * input, "numbers of x");
        assert!(weight.len() >= output * input, "{} of {output} x {input} numbers of a weight", weight.len());
        assert!(bias.is_none_or(|bias| bias.len() == output), "a bias of other than {output} numbers");
        if let Some(LowRank { a, b, rank, .. }) = low_rank {
            assert_eq!([a.len(), b.len()], [rank * input, output * rank], "numbers of A and B");
        }
    }
}

/// One thing for each tensor of a linear layer whose gradient is made here; that of the weight is a plain product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinearGradients<G> {
    /// Of x, `[rows, input]`.
    pub x: G,
    /// Of A, `[rank, input]`.
    pub a: G,
    /// Of B, `[output, rank]`.
    pub b: G,
}

/// The output, `[rows, output]`.
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn linear(layer: &Linear<'_>) -> Vec<f32> {
    layer.assert_shapes();
    let mut out = through_weight(layer);
    if let Some(low_rank) = layer.low_rank {
        low_rank::add_forward(&low_rank, layer.x, [layer.input, layer.output], &mut out);
    }
    out
}

/// `x W^T + b`.
fn through_weight(layer: &Linear<'_>) -> Vec<f32> {
    let Linear { x, weight, bias, unit, rows, input, output, .. } = *layer;
    let shape = [output, input];
    match weight {
        _ if rows == 0 || input == 0 || output == 0 => {
            bias.map_or_else(|| zeros(rows * output), |bias| bias.repeat(rows))
        }
        Weight::Bf16(weight) if let Some(unit) = unit => {
            unit.rounded_product(x, Factor::transposed(Values::Bf16(weight), shape), bias)
        }
        weight if rows <= FEW => few_rows_product(x, weight, bias, [rows, input, output]),
        Weight::F32(weight) if let Some(unit) = for_f32([rows, input, output]) => {
            unit.product(x, Factor::transposed(Values::F32(weight), shape), bias)
        }
        weight => large_product(x, Factor::transposed(weight, shape), bias),
    }
}

/// The unit for a product of f32 that is large enough for it.
fn for_f32([rows, depth, columns]: [usize; 3]) -> Option<TileUnit> {
    let pays = unheld() && rows >= TILED_ROWS && depth.min(columns) >= TILED_SIDE;
    pays.then(TileUnit::for_f32).flatten()
}

/// The gradient of x, `[rows, input]`, through a weight `[output, input]` alone, from that of the output,
/// `[rows, output]`; for `unit` see [`Linear::unit`].
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn linear_input_gradient(
    weight: Weight<'_>,
    unit: Option<TileUnit>,
    gradient: &[f32],
    [rows, output, input]: [usize; 3],
) -> Vec<f32> {
    assert_eq!(gradient.len(), rows * output, "numbers of the output's gradient");
    let (shape, no_bias) = ([output, input], None);
    match (weight, unit) {
        _ if rows == 0 || output == 0 => zeros(rows * input),
        (Weight::Bf16(weight), Some(unit)) => {
            unit.rounded_product(gradient, Factor::plain(Values::Bf16(weight), shape), no_bias)
        }
        (Weight::F32(weight), _) if let Some(unit) = for_f32([rows, output, input]) => {
            unit.product(gradient, Factor::plain(Values::F32(weight), shape), no_bias)
        }
        (weight, _) => large_product(gradient, Factor::plain(weight, shape), no_bias),
    }
}

/// The gradients of a low-rank part alone that are wanted, from that of the output, `[rows, output]`: x `[rows, input]`.
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn low_rank_backward(
    low_rank: &LowRank<'_>,
    x: &[f32],
    [input, output]: [usize; 2],
    gradient: &[f32],
    wanted: LinearGradients<bool>,
) -> LinearGradients<Option<Vec<f32>>> {
    let LowRank { a, b, rank, .. } = *low_rank;
    assert_eq!([a.len(), b.len()], [rank * input, output * rank], "numbers of A and B");
    assert_eq!(x.len() * output, gradient.len() * input, "rows of x and of the output's gradient");
    let mut of_x = wanted.x.then(|| zeros(x.len()));
    let [a, b] =
        low_rank::backward(low_rank, x, [input, output], gradient, of_x.as_deref_mut(), [wanted.a, wanted.b]);
    LinearGradients { x: of_x, a, b }
}

/// The gradients that are wanted, from that of the output, `[rows, output]`.
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn linear_backward(
    layer: &Linear<'_>,
    gradient: &[f32],
    wanted: LinearGradients<bool>,
) -> LinearGradients<Option<Vec<f32>>> {
    layer.assert_shapes();
    let Linear { x, weight, unit, rows, input, output, .. } = *layer;
    assert_eq!(gradient.len(), rows * output, "numbers of the output's gradient");
    let mut of_x = wanted.x.then(|| linear_input_gradient(weight, unit, gradient, [rows, output, input]));
    let Some(low_rank) = layer.low_rank else { return LinearGradients { x: of_x, a: None, b: None } };
    let wanted = [wanted.a, wanted.b];
    let [a, b] = low_rank::backward(&low_rank, x, [input, output], gradient, of_x.as_deref_mut(), wanted);
    LinearGradients { x: of_x, a, b }
}
