//! The GPU backends, CUDA's and wgpu's, on the kernels of `gptneo-cubes`.
//!
//! What stands here turns tensors into what those take and makes room for what they give; `launch.rs` has them run, now or
//! where Burn's fusion keeps its operations in order. The kernels are for f32, the products' half types flow through
//! Burn's own: any other float type, and a mask of padding, takes the plain default.

mod cross_entropy;
mod kernels;
mod launch;

use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor};
use burn::tensor::{DType, FloatDType, TensorMetadata, TensorPrimitive};

use self::launch::{CubeLaunch, Output, exactly};
use super::{
    AdamWRule, AdamWStep, AdamWTensors, AttentionRule, CachedTexts, NeoBackend, Parameters, Precision,
    WIDE_ROWS, adamw, attention, cached_attention, layer_norm,
};

/// The largest head whose attention is a kernel: a unit holds up to three rows of a head in registers.
const LARGEST_HEAD: usize = 64;

/// The most numbers of a head in a cache.
const LARGEST_CACHED_HEAD: usize = 256;

impl<B: CubeLaunch> NeoBackend for B {
    fn causal_attention(
        query: FloatTensor<B>,
        key: FloatTensor<B>,
        value: FloatTensor<B>,
        rule: AttentionRule,
        padding: Option<BoolTensor<B>>,
    ) -> FloatTensor<B> {
        let small = head_size(&query, rule) <= LARGEST_HEAD;
        if padding.is_some() || !small || !all_f32(&[&query, &key, &value]) {
            return attention::plain::<B>(query, key, value, rule, padding);
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
        if padding.is_some() || !small || !all_f32(&[&query, &key, &value, &gradient]) {
            return attention::plain_backward::<B>(query, key, value, rule, padding, gradient);
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

    fn layer_norm_rows(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: FloatTensor<B>,
        epsilon: f64,
    ) -> FloatTensor<B> {
        if !all_f32(&[&x, &weight, &bias]) {
            return layer_norm::forward::<B>(x, weight, bias, epsilon);
        }
        let (output, inputs) = (like(&x), [x, weight, bias]);
        let work = move |inputs| kernels::layer_norm(inputs, epsilon as f32);
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
        if parameters.are_trained() || !all_f32(&[&x, &weight, &dy]) {
            return layer_norm::backward::<B>(x, weight, dy, epsilon, parameters);
        }
        let (output, inputs) = (like(&x), [x, weight, dy]);
        let work = move |inputs| kernels::layer_norm_backward(inputs, epsilon as f32);
        let [output] = B::launch("layer_norm_backward", inputs, [output], work);
        (output, None)
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

/// The numbers of a head.
fn head_size(query: &impl TensorMetadata, rule: AttentionRule) -> usize {
    query.shape().iter().last().map_or(0, |hidden| hidden / rule.heads)
}

/// A tensor of the shape and type of another.
fn like(tensor: &impl TensorMetadata) -> Output {
    (tensor.shape(), tensor.dtype())
}

/// Whether the kernels know the type of these.
fn all_f32(tensors: &[&impl TensorMetadata]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}
