//! The linear layer on slices: one matrix product for the weight, in the way that suits its size, its type and the
//! processor, then the low-rank part.

use super::super::LinearGradients;
use super::few_rows::{self, FEW};
use super::low_rank::{self, Lora};
use super::product::product;
use super::tensors::zeros;
use super::tiles::{Native, Values};
use super::weight::{Factor, Weight};

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

/// The output, `[rows, output]`.
pub(super) fn forward(inputs: &Inputs<'_>) -> Vec<f32> {
    let mut out = through_weight(inputs);
    if let Some(lora) = inputs.lora {
        low_rank::add_forward(&lora, inputs.x, [inputs.input, inputs.output], &mut out);
    }
    out
}

/// `x W^T + b`.
fn through_weight(inputs: &Inputs<'_>) -> Vec<f32> {
    let Inputs { x, weight, bias, unit, rows, input, output, .. } = *inputs;
    let shape = [output, input];
    match weight {
        _ if rows == 0 || input == 0 || output == 0 => {
            bias.map_or_else(|| zeros(rows * output), |bias| bias.repeat(rows))
        }
        Weight::Bf16(weight) if let Some(unit) = unit => {
            unit.rounded_product(x, Factor::transposed(Values::Bf16(weight), shape), bias)
        }
        weight if rows <= FEW => few_rows::multiply(x, weight, bias, [rows, input, output]),
        Weight::F32(weight) if let Some(unit) = for_f32([rows, input, output]) => {
            unit.product(x, Factor::transposed(Values::F32(weight), shape), bias)
        }
        weight => product(x, Factor::transposed(weight, shape), bias),
    }
}

/// The unit for a product of f32 that is large enough for it.
fn for_f32([rows, depth, columns]: [usize; 3]) -> Option<Native> {
    let pays = rows >= TILED_ROWS && depth.min(columns) >= TILED_SIDE;
    pays.then(Native::for_f32).flatten()
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
        (weight, _) => product(gradient, Factor::plain(weight, shape), None),
    }
}

/// The gradients of x, A and B that are wanted, each of its tensor's shape, from that of the output, `[rows, output]`.
pub(super) fn backward(
    inputs: &Inputs<'_>,
    gradient: &[f32],
    wanted: LinearGradients<bool>,
) -> LinearGradients<Option<Vec<f32>>> {
    let Inputs { x, weight, unit, rows, input, output, .. } = *inputs;
    let mut of_x = wanted.x.then(|| input_gradient(weight, unit, gradient, [rows, output, input]));
    let Some(lora) = inputs.lora else { return LinearGradients { x: of_x, ..Default::default() } };
    let [a, b] =
        low_rank::backward(&lora, x, [input, output], gradient, of_x.as_deref_mut(), [wanted.a, wanted.b]);
    LinearGradients { x: of_x, a, b, ..Default::default() }
}
