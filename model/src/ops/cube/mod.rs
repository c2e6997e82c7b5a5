//! The GPU backends, CUDA's and wgpu's, on the kernels of `gptneo-cubes`.
//!
//! What stands here chooses between a kernel and the plain default; `kernels.rs` turns tensors into what those take and
//! makes room for what they give. The kernels compute in f32; what passes between them and the products, which are Burn's
//! own, may be of a half type. Any other float type, and a mask of padding, takes the plain default.

mod cross_entropy;
mod kernels;
mod low_rank;
mod reading;

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{DType, TensorMetadata, TensorPrimitive};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};
use burn_flex::Flex;
use gptneo_cubes::MOST_FEW_ROWS;
use gptneo_kernels::SeededDropout;

use self::cross_entropy::Head;
use super::{
    AdamWRule, AdamWStep, AdamWTensors, AttentionRule, CachedTexts, Dropout, Follow, LinearGradients,
    LinearInputs, LoraInputs, NeoBackend, Parameters, Precision, Reading, WIDE_ROWS, adamw, attention,
    biased, cached_attention, dropout, few_rows, layer_norm, linear,
};

/// The most numbers of a head in a cache.
const LARGEST_CACHED_HEAD: usize = 256;

/// A backend on CubeCL: its tensors are those of its runtime.
pub trait OnCubes:
    Backend<FloatTensorPrimitive = CubeTensor<Self::Runtime>, IntTensorPrimitive = CubeTensor<Self::Runtime>>
{
    /// What compiles and runs its kernels.
    type Runtime: CubeRuntime;
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, T: BoolElement> OnCubes for CubeBackend<R, F, I, T> {
    type Runtime = R;
}

impl<B: OnCubes> NeoBackend for B {
    fn joins_products() -> bool {
        true
    }

    fn seed_draws(device: &B::Device, seed: u64) {
        B::seed(device, seed);
        Flex::seed(&Default::default(), seed);
    }

    fn draw_dropout(_x: &FloatTensor<B>, probability: f64) -> Dropout<FloatTensor<B>> {
        Dropout::Seeded(dropout::draw_rule(probability))
    }

    fn dropout_factors(rule: SeededDropout, like: &FloatTensor<B>) -> FloatTensor<B> {
        if !is_number(like.dtype()) {
            return dropout::host_factors::<B>(rule, like);
        }
        kernels::dropout_factors(like, low_rank::rule_of(rule))
    }

    fn lora_linear(inputs: LinearInputs<FloatTensor<B>>) -> FloatTensor<B> {
        low_rank::lora_linear::<B>(inputs)
    }

    fn lora_linear_backward(
        inputs: LinearInputs<FloatTensor<B>>,
        wanted: LinearGradients<bool>,
        gradient: FloatTensor<B>,
    ) -> LinearGradients<Option<FloatTensor<B>>> {
        let no_more = None;
        low_rank::lora_linear_backward::<B>(inputs, wanted, gradient, no_more)
    }

    fn lora_linear_backward_onto(
        inputs: LinearInputs<FloatTensor<B>>,
        wanted: LinearGradients<bool>,
        gradient: FloatTensor<B>,
        so_far: FloatTensor<B>,
    ) -> LinearGradients<Option<FloatTensor<B>>> {
        low_rank::lora_linear_backward::<B>(inputs, wanted, gradient, Some(so_far))
    }

    fn add_low_rank(
        y: FloatTensor<B>,
        x: FloatTensor<B>,
        rows: Range<usize>,
        lora: LoraInputs<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        low_rank::add_low_rank::<B>(y, x, rows, lora)
    }

    fn low_rank_backward(
        x: FloatTensor<B>,
        lora: LoraInputs<FloatTensor<B>>,
        wanted: LinearGradients<bool>,
        gradient: FloatTensor<B>,
    ) -> LinearGradients<Option<FloatTensor<B>>> {
        low_rank::low_rank_backward::<B>(x, lora, wanted, gradient)
    }

    fn biased_gelu(x: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
        if !is_number(x.dtype()) || !all_f32(&[&bias]) {
            return biased::plain_gelu::<B>(x, bias);
        }
        kernels::biased_gelu([x, bias])
    }

    fn biased_gelu_backward(x: FloatTensor<B>, bias: FloatTensor<B>, dy: FloatTensor<B>) -> FloatTensor<B> {
        if !is_number(x.dtype()) || dy.dtype() != x.dtype() || !all_f32(&[&bias]) {
            return biased::plain_gelu_backward::<B>(x, bias, dy);
        }
        kernels::biased_gelu_backward([x, bias, dy])
    }

    fn biased_sum(x: FloatTensor<B>, bias: FloatTensor<B>, residual: FloatTensor<B>) -> FloatTensor<B> {
        if !is_number(x.dtype()) || !all_f32(&[&bias, &residual]) {
            return biased::plain_sum::<B>(x, bias, residual);
        }
        kernels::biased_sum([x, bias, residual])
    }

    fn causal_attention(
        query: FloatTensor<B>,
        key: FloatTensor<B>,
        value: FloatTensor<B>,
        rule: AttentionRule,
        padding: Option<BoolTensor<B>>,
    ) -> FloatTensor<B> {
        let taken = kernels::takes_attention(&query, &key, rule);
        if padding.is_some() || !taken || !all_alike(&[&query, &key, &value]) {
            let number = query.dtype();
            let [query, key, value] = [query, key, value].map(in_full::<B>);
            return in_number::<B>(attention::plain::<B>(query, key, value, rule, padding), number);
        }
        kernels::attention([query, key, value], rule)
    }

    fn causal_attention_backward(
        query: FloatTensor<B>,
        key: FloatTensor<B>,
        value: FloatTensor<B>,
        rule: AttentionRule,
        padding: Option<BoolTensor<B>>,
        gradient: FloatTensor<B>,
    ) -> [FloatTensor<B>; 3] {
        let taken = kernels::takes_attention(&query, &key, rule);
        if padding.is_some() || !taken || !all_alike(&[&query, &key, &value, &gradient]) {
            let number = query.dtype();
            let [query, key, value, gradient] = [query, key, value, gradient].map(in_full::<B>);
            let found = attention::plain_backward::<B>(query, key, value, rule, padding, gradient);
            return found.map(|found| in_number::<B>(found, number));
        }
        kernels::attention_backward([query, key, value, gradient], rule)
    }

    fn cached_attention(
        query: FloatTensor<B>,
        keys: FloatTensor<B>,
        values: FloatTensor<B>,
        rule: AttentionRule,
        texts: &CachedTexts<B>,
    ) -> FloatTensor<B> {
        let [rows, _] = query.shape().dims();
        // A block of a prompt is better off with products: a cube of the kernel reads its keys for one query.
        let few = rows < WIDE_ROWS && head_size(&query, rule) <= LARGEST_CACHED_HEAD;
        if !few || !all_f32(&[&query, &keys, &values]) {
            return cached_attention::plain::<B>(query, keys, values, rule, texts);
        }
        let table = texts.table(rule.window, &B::float_device(&query));
        kernels::cached_attention([query, keys, values, table.into_primitive()], rule.heads)
    }

    fn appended_attention(
        query: FloatTensor<B>,
        [key, value]: [FloatTensor<B>; 2],
        [keys, values]: [FloatTensor<B>; 2],
        places: &[usize],
        rule: AttentionRule,
        texts: &CachedTexts<B>,
    ) -> (FloatTensor<B>, [FloatTensor<B>; 2]) {
        // A row must not see what another writes: each is its text's only one.
        let newest_alone = texts.texts().iter().all(|text| text.queries == 1);
        let small = head_size(&query, rule) <= LARGEST_CACHED_HEAD;
        if !newest_alone || !small || !all_f32(&[&query, &key, &value, &keys, &values]) {
            let (new, cache) = ([key, value], [keys, values]);
            return cached_attention::plain_appended::<B>(query, new, cache, places, rule, texts);
        }
        let table = texts.table(rule.window, &B::float_device(&query));
        kernels::appended_attention([query, key, value, table.into_primitive()], [keys, values], rule.heads)
    }

    fn few_rows() -> usize {
        MOST_FEW_ROWS
    }

    fn few_rows_products(
        x: FloatTensor<B>,
        weights: Vec<FloatTensor<B>>,
        follow: Follow<FloatTensor<B>>,
    ) -> Vec<FloatTensor<B>> {
        let [rows, _] = x.shape().dims();
        let one_type = weights.iter().all(|weight| weight.dtype() == weights[0].dtype());
        let known = all_f32(&[&x]) && one_type && is_number(weights[0].dtype());
        if !known || !(1..=MOST_FEW_ROWS).contains(&rows) {
            return few_rows::plain::<B>(x, weights, follow);
        }
        kernels::few_rows(x, weights, follow)
    }

    fn product(lhs: FloatTensor<B>, rhs: FloatTensor<B>) -> FloatTensor<B> {
        if !all_alike(&[&lhs, &rhs]) {
            return B::float_matmul(lhs, rhs);
        }
        kernels::product([lhs, rhs])
    }

    fn column_sums(x: FloatTensor<B>) -> FloatTensor<B> {
        if is_number(x.dtype()) { kernels::column_sums(x) } else { linear::plain_column_sums::<B>(x) }
    }

    fn likeliest(logits: FloatTensor<B>) -> IntTensor<B> {
        kernels::likeliest(logits)
    }

    fn layer_norm_rows(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        epsilon: f64,
    ) -> FloatTensor<B> {
        if !all_f32(&[&x, &weight, &bias]) {
            return layer_norm::forward::<B>(x, weight, bias, epsilon);
        }
        Self::layer_norm_rows_in(x, weight, bias, epsilon, DType::F32)
    }

    fn layer_norm_rows_in(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        epsilon: f64,
        half: DType,
    ) -> FloatTensor<B> {
        if !all_f32(&[&x, &weight, &bias]) {
            return in_number::<B>(layer_norm::forward::<B>(x, weight, bias, epsilon), half);
        }
        kernels::layer_norm([x, weight, bias], epsilon as f32, half)
    }

    fn layer_norm_rows_backward(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        dy: FloatTensor<B>,
        epsilon: f64,
        parameters: Parameters,
    ) -> (FloatTensor<B>, Option<[FloatTensor<B>; 2]>) {
        if !all_f32(&[&x, &weight]) || !is_number(dy.dtype()) {
            return layer_norm::backward::<B>(x, weight, dy, epsilon, parameters);
        }
        let of_parameters = parameters
            .are_trained()
            .then(|| kernels::layer_norm_parameters([x.clone(), dy.clone()], epsilon as f32));
        let no_more = None;
        (kernels::layer_norm_backward([x, weight, dy], no_more, epsilon as f32), of_parameters)
    }

    fn layer_norm_rows_backward_onto(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        dy: FloatTensor<B>,
        epsilon: f64,
        so_far: FloatTensor<B>,
    ) -> FloatTensor<B> {
        if !all_f32(&[&x, &weight, &so_far]) || !is_number(dy.dtype()) {
            let (dx, _) = layer_norm::backward::<B>(x, weight, dy, epsilon, Parameters::Frozen);
            return B::float_add(dx, so_far);
        }
        kernels::layer_norm_backward([x, weight, dy], Some(so_far), epsilon as f32)
    }

    fn token_nll(
        hidden: FloatTensor<B>,
        weight: TensorPrimitive<B>,
        targets: IntTensor<B>,
        precision: Precision,
    ) -> FloatTensor<B> {
        match Head::<B>::new(&hidden, &weight, &targets, precision) {
            Some(known) => known.nll(),
            None => super::cross_entropy::rows::<B>(hidden, weight, targets, precision),
        }
    }

    fn cross_entropy_gradients(
        hidden: FloatTensor<B>,
        weight: TensorPrimitive<B>,
        targets: IntTensor<B>,
        precision: Precision,
        head: Parameters,
    ) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
        match Head::<B>::new(&hidden, &weight, &targets, precision) {
            Some(known) => known.gradients(head),
            None => super::cross_entropy::gradients::<B>(hidden, weight, targets, precision, head),
        }
    }

    fn gradient_sums(gradients: Vec<FloatTensor<B>>, unscale: Option<f64>) -> FloatTensor<B> {
        if !all_f32(&gradients.iter().collect::<Vec<_>>()) {
            return adamw::plain_sums::<B>(gradients, unscale);
        }
        kernels::gradient_sums(gradients, unscale.unwrap_or(1.0) as f32)
    }

    fn adamw(
        tensors: Vec<AdamWTensors<FloatTensor<B>>>,
        sums: FloatTensor<B>,
        rule: AdamWRule,
    ) -> Vec<AdamWStep<FloatTensor<B>>> {
        if !tensors.iter().all(|tensors| all_f32(&[&tensors.parameter, &tensors.gradient])) {
            return adamw::plain::<B>(tensors, sums, rule);
        }
        let tensors = tensors.into_iter().map(|AdamWTensors { parameter, gradient, moments }| {
            let moments = moments.unwrap_or_else(|| adamw::no_moments::<B>(&parameter));
            ([parameter, gradient], moments)
        });
        kernels::adamw(tensors.collect(), sums, rule)
    }

    fn works_ahead() -> bool {
        true
    }

    fn read_later(floats: Vec<FloatTensor<B>>, ints: Vec<IntTensor<B>>) -> Reading {
        reading::read_later(floats.into_iter().chain(ints).collect())
    }
}

