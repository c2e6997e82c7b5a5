//! Linear layers with an adapter: the base's product is Burn's, the low-rank part joins it in kernels.

use std::ops::Range;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorMetadata, TensorPrimitive};
use gptneo_cubes::{DropoutRule, LARGEST_RANK, LowRankShape};
use gptneo_kernels::SeededDropout;

use super::super::{
    Dropout, Follow, LinearGradients, LinearInputs, LoraInputs, NeoBackend, few_rows, linear,
};
use super::{OnCubes, is_number, kernels};

/// The rule as kernels have it.
pub(super) fn rule_of(rule: SeededDropout) -> DropoutRule {
    DropoutRule { seed: rule.seed(), threshold: rule.threshold(), factor: rule.factor_of_kept() }
}

/// What a kernel goes by, where there is one for these: x and y of one float type, the adapter in f32, a rank that fits,
/// elements dropped by a rule.
fn shape<B: OnCubes>(
    x: &FloatTensor<B>,
    output: &FloatTensor<B>,
    rows: Range<usize>,
    lora: &LoraInputs<FloatTensor<B>>,
) -> Option<LowRankShape> {
    let ([rank, input], [_, output_size]) = (lora.a.shape().dims(), output.shape().dims());
    let dropout = match &lora.dropout {
        None => None,
        Some(Dropout::Seeded(rule)) => Some(rule_of(*rule)),
        Some(Dropout::Mask(_)) => return None,
    };
    let fits = is_number(x.dtype())
        && x.dtype() == output.dtype()
        && [&lora.a, &lora.b].into_iter().all(|matrix| matrix.dtype() == DType::F32)
        && (1..=LARGEST_RANK).contains(&rank);
    fits.then(|| LowRankShape {
        rows: (rows.start, rows.end),
        input,
        output: output_size,
        rank,
        scale: lora.scale as f32,
        dropout,
        number: x.dtype().into(),
    })
}

/// The adapter in the type of x, for the plain operations.
fn in_type_of<B: OnCubes>(
    x: &FloatTensor<B>,
    lora: LoraInputs<FloatTensor<B>>,
) -> LoraInputs<FloatTensor<B>> {
    let dtype = x.dtype();
    LoraInputs { a: cast::<B>(lora.a, dtype), b: cast::<B>(lora.b, dtype), ..lora }
}

fn cast<B: OnCubes>(tensor: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(tensor)).cast(dtype).into_primitive().tensor()
}

/// The layer.
pub(super) fn lora_linear<B: OnCubes>(mut inputs: LinearInputs<FloatTensor<B>>) -> FloatTensor<B> {
    let Some(lora) = inputs.lora.take() else { return base::<B>(inputs) };
    let (x, [rows, _]) = (inputs.x.clone(), inputs.x.shape().dims());
    add_low_rank::<B>(base::<B>(inputs), x, 0..rows, lora)
}

/// The layer without its adapter.
fn base<B: OnCubes>(inputs: LinearInputs<FloatTensor<B>>) -> FloatTensor<B> {
    let [rows, _] = inputs.x.shape().dims();
    let few = rows <= B::few_rows() && inputs.bias.is_none() && inputs.x.dtype() == DType::F32;
    if !few {
        return linear::plain::<B>(inputs);
    }
    few_rows::only::<B>(B::few_rows_products(inputs.x, vec![inputs.weight], Follow::Nothing))
}

/// y with the low-rank part of these rows.
pub(super) fn add_low_rank<B: OnCubes>(
    y: FloatTensor<B>,
    x: FloatTensor<B>,
    rows: Range<usize>,
    lora: LoraInputs<FloatTensor<B>>,
) -> FloatTensor<B> {
    let [all, _] = x.shape().dims();
    // A seed speaks of the rows of all of x.
    let shape =
        shape::<B>(&x, &y, rows.clone(), &lora).filter(|_| lora.dropout.is_none() || rows == (0..all));
    let Some(shape) = shape else {
        let lora = in_type_of::<B>(&x, lora);
        return linear::plain_add_low_rank::<B>(y, x, rows, lora);
    };
    kernels::add_low_rank([y, x, lora.a, lora.b], shape)
}

/// The layer's gradients, that of x added to what it is so far.
pub(super) fn lora_linear_backward<B: OnCubes>(
    mut inputs: LinearInputs<FloatTensor<B>>,
    wanted: LinearGradients<bool>,
    gradient: FloatTensor<B>,
    so_far: Option<FloatTensor<B>>,
) -> LinearGradients<Option<FloatTensor<B>>> {
    let Some(lora) = inputs.lora.take() else {
        let found = linear::plain_backward::<B>(inputs, wanted, gradient);
        return LinearGradients { x: sum::<B>(found.x, so_far), ..found };
    };
    let of_base = LinearGradients { a: false, b: false, ..wanted };
    let x = inputs.x.clone();
    let of_base = linear::plain_backward::<B>(inputs, of_base, gradient.clone());
    let of_update = low_rank_backward_onto::<B>(x, lora, wanted, gradient, of_base.x, so_far);
    LinearGradients { weight: of_base.weight, bias: of_base.bias, ..of_update }
}

/// The gradients of the low-rank part alone.
pub(super) fn low_rank_backward<B: OnCubes>(
    x: FloatTensor<B>,
    lora: LoraInputs<FloatTensor<B>>,
    wanted: LinearGradients<bool>,
    gradient: FloatTensor<B>,
) -> LinearGradients<Option<FloatTensor<B>>> {
    let zeros = wanted.x.then(|| B::float_zeros(x.shape(), &B::float_device(&x), x.dtype().into()));
    let no_more = None;
    low_rank_backward_onto::<B>(x, lora, wanted, gradient, zeros, no_more)
}

/// What is there of two.
fn sum<B: OnCubes>(one: Option<FloatTensor<B>>, other: Option<FloatTensor<B>>) -> Option<FloatTensor<B>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(B::float_add(one, other)),
        (one, other) => one.or(other),
    }
}

/// The gradients of the low-rank part, that of x added to what the rest of the layer has of it, and to what it is so far.
fn low_rank_backward_onto<B: OnCubes>(
    x: FloatTensor<B>,
    lora: LoraInputs<FloatTensor<B>>,
    wanted: LinearGradients<bool>,
    gradient: FloatTensor<B>,
    of_x: Option<FloatTensor<B>>,
    so_far: Option<FloatTensor<B>>,
) -> LinearGradients<Option<FloatTensor<B>>> {
    let [rows, _] = x.shape().dims();
    let like_x = so_far.as_ref().is_none_or(|so_far| so_far.dtype() == x.dtype());
    let Some(shape) = shape::<B>(&x, &gradient, 0..rows, &lora).filter(|_| like_x) else {
        let full = lora.a.dtype();
        let lora = in_type_of::<B>(&x, lora);
        let found = linear::plain_low_rank_backward::<B>(x, lora, wanted, gradient);
        let of_x = sum::<B>(of_x.zip(found.x).map(|(one, other)| B::float_add(one, other)), so_far);
        let [a, b] = [found.a, found.b].map(|found| found.map(|found| cast::<B>(found, full)));
        return LinearGradients { x: of_x, a, b, ..Default::default() };
    };
    let ([a, b], of_x) = kernels::low_rank_backward([x, gradient, lora.a, lora.b], of_x, so_far, shape);
    LinearGradients { x: of_x, a: wanted.a.then_some(a), b: wanted.b.then_some(b), ..Default::default() }
}
