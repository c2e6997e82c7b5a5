//! The backend-extension trait: each operation with its plain default, and the method that its backward pass calls.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor, QuantizedTensor};
use burn::tensor::{DType, TensorPrimitive};

use super::{
    AdamWRule, AdamWStep, AdamWTensors, AttentionRule, CachedTexts, Dropout, Follow, LinearGradients,
    LinearInputs, LoraInputs, PLAIN_NARROW_ROWS, Parameters, Precision, Reading, adamw, attention, biased,
    cached_attention, cross_entropy, dora, dropout, embedding, few_rows, gelu, layer_norm, likeliest, linear,
    reading,
};

/// What GPT-Neo asks of a backend beyond Burn's own operations.
///
/// An operation comes with the method that its backward pass calls on the inner backend.
pub trait NeoBackend: Backend {
    /// Runs `work` where the backend's operations start soonest.
    fn on_compute_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        work()
    }

    /// Causal attention of `query` `[batch, queries, hidden]` over `key` and `value` `[batch, keys, hidden]`,
    /// with `padding` `[batch, keys]`; see [`super::causal_attention`].
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

    /// [`NeoBackend::cached_attention`] over `cache`, keys and values, once the `new` ones of each query, of its shape, are
    /// at these places in it; and the cache. A cache that nothing else holds is written in place.
    fn appended_attention(
        query: FloatTensor<Self>,
        new: [FloatTensor<Self>; 2],
        cache: [FloatTensor<Self>; 2],
        places: &[usize],
        rule: AttentionRule,
        texts: &CachedTexts<Self>,
    ) -> (FloatTensor<Self>, [FloatTensor<Self>; 2]) {
        cached_attention::plain_appended::<Self>(query, new, cache, places, rule, texts)
    }

    /// `cache` `[places, hidden]` with the rows of `new` `[rows, hidden]` at these places. A cache that nothing else holds
    /// is written in place.
    fn write_rows(cache: FloatTensor<Self>, places: &[usize], new: FloatTensor<Self>) -> FloatTensor<Self> {
        cached_attention::plain_write_rows::<Self>(cache, places, new)
    }

    /// The most rows of a product or an attention of which each is the same, to the last bit, however many there are;
    /// where a backend does not promise that, as many as it likes. Beyond, from `WIDE_ROWS` on, that holds again, with
    /// sums in another order.
    fn narrow_rows() -> usize {
        PLAIN_NARROW_ROWS
    }

    /// `y` `[rows of y, out]` with the low-rank update of `x` `[rows of x, in]` added to `rows` of both; see
    /// [`add_low_rank()`](super::add_low_rank()).
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

    /// As [`NeoBackend::lora_linear_backward`], the gradient of x added to what it is `so_far`.
    fn lora_linear_backward_onto(
        inputs: LinearInputs<FloatTensor<Self>>,
        wanted: LinearGradients<bool>,
        gradient: FloatTensor<Self>,
        so_far: FloatTensor<Self>,
    ) -> LinearGradients<Option<FloatTensor<Self>>> {
        let found = Self::lora_linear_backward(inputs, wanted, gradient);
        LinearGradients { x: found.x.map(|of_x| Self::float_add(of_x, so_far)), ..found }
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

    /// The gradient of a linear layer's weight, `[out, in]`, from its input `x` `[rows, in]` and the gradient of its output,
    /// `[rows, out]`, of one type, which is its own too. In a half type of `precision` both may be rounded to it.
    fn linear_weight_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        _precision: Precision,
    ) -> FloatTensor<Self> {
        Self::product(Self::float_transpose(gradient), x)
    }

    /// Whether products in these numbers are made with factors of f32 that are rounded on their way in. Elsewhere they
    /// are cast before.
    fn rounds_factors(_precision: Precision) -> bool {
        false
    }

    /// Whether it joins what stands around products: what follows one takes its bias along, see [`biased_gelu()`](super::biased_gelu()) and
    /// [`biased_sum()`](super::biased_sum()), and what passes between products stays in their half type. Elsewhere a product adds its bias
    /// itself, and takes and gives f32.
    fn joins_products() -> bool {
        false
    }

    /// The most rows that [`NeoBackend::few_rows_products`] takes; none where products of few rows are like all others.
    fn few_rows() -> usize {
        0
    }

    /// `x` `[rows, in]` of f32 times each of `weights` `[out, in]`, which may be kept in half, in one go with what follows;
    /// `[rows, out]` each. More than one weight is followed by nothing.
    fn few_rows_products(
        x: FloatTensor<Self>,
        weights: Vec<FloatTensor<Self>>,
        follow: Follow<FloatTensor<Self>>,
    ) -> Vec<FloatTensor<Self>> {
        few_rows::plain::<Self>(x, weights, follow)
    }

    /// The product of two matrices of one float type, `[m, k]` and `[k, n]`, each of which may be a transposed view, and of
    /// that type itself.
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(lhs, rhs)
    }

    /// The sum of each column of `x` `[rows, columns]`, `[columns]`; that of a half type in f32.
    fn column_sums(x: FloatTensor<Self>) -> FloatTensor<Self> {
        linear::plain_column_sums::<Self>(x)
    }

    /// The id of the largest of each row of `logits` `[rows, vocabulary]` of f32, the lowest of several, `[rows]`;
    /// -1 where one of the row is not a number.
    fn likeliest(logits: FloatTensor<Self>) -> IntTensor<Self> {
        likeliest::plain::<Self>(logits)
    }

    /// Seeds all that [`NeoBackend::draw_dropout`] and the backend's own operations draw from.
    fn seed_draws(device: &Self::Device, seed: u64) {
        Self::seed(device, seed);
    }

    /// Draws which elements of `x` `[rows, in]` are dropped with this probability.
    fn draw_dropout(x: &FloatTensor<Self>, probability: f64) -> Dropout<FloatTensor<Self>> {
        dropout::draw_mask::<Self>(x, probability)
    }

    /// The factors by which a rule drops elements, of the shape and type of `like` `[rows, columns]`.
    #[cfg(feature = "flex")]
    fn dropout_factors(rule: gptneo_kernels::SeededDropout, like: &FloatTensor<Self>) -> FloatTensor<Self> {
        dropout::host_factors::<Self>(rule, like)
    }

    /// The length of each row of `weight + scale * b a`, `[out]`; see [`updated_row_norms()`](super::updated_row_norms()).
    fn updated_row_norms(
        weight: TensorPrimitive<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        dora::plain_row_norms::<Self>(weight, a, b, scale)
    }

    /// GELU in its tanh form, elementwise; see [`super::gelu_new`].
    fn gelu_new(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::forward::<Self>(x)
    }

    /// The gradient of [`NeoBackend::gelu_new`] with respect to `x`, given the output's gradient `dy`; all
    /// `[rows, columns]`.
    fn gelu_new_backward(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::backward::<Self>(x, dy)
    }

    /// GELU of `x + bias` in the type of x; see [`biased_gelu()`](super::biased_gelu()).
    fn biased_gelu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        biased::plain_gelu::<Self>(x, bias)
    }

    /// The gradient of [`NeoBackend::biased_gelu`] with respect to `x`, given the output's gradient `dy`; all
    /// `[rows, columns]` and of one type.
    fn biased_gelu_backward(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        biased::plain_gelu_backward::<Self>(x, bias, dy)
    }

    /// `residual + x + bias` in the type of the residual; see [`biased_sum()`](super::biased_sum()).
    fn biased_sum(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        biased::plain_sum::<Self>(x, bias, residual)
    }

    /// Layer norm of each row of `x` `[rows, hidden]` by `weight` and `bias` `[hidden]`; see [`layer_norm()`]. (Burn's own
    /// trait has a `layer_norm` already, without a backward pass.)
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm::forward::<Self>(x, weight, bias, epsilon)
    }

    /// As [`NeoBackend::layer_norm_rows`], rounded to a half type.
    fn layer_norm_rows_in(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
        half: DType,
    ) -> FloatTensor<Self> {
        Self::float_cast(Self::layer_norm_rows(x, weight, bias, epsilon), half.into())
    }

    /// The gradients of [`NeoBackend::layer_norm_rows`] with respect to `x`, `[rows, hidden]`, and, where they are
    /// trained, weight and bias, `[hidden]` each, given the output's gradient `dy`, which may be of a half type where
    /// [`NeoBackend::layer_norm_rows_in`] gave that.
    fn layer_norm_rows_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
        parameters: Parameters,
    ) -> (FloatTensor<Self>, Option<[FloatTensor<Self>; 2]>) {
        layer_norm::backward::<Self>(x, weight, dy, epsilon, parameters)
    }

    /// The gradient of [`NeoBackend::layer_norm_rows`] with respect to `x` under frozen parameters, added to what it is
    /// `so_far`; all `[rows, hidden]`.
    fn layer_norm_rows_backward_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
        so_far: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (dx, _) = Self::layer_norm_rows_backward(x, weight, dy, epsilon, Parameters::Frozen);
        Self::float_add(dx, so_far)
    }

    /// The negative log-likelihood of each row's target under a linear head, `[rows]`; see [`super::token_nll`].
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

    /// The summed cross-entropy of a linear head, `[1]`; see [`super::cross_entropy_sum`].
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
    /// multiplied with `unscale` before, and a number below 1 if every element is finite, else 1 or more. Without `unscale` a
    /// backend need not look for the second.
    fn gradient_sums(gradients: Vec<FloatTensor<Self>>, unscale: Option<f64>) -> FloatTensor<Self> {
        adamw::plain_sums::<Self>(gradients, unscale)
    }

    /// A step of AdamW for all these parameters, in their order, by the `sums` that [`NeoBackend::gradient_sums`] gave of
    /// all gradients; see [`AdamWRule`]. Where a gradient or the sum of squares is not finite, parameters and moments come
    /// back as they are, the latter as zeros where there were none.
    fn adamw(
        tensors: Vec<AdamWTensors<FloatTensor<Self>>>,
        sums: FloatTensor<Self>,
        rule: AdamWRule,
    ) -> Vec<AdamWStep<FloatTensor<Self>>> {
        adamw::plain::<Self>(tensors, sums, rule)
    }

    /// Whether the device is apart from the host and works on while that hears what was found: then it is given the next
    /// work before, and what follows from logits is found where they are.
    fn works_ahead() -> bool {
        false
    }

    /// Sends tensors of one dimension on their way to the host as they are now, whatever the device is asked for after.
    fn read_later(floats: Vec<FloatTensor<Self>>, ints: Vec<IntTensor<Self>>) -> Reading {
        reading::plain::<Self>(floats, ints)
    }
}
