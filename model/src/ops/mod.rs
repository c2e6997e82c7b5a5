//! The operations worth a formula of their own: a backend-extension trait whose defaults are plain Burn
//! operations, with a hand-written backward pass where autodiff would keep too much.
//!
//! A backend joins with an empty `impl`; one that has a faster kernel overrides the method it is faster at.

mod adamw;
mod attention;
mod autodiff;
mod backends;
mod backward_from;
mod cached_attention;
mod cross_entropy;
#[cfg(feature = "cubes")]
mod cube;
mod dora;
mod draws;
mod dropout;
mod embedding;
#[cfg(feature = "flex")]
mod flex;
mod gelu;
mod layer_norm;
mod linear;
mod precision;
#[cfg(test)]
mod testing;

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor, QuantizedTensor};
use burn::tensor::{Tensor, TensorPrimitive, s};

pub use adamw::{AdamWRule, AdamWStep, AdamWTensors, GradientFactors};
pub use attention::{AttentionRule, causal_attention};
pub use backward_from::backward_from;
pub use cached_attention::{CachedText, CachedTexts, cached_attention};
pub(crate) use cross_entropy::CHUNK as HEAD_ROWS;
pub use cross_entropy::{cross_entropy_sum, token_nll};
pub(crate) use dora::row_norms;
pub use dora::{dropped, updated_row_norms};
pub use draws::Draws;
pub use dropout::Dropout;
pub use embedding::embedding_rows;
pub use gelu::gelu_new;
pub use layer_norm::layer_norm;
pub use linear::{
    LinearGradients, LinearInputs, LinearWeights, LoraInputs, LoraUpdate, add_low_rank, linear,
    linear_drawing,
};
pub use precision::Precision;

/// The fewest rows of a pass of whole blocks over prompts; it has a multiple of these.
pub(crate) const WIDE_ROWS: usize = 64;

/// The most rows that go through a backend without kernels of its own beside rows that are decoded.
const PLAIN_NARROW_ROWS: usize = 512;

/// Whether an operation's own weights are trained: then its backward pass makes their gradients as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// They stay as they are, and get no gradient.
    Frozen,
    /// They get gradients.
    Trained,
}

impl Parameters {
    /// As what they are used for says.
    pub(crate) fn trained_if(trained: bool) -> Self {
        if trained { Self::Trained } else { Self::Frozen }
    }

    /// Whether they get gradients.
    pub fn are_trained(self) -> bool {
        self == Self::Trained
    }
}

