//! A linear layer with optional bias and optional low-rank update as one operation (Hu et al. 2021, equation 3,
//! as PEFT computes it).
//!
//! Forward, with x `[rows, in]`, W `[out, in]`, b `[out]`, A `[r, in]`, B `[out, r]` and the dropout's factors m
//! `[rows, in]`: `h = (m * x) A^T`, `y = x W^T + b + scale * h B^T`. Backward, from dy `[rows, out]`:
//! `g = dy B`, `dx = dy W + scale * m * (g A)`, `dW = dy^T x`, `db = colsum(dy)`, `dA = scale * g^T (m * x)`,
//! `dB = scale * dy^T h`. Only the inputs are saved, and of a frozen layer W alone; h and m are worked out again.
//!
//! In half precision `x W^T` and `dy W` are made in the half type. The rest is too where the backend has x cast before, see
//! [`NeoBackend::rounds_factors`]; where it rounds factors on their way in, dW is made of rounded ones as well and the rest in
//! the type of x.

mod tracked;

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, QuantizedTensor};
use burn::tensor::{DType, Tensor, TensorPrimitive, s};

pub(super) use self::tracked::{tracked, tracked_low_rank, tracked_quantized};
use super::{Draws, Dropout, NeoBackend, Precision, dropout};

/// What a linear layer computes with.
#[derive(Clone, Debug)]
pub struct LinearInputs<F> {
    /// x, `[rows, in]`.
    pub x: F,
    /// W, `[out, in]`; a half type where x is f32, else of the type of x.
    pub weight: F,
    /// b, `[out]`.
    pub bias: Option<F>,
    /// The low-rank update.
    pub lora: Option<LoraInputs<F>>,
    /// In a half type, that of W: x, and the gradient of y in the backward pass, are rounded to it for the product with
    /// W. In f32 that product is made in the type of x, like all others.
    pub precision: Precision,
}

impl<F> LinearInputs<F> {
    /// A weight alone.
    pub fn plain(x: F, weight: F, precision: Precision) -> Self {
        Self { x, weight, bias: None, lora: None, precision }
    }
}

/// The low-rank part of a linear layer.
#[derive(Clone, Debug)]
pub struct LoraInputs<F> {
    /// A, `[r, in]`, of the type of x; or f32 where the backend joins products.
    pub a: F,
    /// B, `[out, r]`.
    pub b: F,
    /// The factor of the update.
    pub scale: f64,
    /// Which of its inputs are zeroed.
    pub dropout: Option<Dropout<F>>,
}

/// One thing for each tensor of a linear layer that may have a gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinearGradients<G> {
    /// Of x.
    pub x: G,
    /// Of W.
    pub weight: G,
    /// Of the bias.
    pub bias: G,
    /// Of A.
    pub a: G,
    /// Of B.
    pub b: G,
}

/// A low-rank update as tensors.
#[derive(Clone, Debug)]
pub struct LoraUpdate<B: Backend> {
    /// A, `[r, in]`.
    pub a: Tensor<B, 2>,
    /// B, `[out, r]`.
    pub b: Tensor<B, 2>,
    /// The factor of the update.
    pub scale: f64,
    /// Share of its inputs that are zeroed while gradients are recorded, at least 0 and below 1.
    pub dropout: f64,
}

/// What a linear layer multiplies with, as tensors.
#[derive(Clone, Debug)]
pub struct LinearWeights<B: Backend> {
    /// W, `[out, in]`; it may be kept smaller than an x of f32, in half or quantised.
    pub weight: Tensor<B, 2>,
    /// b, `[out]`.
    pub bias: Option<Tensor<B, 1>>,
    /// The low-rank update.
    pub update: Option<LoraUpdate<B>>,
}

impl<B: Backend> From<Tensor<B, 2>> for LinearWeights<B> {
    /// W alone.
    fn from(weight: Tensor<B, 2>) -> Self {
        Self { weight, bias: None, update: None }
    }
}