/// The product by the kernel of cubek that has this number in [`gptneo_cubes::product_ways`], for comparisons.
///
/// # Errors
/// It does not take this product on this GPU; why, in its words.
pub fn product_by<B: OnCubes>(
    way: usize,
    lhs: FloatTensor<B>,
    rhs: FloatTensor<B>,
) -> Result<FloatTensor<B>, String> {
    kernels::product_by(way, [lhs, rhs])
}

/// The numbers of a head.
fn head_size(query: &impl TensorMetadata, rule: AttentionRule) -> usize {
    query.shape().iter().last().map_or(0, |hidden| hidden / rule.heads)
}

/// Whether the kernels know the type of what passes between products.
fn is_number(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// Whether these are of one type that the kernels know.
fn all_alike(tensors: &[&impl TensorMetadata]) -> bool {
    tensors.iter().all(|tensor| is_number(tensor.dtype()) && tensor.dtype() == tensors[0].dtype())
}

/// A tensor in another float type, if it is not of it.
fn in_number<B: Backend>(tensor: FloatTensor<B>, number: DType) -> FloatTensor<B> {
    if tensor.dtype() == number { tensor } else { B::float_cast(tensor, number.into()) }
}

/// A tensor of a half type in f32, which the plain operations want for scores and softmax.
fn in_full<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => in_number::<B>(tensor, DType::F32),
        _ => tensor,
    }
}

/// Whether the kernels know the type of these.
fn all_f32(tensors: &[&impl TensorMetadata]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}
