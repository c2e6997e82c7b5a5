//! The GPU backends, CUDA's and wgpu's, on the kernels of `gptneo-cubes`.
//!
//! What stands here turns tensors into what those take and makes room for what they give; `launch.rs` has them run, now or
//! where Burn's fusion keeps its operations in order. The kernels compute in f32; what passes between them and the products,
//! which are Burn's own, may be of a half type. Any other float type, and a mask of padding, takes the plain default.

mod cross_entropy;
mod kernels;
mod launch;
mod low_rank;

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, TensorMetadata, TensorPrimitive};
use burn_flex::Flex;
use gptneo_cubes::MOST_FEW_ROWS;
use gptneo_kernels::SeededDropout;

use self::launch::{CubeLaunch, Output, exactly};
use super::{
    AdamWRule, AdamWStep, AdamWTensors, AttentionRule, CachedTexts, Dropout, Follow, LinearGradients, LinearInputs,
    LoraInputs, NeoBackend, Parameters, Precision, WIDE_ROWS, adamw, attention, biased, cached_attention,
    dropout, few_rows, layer_norm,
};

/// The largest head whose attention is a kernel: a unit holds up to three rows of a head in registers.
const LARGEST_HEAD: usize = 64;

/// The most numbers of a head in a cache.
const LARGEST_CACHED_HEAD: usize = 256;