/// `x W^T + b + scale * (dropout(x) A^T) B^T`, with the products in `precision` and the result in the type of x: x
/// `[rows, in]` to `[rows, out]`, the rest as [`LinearWeights`] and [`LoraUpdate`] say. In a half type the bias is added
/// in its own type. An x of the products' half type gives one.
///
/// Dropout follows the backend's generator, and so its seed; it does nothing on a backend that records no
/// gradients.
///
/// # Panics
///
/// On mixtures of types other than a smaller W: some backends would compute something else without a word.
pub fn linear<B: NeoBackend>(
    x: Tensor<B, 2>,
    layer: impl Into<LinearWeights<B>>,
    precision: Precision,
) -> Tensor<B, 2> {
    linear_drawing(x, layer, precision, &mut Draws::New)
}

/// As [`linear`], with the dropout that `draws` gives.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_drawing<B: NeoBackend>(
    x: Tensor<B, 2>,
    layer: impl Into<LinearWeights<B>>,
    precision: Precision,
    draws: &mut Draws<B>,
) -> Tensor<B, 2> {
    let layer = layer.into();
    let Some(half) = precision.half() else { return multiplied(x, layer, precision, draws) };
    let weight = layer.weight.cast(half);
    if B::rounds_factors(precision) {
        return multiplied(x, LinearWeights { weight, ..layer }, precision, draws);
    }
    let given = x.dtype();
    // A kernel of its own reads the adapter as it is.
    let update = layer.update.map(|update| if B::joins_products() { update } else { update.cast(half) });
    let layer_in_half = LinearWeights { weight, bias: None, update };
    let product = multiplied(x.cast(half), layer_in_half, Precision::F32, draws);
    match layer.bias {
        Some(bias) => (product.cast(bias.dtype()) + bias.unsqueeze()).cast(given),
        None => product.cast(given),
    }
}

/// As [`linear`], by the backend's operation: with x and weight as `precision` has them there.
fn multiplied<B: NeoBackend>(
    x: Tensor<B, 2>,
    layer: LinearWeights<B>,
    precision: Precision,
    draws: &mut Draws<B>,
) -> Tensor<B, 2> {
    let LinearWeights { weight, bias, update } = layer;
    assert_weight_type(x.dtype(), weight.dtype());
    assert_types_of_rest(x.dtype(), bias.as_ref(), update.as_ref());
    let (lora, bias) = (update.map(|update| update.inputs(&x, draws)), bias.map(unwrap));
    match weight.into_primitive() {
        TensorPrimitive::Float(weight) => {
            wrap(B::lora_linear(LinearInputs { x: unwrap(x), weight, bias, lora, precision }))
        }
        TensorPrimitive::QFloat(weight) => {
            let (rows, x) = (0..x.dims()[0], unwrap(x));
            let y = B::quantized_linear(x.clone(), weight, bias);
            wrap(match lora {
                Some(lora) => B::add_low_rank(y, x, rows, lora),
                None => y,
            })
        }
    }
}

impl<B: NeoBackend> LoraUpdate<B> {
    /// The same in another float type; gradients come back in the matrices' own.
    fn cast(self, dtype: DType) -> Self {
        Self { a: self.a.cast(dtype), b: self.b.cast(dtype), ..self }
    }

    /// With the elements of `x` that are dropped this time.
    fn inputs(self, x: &Tensor<B, 2>, draws: &mut Draws<B>) -> LoraInputs<FloatTensor<B>> {
        let drops = self.dropout > 0.0 && B::ad_enabled(&x.device());
        let dropout = drops.then(|| draws.next(&unwrap(x.clone()), self.dropout));
        LoraInputs { a: unwrap(self.a), b: unwrap(self.b), scale: self.scale, dropout }
    }
}

/// Refuses a weight whose type cannot be brought to that of the input without a loss.
pub(super) fn assert_weight_type(input: DType, weight: DType) {
    let smaller = matches!(weight, DType::F16 | DType::BF16 | DType::QFloat(_));
    assert!(
        input == weight || (input == DType::F32 && smaller),
        "a linear layer got an input of {input:?} and a weight of {weight:?}: expected the same type, or an input of \
         F32 and a weight that is kept in half or quantised"
    );
}