/// What GPT-Neo asks of a backend beyond Burn's own operations.
///
/// An operation comes with the method that its backward pass calls on the inner backend.
pub trait NeoBackend: Backend {
    /// Runs `work` where the backend's operations start soonest.
    fn on_compute_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        work()
    }

    /// Causal attention of `query` `[batch, queries, hidden]` over `key` and `value` `[batch, keys, hidden]`,
    /// with `padding` `[batch, keys]`; see [`causal_attention`].
    fn causal_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        rule: AttentionRule,
        padding: Option<BoolTensor<Self>>,
    ) -> FloatTensor<Self> {
        attention::plain::<Self>(query, key, value, rule, padding)
    }

    /// The gradients of [`NeoBackend::causal_attention`] with respect to query, key and value, each of its input's
    /// shape; `gradient` is that of the output.
    fn causal_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        rule: AttentionRule,
        padding: Option<BoolTensor<Self>>,
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3] {
        attention::plain_backward::<Self>(query, key, value, rule, padding, gradient)
    }

    /// Attention of `query` `[rows, hidden]` over `keys` and `values` `[places, hidden]` of many texts; see
    /// [`cached_attention()`].
    fn cached_attention(
        query: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        rule: AttentionRule,
        texts: &CachedTexts<Self>,
    ) -> FloatTensor<Self> {
        cached_attention::plain::<Self>(query, keys, values, rule, texts)
    }

    /// `cache` `[places, hidden]` with the rows of `new` `[rows, hidden]` at these places. A cache that nothing else holds
    /// is written in place.
    fn write_rows(cache: FloatTensor<Self>, places: &[usize], new: FloatTensor<Self>) -> FloatTensor<Self> {
        plain_write_rows::<Self>(cache, places, new)
    }

    /// The most rows of a product or an attention of which each is the same, to the last bit, however many there are;
    /// where a backend does not promise that, as many as it likes. Beyond, from `WIDE_ROWS` on, that holds again, with
    /// sums in another order.
    fn narrow_rows() -> usize {
        PLAIN_NARROW_ROWS
    }

    /// `y` `[rows of y, out]` with the low-rank update of `x` `[rows of x, in]` added to `rows` of both; see
    /// [`add_low_rank()`].
    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        rows: Range<usize>,
        lora: LoraInputs<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        linear::plain_add_low_rank::<Self>(y, x, rows, lora)
    }

    /// The gradients of [`NeoBackend::add_low_rank`] over all rows with respect to x, A and B that are `wanted`;
    /// `gradient` is that of y, which hands it on as it is.
    fn low_rank_backward(
        x: FloatTensor<Self>,
        lora: LoraInputs<FloatTensor<Self>>,
        wanted: LinearGradients<bool>,
        gradient: FloatTensor<Self>,
    ) -> LinearGradients<Option<FloatTensor<Self>>> {
        linear::plain_low_rank_backward::<Self>(x, lora, wanted, gradient)
    }

    /// A linear layer, `[rows, in]` to `[rows, out]`, with bias and low-rank update where they are given; see
    /// [`linear()`].
    fn lora_linear(inputs: LinearInputs<FloatTensor<Self>>) -> FloatTensor<Self> {
        linear::plain::<Self>(inputs)
    }

    /// A linear layer with a quantised weight, `[rows, in]` to `[rows, out]`; see [`linear()`].
    fn quantized_linear(
        x: FloatTensor<Self>,
        weight: QuantizedTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        linear::plain_quantized::<Self>(x, weight, bias)
    }

    /// The gradient of the input of [`NeoBackend::quantized_linear`], `[rows, in]`, from that of its output,
    /// `[rows, out]`.
    fn quantized_input_gradient(
        weight: QuantizedTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        linear::plain_quantized_input_gradient::<Self>(weight, gradient)
    }

    /// The rows of a quantised `table` `[rows, hidden]` that `indices` `[count]` name, `[count, hidden]`.
    fn quantized_rows(table: QuantizedTensor<Self>, indices: IntTensor<Self>) -> FloatTensor<Self> {
        embedding::plain_rows::<Self>(table, indices)
    }

    /// The gradients of [`NeoBackend::lora_linear`] that are `wanted`; `gradient` is that of the output,
    /// `[rows, out]`.
    fn lora_linear_backward(
        inputs: LinearInputs<FloatTensor<Self>>,
        wanted: LinearGradients<bool>,
        gradient: FloatTensor<Self>,
    ) -> LinearGradients<Option<FloatTensor<Self>>> {
        linear::plain_backward::<Self>(inputs, wanted, gradient)
    }

    /// The gradient of a linear layer's input, `[rows, in]`, from its `weight` `[out, in]` and the gradient of its output,
    /// `[rows, out]`: all that a frozen layer's backward pass asks for. For `precision` see
    /// [`LinearInputs::precision`].
    fn linear_input_gradient(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        linear::plain_input_gradient::<Self>(weight, gradient, precision)
    }

    /// Whether products in these numbers are made with factors of f32 that are rounded on their way in. Elsewhere they
    /// are cast before.
    fn rounds_factors(_precision: Precision) -> bool {
        false
    }

    /// Draws from the backend's generator which elements of `x` `[rows, in]` are dropped with this probability.
    fn draw_dropout(x: &FloatTensor<Self>, probability: f64) -> Dropout<FloatTensor<Self>> {
        dropout::draw_mask::<Self>(x, probability)
    }

    /// The length of each row of `weight + scale * b a`, `[out]`; see [`updated_row_norms()`].
    fn updated_row_norms(
        weight: TensorPrimitive<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        dora::plain_row_norms::<Self>(weight, a, b, scale)
    }

    /// GELU in its tanh form, elementwise; see [`gelu_new`].
    fn gelu_new(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::forward::<Self>(x)
    }

    /// The gradient of [`NeoBackend::gelu_new`] with respect to `x`, given the output's gradient `dy`; all
    /// `[rows, columns]`.
    fn gelu_new_backward(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::backward::<Self>(x, dy)
    }

    /// Layer norm of each row; see [`layer_norm()`]. (Burn's own trait has a `layer_norm` already, without a backward
    /// pass.)
    ///
    /// Shapes: `x` `[rows, hidden]`, `weight` and `bias` `[hidden]`.
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm::forward::<Self>(x, weight, bias, epsilon)
    }

    /// The gradients of [`NeoBackend::layer_norm_rows`] with respect to `x`, `[rows, hidden]`, and, where they are
    /// trained, weight and bias, `[hidden]` each, given the output's gradient `dy`.
    fn layer_norm_rows_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
        parameters: Parameters,
    ) -> (FloatTensor<Self>, Option<[FloatTensor<Self>; 2]>) {
        layer_norm::backward::<Self>(x, weight, dy, epsilon, parameters)
    }

    /// The negative log-likelihood of each row's target under a linear head, `[rows]`; see [`token_nll`].
    ///
    /// Shapes: `hidden` `[rows, hidden]`, `weight` `[vocabulary, hidden]`, which may be quantised, `targets` `[rows]`; for
    /// `precision` see [`LinearInputs::precision`].
    fn token_nll(
        hidden: FloatTensor<Self>,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        cross_entropy::rows::<Self>(hidden, weight, targets, precision)
    }

    /// The summed cross-entropy of a linear head, `[1]`; see [`cross_entropy_sum`].
    ///
    /// Shapes and `precision` as in [`NeoBackend::token_nll`].
    fn cross_entropy_sum(
        hidden: FloatTensor<Self>,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        Self::float_sum(Self::token_nll(hidden, weight, targets, precision))
    }

    /// [`NeoBackend::cross_entropy_sum`] with its gradients with respect to `hidden`, `[rows, hidden]`, and, where
    /// it is trained, `weight`, `[vocabulary, hidden]`.
    fn cross_entropy_gradients(
        hidden: FloatTensor<Self>,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
        head: Parameters,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>) {
        cross_entropy::gradients::<Self>(hidden, weight, targets, precision, head)
    }

    /// Two numbers of all `gradients` together, at least one, f32 `[2]`: the sum of the squares of their elements, each
    /// multiplied with `unscale` before, and 0 if every element is finite, else a positive number. Without `unscale` a
    /// backend need not look for the second.
    fn gradient_sums(gradients: Vec<FloatTensor<Self>>, unscale: Option<f64>) -> FloatTensor<Self> {
        adamw::plain_sums::<Self>(gradients, unscale)
    }

    /// A step of AdamW for all these parameters, in their order; see [`AdamWRule`].
    fn adamw(
        tensors: Vec<AdamWTensors<FloatTensor<Self>>>,
        rule: AdamWRule,
    ) -> Vec<AdamWStep<FloatTensor<Self>>> {
        adamw::plain::<Self>(tensors, rule)
    }
}

/// The default of [`NeoBackend::write_rows`]: places that follow one another are written together.
fn plain_write_rows<B: Backend>(
    mut cache: FloatTensor<B>,
    places: &[usize],
    new: FloatTensor<B>,
) -> FloatTensor<B> {
    let mut row = 0;
    for run in places.chunk_by(|one, next| one + 1 == *next) {
        let rows = B::float_slice(new.clone(), &s![row..row + run.len(), ..]);
        cache = B::float_slice_assign(cache, &s![run[0]..run[0] + run.len(), ..], rows);
        row += run.len();
    }
    cache
}

/// `cache` `[places, hidden]` with the rows of `new` `[rows, hidden]` at these places; a cache that nothing else holds is
/// written in place.
pub fn write_rows<B: NeoBackend>(cache: Tensor<B, 2>, places: &[usize], new: Tensor<B, 2>) -> Tensor<B, 2> {
    let [cache, new] = [cache, new].map(|tensor| tensor.into_primitive().tensor());
    Tensor::from_primitive(TensorPrimitive::Float(B::write_rows(cache, places, new)))
}
