//! A linear layer with optional bias and low-rank part: one matrix product for the weight, in the way that suits its
//! size, its type and the processor, then the low-rank part.
//!
//! Forward, with x `[rows, input]`, W `[output, input]`, b `[output]`, A `[rank, input]`, B `[output, rank]` and the
//! dropout's factors m `[rows, input]`: `h = (m * x) A^T`, `y = x W^T + b + scale * h B^T`. Backward, from dy
//! `[rows, output]`: `g = dy B`, `dx = dy W + scale * m * (g A)`, `dW = dy^T x`, `dA = scale * g^T (m * x)`,
//! `dB = scale * dy^T h`.

mod dropout;
mod low_rank;
mod row_norms;

pub use self::dropout::SeededDropout;
pub use self::low_rank::{LowRank, add_low_rank};
pub use self::row_norms::updated_row_norms;
use crate::memory::zeros;
use crate::products::{FEW, Factor, Matrix, Weight, few_rows_product, large_product};
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

/// One thing for each tensor of a linear layer over a frozen base; for a base that is trained see
/// [`linear_weight_gradient`].
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
    let rows_of_x = Matrix::dense(x, rows, input);
    match weight {
        _ if rows == 0 || input == 0 || output == 0 => {
            bias.map_or_else(|| zeros(rows * output), |bias| bias.repeat(rows))
        }
        Weight::Bf16(weight) if let Some(unit) = unit => {
            unit.rounded_product(rows_of_x, Factor::transposed(Values::Bf16(weight), shape), bias)
        }
        weight if rows <= FEW => few_rows_product(x, weight, bias, [rows, input, output]),
        Weight::F32(weight) if let Some(unit) = for_f32([rows, input, output]) => {
            unit.product(rows_of_x, Factor::transposed(Values::F32(weight), shape), bias)
        }
        weight => large_product(rows_of_x, Factor::transposed(weight, shape), bias),
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
    let gradient = Matrix::dense(gradient, rows, output);
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

/// The gradient of a weight, `[output, input]`, from x `[rows, input]` and that of the output, `[rows, output]`; with
/// `unit` both are rounded to bf16.
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn linear_weight_gradient(
    x: &[f32],
    unit: Option<TileUnit>,
    gradient: &[f32],
    [rows, output, input]: [usize; 3],
) -> Vec<f32> {
    assert_eq!([x.len(), gradient.len()], [rows * input, rows * output], "numbers of x and of the gradient");
    if rows == 0 || output == 0 || input == 0 {
        return zeros(output * input);
    }
    // The narrower one becomes the rows of the product, which are turned.
    let product = |of_rows, height, of_columns, width| {
        let (turned, shape) = (Matrix::dense(of_rows, rows, height).t(), [rows, width]);
        match unit {
            Some(unit) => unit.rounded_product(turned, Factor::plain(Values::F32(of_columns), shape), None),
            None => match for_f32([height, rows, width]) {
                Some(unit) => unit.product(turned, Factor::plain(Values::F32(of_columns), shape), None),
                None => large_product(turned, Factor::plain(Weight::F32(of_columns), shape), None),
            },
        }
    };
    if output <= input {
        product(gradient, output, x, input)
    } else {
        Matrix::dense(&product(x, input, gradient, output), input, output).by_columns()
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

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::testing::numbers;

    #[test]
    fn the_gradient_of_a_weight_equals_the_sums_in_f64() {
        for [rows, output, input] in
            [[1, 1, 1], [0, 2, 3], [3, 0, 2], [5, 7, 3], [5, 3, 7], [900, 20, 70], [70, 130, 65]]
        {
            let (x, gradient) = (numbers(1, rows * input), numbers(2, rows * output));
            for unit in [None, TileUnit::for_bf16()] {
                let entering = |value: f32| match unit {
                    Some(_) => f64::from(bf16::from_f32(value)),
                    None => f64::from(value),
                };
                let found = linear_weight_gradient(&x, unit, &gradient, [rows, output, input]);
                assert_eq!(found.len(), output * input);
                for (place, found) in found.iter().enumerate() {
                    let (row, column) = (place / input, place % input);
                    let term =
                        |at: usize| entering(gradient[at * output + row]) * entering(x[at * input + column]);
                    let terms = || (0..rows).map(term);
                    let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                    // A rounding of f32 is 6e-8 at most; they go either way.
                    let allowed = 6e-8 * (2.0 + (rows as f64).sqrt()) * size;
                    assert!(
                        (f64::from(*found) - sum).abs() <= allowed,
                        "{rows} x {output} x {input}, {unit:?}, {place}: {found} for {sum}"
                    );
                }
            }
        }
    }
}