/// Refuses a bias or an adapter of another type than the input's.
fn assert_types_of_rest<B: NeoBackend>(
    input: DType,
    bias: Option<&Tensor<B, 1>>,
    update: Option<&LoraUpdate<B>>,
) {
    let of_update = update.into_iter().flat_map(|update| [("A", update.a.dtype()), ("B", update.b.dtype())]);
    for (what, found) in bias.map(|bias| ("bias", bias.dtype())).into_iter().chain(of_update) {
        let kept_in_full = what != "bias" && found == DType::F32 && B::joins_products();
        assert!(
            input == found || kept_in_full,
            "a linear layer got an input of {input:?} and a {what} of {found:?}: expected the same type"
        );
    }
}

fn wrap<B: Backend, const D: usize>(tensor: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

fn unwrap<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// The default of [`NeoBackend::lora_linear`].
pub(super) fn plain<B: NeoBackend>(inputs: LinearInputs<FloatTensor<B>>) -> FloatTensor<B> {
    let (x, weight) = (wrap::<B, 2>(inputs.x), wrap::<B, 2>(inputs.weight));
    let mut y = product(x.clone(), weight.transpose(), inputs.precision);
    if let Some(bias) = inputs.bias {
        y = y + wrap::<B, 1>(bias).unsqueeze();
    }
    if let Some(lora) = inputs.lora {
        y = y + low_rank(x, lora);
    }
    unwrap(y)
}

/// A product with a weight, in the type of x; in a half type its factors are rounded to it.
fn product<B: NeoBackend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, precision: Precision) -> Tensor<B, 2> {
    let dtype = x.dtype();
    match precision.half() {
        Some(half) => multiply(x.cast(half), weight.cast(half)).cast(dtype),
        None => multiply(x, weight.cast(dtype)),
    }
}

/// The product of two matrices by the backend's own way.
fn multiply<B: NeoBackend>(lhs: Tensor<B, 2>, rhs: Tensor<B, 2>) -> Tensor<B, 2> {
    wrap(B::product(unwrap(lhs), unwrap(rhs)))
}

/// `scale * (dropout(x) A^T) B^T`.
fn low_rank<B: NeoBackend>(x: Tensor<B, 2>, lora: LoraInputs<FloatTensor<B>>) -> Tensor<B, 2> {
    let dropped = match lora.dropout {
        Some(dropout) => x.clone() * dropout::factors(dropout, &x),
        None => x,
    };
    let reduced = dropped.matmul(wrap::<B, 2>(lora.a).transpose());
    reduced.matmul(wrap::<B, 2>(lora.b).transpose()) * lora.scale
}

/// `y` `[rows of y, out]` with the low-rank part `scale * (x A^T) B^T` of `x` `[rows of x, in]` added to `rows` of both:
/// a layer of which each row has an update of its own.
///
/// # Panics
///
/// As [`linear`].
pub fn add_low_rank<B: NeoBackend>(
    y: Tensor<B, 2>,
    x: Tensor<B, 2>,
    rows: Range<usize>,
    update: LoraUpdate<B>,
) -> Tensor<B, 2> {
    assert_types_of_rest(x.dtype(), None, Some(&update));
    let lora = update.inputs(&x, &mut Draws::New);
    wrap(B::add_low_rank(unwrap(y), unwrap(x), rows, lora))
}

/// The default of [`NeoBackend::add_low_rank`].
pub(super) fn plain_add_low_rank<B: NeoBackend>(
    y: FloatTensor<B>,
    x: FloatTensor<B>,
    rows: Range<usize>,
    lora: LoraInputs<FloatTensor<B>>,
) -> FloatTensor<B> {
    let (x, y) = (wrap::<B, 2>(x), wrap::<B, 2>(y));
    let [all, _] = y.dims();
    if rows == (0..all) {
        return unwrap(y + low_rank(x, lora));
    }
    let part = s![rows, ..];
    let added = y.clone().slice(part) + low_rank(x.slice(part), lora);
    unwrap(y.slice_assign(part, added))
}

/// The default of [`NeoBackend::quantized_linear`].
pub(super) fn plain_quantized<B: NeoBackend>(
    x: FloatTensor<B>,
    weight: QuantizedTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let dtype = wrap::<B, 2>(x.clone()).dtype();
    let weight =
        unwrap(Tensor::<B, 2>::from_primitive(TensorPrimitive::QFloat(weight)).dequantize().cast(dtype));
    B::lora_linear(LinearInputs { bias, ..LinearInputs::plain(x, weight, Precision::F32) })
}