impl<B: CubeLaunch> NeoBackend for B {
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
        let (output, rule) = (self::like(like), low_rank::rule_of(rule));
        let work = move |inputs| kernels::dropout_factors(inputs, rule);
        let [factors] = B::launch("dropout_factors", [like.clone()], [output], work);
        factors
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
        let output = like(&x);
        let [y] = B::launch("biased_gelu", [x, bias], [output], kernels::biased_gelu);
        y
    }

    fn biased_gelu_backward(
        x: FloatTensor<B>,
        bias: FloatTensor<B>,
        dy: FloatTensor<B>,
    ) -> FloatTensor<B> {
        if !is_number(x.dtype()) || dy.dtype() != x.dtype() || !all_f32(&[&bias]) {
            return biased::plain_gelu_backward::<B>(x, bias, dy);
        }
        let output = like(&x);
        let [dx] = B::launch("biased_gelu_backward", [x, bias, dy], [output], kernels::biased_gelu_backward);
        dx
    }

    fn biased_sum(x: FloatTensor<B>, bias: FloatTensor<B>, residual: FloatTensor<B>) -> FloatTensor<B> {
        if !is_number(x.dtype()) || !all_f32(&[&bias, &residual]) {
            return biased::plain_sum::<B>(x, bias, residual);
        }
        let output = like(&residual);
        let [y] = B::launch("biased_sum", [x, bias, residual], [output], kernels::biased_sum);
        y
    }

    fn causal_attention(
        query: FloatTensor<B>,
        key: FloatTensor<B>,
        value: FloatTensor<B>,
        rule: AttentionRule,
        padding: Option<BoolTensor<B>>,
    ) -> FloatTensor<B> {
        let small = head_size(&query, rule) <= LARGEST_HEAD;
        if padding.is_some() || !small || !all_alike(&[&query, &key, &value]) {
            let number = query.dtype();
            let [query, key, value] = [query, key, value].map(in_full::<B>);
            return in_number::<B>(attention::plain::<B>(query, key, value, rule, padding), number);
        }
        let (output, inputs) = (like(&query), [query, key, value]);
        let work = move |inputs| kernels::attention(inputs, rule);
        let [output] = B::launch("causal_attention", inputs, [output], work);
        output
    }

    fn causal_attention_backward(
        query: FloatTensor<B>,
        key: FloatTensor<B>,
        value: FloatTensor<B>,
        rule: AttentionRule,
        padding: Option<BoolTensor<B>>,
        gradient: FloatTensor<B>,
    ) -> [FloatTensor<B>; 3] {
        let small = head_size(&query, rule) <= LARGEST_HEAD;
        if padding.is_some() || !small || !all_alike(&[&query, &key, &value, &gradient]) {
            let number = query.dtype();
            let [query, key, value, gradient] = [query, key, value, gradient].map(in_full::<B>);
            let found = attention::plain_backward::<B>(query, key, value, rule, padding, gradient);
            return found.map(|found| in_number::<B>(found, number));
        }
        let outputs = [&query, &key, &value].map(like);
        let work = move |inputs| kernels::attention_backward(inputs, rule);
        B::launch("causal_attention_backward", [query, key, value, gradient], outputs, work)
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
        let output = like(&query);
        let inputs = [query, keys, values, B::integers(table.into_primitive())];
        let work = move |inputs| kernels::cached_attention(inputs, rule.heads);
        let [output] = B::launch("cached_attention", inputs, [output], work);
        output
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
        let outputs = [like(&query), like(&keys), like(&values)];
        let inputs = [query, key, value, keys, values, B::integers(table.into_primitive())];
        let work = move |inputs| kernels::appended_attention(inputs, rule.heads);
        let [output, keys, values] = B::launch("appended_attention", inputs, outputs, work);
        (output, [keys, values])
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
        let outputs = weights.iter().map(|weight| ([rows, weight.shape()[0]].into(), DType::F32)).collect();
        let mut inputs = vec![x];
        let kind = match follow {
            Follow::Nothing => Follow::Nothing,
            Follow::Gelu(bias) => {
                inputs.push(bias);
                Follow::Gelu(())
            }
            Follow::Sum(bias, residual) => {
                inputs.extend([bias, residual]);
                Follow::Sum((), ())
            }
        };
        inputs.extend(weights);
        B::launch_all("few_rows", inputs, outputs, move |inputs| kernels::few_rows(inputs, &kind))
    }

    fn finds_likeliest() -> bool {
        true
    }

    fn likeliest(logits: FloatTensor<B>) -> IntTensor<B> {
        let [rows, _] = logits.shape().dims();
        let [ids] = B::launch("likeliest", [logits], [([rows].into(), DType::I32)], kernels::likeliest);
        B::of_integers(ids)
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
        let (output, inputs) = ((x.shape(), half), [x, weight, bias]);
        let work = move |inputs| kernels::layer_norm(inputs, epsilon as f32, half);
        let [output] = B::launch("layer_norm", inputs, [output], work);
        output
    }

    fn layer_norm_rows_backward(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        dy: FloatTensor<B>,
        epsilon: f64,
        parameters: Parameters,
    ) -> (FloatTensor<B>, Option<[FloatTensor<B>; 2]>) {
        if parameters.are_trained() || !all_f32(&[&x, &weight]) || !is_number(dy.dtype()) {
            return layer_norm::backward::<B>(x, weight, dy, epsilon, parameters);
        }
        let no_more = None;
        (norm_gradient::<B>(x, weight, dy, epsilon, no_more), None)
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
        norm_gradient::<B>(x, weight, dy, epsilon, Some(so_far))
    }

    fn cross_entropy_gradients(
        hidden: FloatTensor<B>,
        weight: TensorPrimitive<B>,
        targets: IntTensor<B>,
        precision: Precision,
        head: Parameters,
    ) -> (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) {
        let known = matches!(hidden.dtype(), DType::F32 | DType::F16 | DType::BF16);
        match weight {
            TensorPrimitive::Float(weight)
                if !head.are_trained() && known && targets.dtype() == DType::I32 =>
            {
                let (sum, of_hidden) = cross_entropy::gradients::<B>(hidden, weight, targets, precision);
                (sum, of_hidden, None)
            }
            weight => super::cross_entropy::gradients::<B>(hidden, weight, targets, precision, head),
        }
    }

    fn gradient_sums(gradients: Vec<FloatTensor<B>>, unscale: Option<f64>) -> FloatTensor<B> {
        if !all_f32(&gradients.iter().collect::<Vec<_>>()) {
            return adamw::plain_sums::<B>(gradients, unscale);
        }
        let output = ([2].into(), DType::F32);
        let work = move |inputs| kernels::gradient_sums(inputs, unscale.unwrap_or(1.0) as f32);
        let [sums] = exactly(B::launch_all("gradient_sums", gradients, vec![output], work));
        sums
    }

    fn adamw(tensors: Vec<AdamWTensors<FloatTensor<B>>>, rule: AdamWRule) -> Vec<AdamWStep<FloatTensor<B>>> {
        if !tensors.iter().all(|tensors| all_f32(&[&tensors.parameter, &tensors.gradient])) {
            return adamw::plain::<B>(tensors, rule);
        }
        let outputs = tensors.iter().flat_map(|tensors| [(); 3].map(|()| like(&tensors.parameter))).collect();
        let inputs = tensors.into_iter().flat_map(|tensors| {
            let AdamWTensors { parameter, gradient, moments } = tensors;
            let [first, second] = moments.unwrap_or_else(|| {
                let device = B::float_device(&parameter);
                [(); 2].map(|()| B::float_zeros(parameter.shape(), &device, FloatDType::F32))
            });
            [parameter, gradient, first, second]
        });
        let work = move |inputs| kernels::adamw(inputs, rule);
        let mut found = B::launch_all("adamw", inputs.collect(), outputs, work).into_iter();
        let mut steps = Vec::new();
        while let (Some(parameter), Some(first), Some(second)) = (found.next(), found.next(), found.next()) {
            steps.push(AdamWStep { parameter, moments: [first, second] });
        }
        steps
    }
}

/// The gradient of a layer norm's input, added to what it is so far.
fn norm_gradient<B: CubeLaunch>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    dy: FloatTensor<B>,
    epsilon: f64,
    so_far: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let output = like(&x);
    let inputs = [x, weight, dy].into_iter().chain(so_far).collect();
    let work = move |inputs| kernels::layer_norm_backward(inputs, epsilon as f32);
    let [dx] = exactly(B::launch_all("layer_norm_backward", inputs, vec![output], work));
    dx
}

/// The numbers of a head.
fn head_size(query: &impl TensorMetadata, rule: AttentionRule) -> usize {
    query.shape().iter().last().map_or(0, |hidden| hidden / rule.heads)
}

/// A tensor of the shape and type of another.
fn like(tensor: &impl TensorMetadata) -> Output {
    (tensor.shape(), tensor.dtype())
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