/// The default of [`NeoBackend::quantized_input_gradient`].
pub(super) fn plain_quantized_input_gradient<B: NeoBackend>(
    weight: QuantizedTensor<B>,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let dtype = wrap::<B, 2>(gradient.clone()).dtype();
    let weight = Tensor::<B, 2>::from_primitive(TensorPrimitive::QFloat(weight)).dequantize().cast(dtype);
    B::linear_input_gradient(unwrap(weight), gradient, Precision::F32)
}

/// The default of [`NeoBackend::lora_linear_backward`].
pub(super) fn plain_backward<B: NeoBackend>(
    inputs: LinearInputs<FloatTensor<B>>,
    wanted: LinearGradients<bool>,
    gradient: FloatTensor<B>,
) -> LinearGradients<Option<FloatTensor<B>>> {
    let x = wrap::<B, 2>(inputs.x);
    let gradient = wrap::<B, 2>(gradient);
    let (weight, precision) = (inputs.weight, inputs.precision);
    let mut of_x = wanted
        .x
        .then(|| wrap::<B, 2>(plain_input_gradient::<B>(weight, unwrap(gradient.clone()), precision)));
    let of_weight = wanted
        .weight
        .then(|| B::linear_weight_gradient(unwrap(x.clone()), unwrap(gradient.clone()), precision));
    let of_bias =
        wanted.bias.then(|| wrap::<B, 1>(B::column_sums(unwrap(gradient.clone()))).cast(gradient.dtype()));
    let (mut of_a, mut of_b) = (None, None);
    if let Some(lora) = inputs.lora {
        let wanted = LinearGradients { x: of_x.is_some(), ..wanted };
        let of_update = plain_low_rank_backward::<B>(unwrap(x), lora, wanted, unwrap(gradient));
        of_x = of_x.zip(of_update.x).map(|(of_weight, of_update)| of_weight + wrap(of_update));
        (of_a, of_b) = (of_update.a, of_update.b);
    }
    LinearGradients { x: of_x.map(unwrap), weight: of_weight, bias: of_bias.map(unwrap), a: of_a, b: of_b }
}

/// The default of [`NeoBackend::low_rank_backward`].
pub(super) fn plain_low_rank_backward<B: NeoBackend>(
    x: FloatTensor<B>,
    lora: LoraInputs<FloatTensor<B>>,
    wanted: LinearGradients<bool>,
    gradient: FloatTensor<B>,
) -> LinearGradients<Option<FloatTensor<B>>> {
    let (x, gradient) = (wrap::<B, 2>(x), wrap::<B, 2>(gradient));
    let (a, b) = (wrap::<B, 2>(lora.a), wrap::<B, 2>(lora.b));
    let factors = lora.dropout.map(|dropout| dropout::factors(dropout, &x));
    let drop = |x: Tensor<B, 2>| match &factors {
        Some(factors) => x * factors.clone(),
        None => x,
    };
    let reduced_gradient = gradient.clone().matmul(b) * lora.scale;
    let of_x = wanted.x.then(|| drop(reduced_gradient.clone().matmul(a.clone())));
    let dropped = drop(x);
    let of_b = wanted.b.then(|| {
        let reduced = dropped.clone().matmul(a.transpose());
        gradient.transpose().matmul(reduced) * lora.scale
    });
    let of_a = wanted.a.then(|| reduced_gradient.transpose().matmul(dropped));
    LinearGradients { x: of_x.map(unwrap), a: of_a.map(unwrap), b: of_b.map(unwrap), ..Default::default() }
}

/// The default of [`NeoBackend::column_sums`].
pub(super) fn plain_column_sums<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let x = wrap::<B, 2>(x);
    let x = if matches!(x.dtype(), DType::F16 | DType::BF16) { x.cast(DType::F32) } else { x };
    unwrap(x.sum_dim(0).squeeze_dim::<1>(0))
}

/// The default of [`NeoBackend::linear_input_gradient`].
pub(super) fn plain_input_gradient<B: NeoBackend>(
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    precision: Precision,
) -> FloatTensor<B> {
    unwrap(product(wrap::<B, 2>(gradient), wrap::<B, 2>(weight), precision))
}

#[cfg(test)]
mod tests;
