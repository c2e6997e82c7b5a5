//! The CPU backend Flex, on the kernels of `gptneo-kernels`: Flex itself runs elementwise operations on one thread and
//! one at a time, so that each pass over a large tensor costs a trip to memory.
//!
//! What stands here turns tensors into slices and back. The kernels are for f32: any other float type takes the plain
//! default.

mod cached_attention;
mod dora;
mod losses;
mod quantized;
mod tensors;
#[cfg(test)]
mod tests;

use std::ops::Range;

use burn::tensor::ops::{BoolTensor, FloatTensorOps, IntTensor};
use burn::tensor::{DType, Tensor, TensorMetadata, TensorPrimitive};
use burn_flex::{Flex, FlexQTensor, FlexTensor};
use gptneo_kernels as kernels;

use self::cached_attention::over_cache;
use self::losses::{has_f32_logits, row_losses, total};
use self::tensors::{
    AttentionTensors, LinearTensors, UpdateTensors, all_f32, contiguous, floats, indices, is_f32, owned,
    stored, tensor, tile_unit, tokens, with_dense_rows,
};
use super::{
    AttentionRule, CachedTexts, Dropout, LinearGradients, LinearInputs, LoraInputs, NeoBackend, Parameters,
    Precision,
};

impl NeoBackend for Flex {
    /// One of the threads that compute: they start on an operation without waking each other first.
    fn on_compute_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        rayon::scope(|_| work())
    }

    fn causal_attention(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        rule: AttentionRule,
        padding: Option<BoolTensor<Self>>,
    ) -> FlexTensor {
        if !all_f32(&[&query, &key, &value]) {
            return super::attention::plain::<Self>(query, key, value, rule, padding);
        }
        let shape = query.shape();
        let inputs = AttentionTensors::new([query, key, value], padding);
        tensor(kernels::attention(&inputs.slices(rule)), shape)
    }

    fn causal_attention_backward(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        rule: AttentionRule,
        padding: Option<BoolTensor<Self>>,
        gradient: FlexTensor,
    ) -> [FlexTensor; 3] {
        if !all_f32(&[&query, &key, &value, &gradient]) {
            return super::attention::plain_backward::<Self>(query, key, value, rule, padding, gradient);
        }
        let shapes = [&query, &key, &value].map(TensorMetadata::shape);
        let gradient = with_dense_rows(gradient);
        let inputs = AttentionTensors::new([query, key, value], padding);
        let [of_query, of_key, of_value] =
            kernels::attention_backward(&inputs.slices(rule), tokens(&gradient));
        let [query, key, value] = shapes;
        [tensor(of_query, query), tensor(of_key, key), tensor(of_value, value)]
    }

    fn cached_attention(
        query: FlexTensor,
        keys: FlexTensor,
        values: FlexTensor,
        rule: AttentionRule,
        texts: &CachedTexts<Self>,
    ) -> FlexTensor {
        if !all_f32(&[&query, &keys, &values]) {
            return super::cached_attention::plain::<Self>(query, keys, values, rule, texts);
        }
        let [query, keys, values] = [query, keys, values].map(contiguous);
        let shape = query.shape();
        let [_, hidden] = shape.dims();
        let cache = [&keys, &values].map(floats);
        tensor(over_cache(floats(&query), cache, hidden, rule, texts.texts()), shape)
    }

    /// Flex's own `slice_assign` copies the whole buffer, each time.
    fn write_rows(cache: FlexTensor, places: &[usize], new: FlexTensor) -> FlexTensor {
        if !all_f32(&[&cache, &new]) {
            return super::cached_attention::plain_write_rows::<Self>(cache, places, new);
        }
        let [_, hidden] = new.shape().dims();
        let (mut cache, new) = (owned(cache), contiguous(new));
        let stored = cache.storage_mut();
        for (place, row) in places.iter().zip(floats(&new).chunks_exact(hidden)) {
            stored[place * hidden..][..hidden].copy_from_slice(row);
        }
        cache
    }

    fn updated_row_norms(
        weight: TensorPrimitive<Self>,
        a: FlexTensor,
        b: FlexTensor,
        scale: f64,
    ) -> FlexTensor {
        dora::updated_row_norms(weight, a, b, scale)
    }

    fn narrow_rows() -> usize {
        kernels::FEW_ROWS
    }

    fn add_low_rank(
        y: FlexTensor,
        x: FlexTensor,
        rows: Range<usize>,
        lora: LoraInputs<FlexTensor>,
    ) -> FlexTensor {
        let fits = all_f32(&[&y, &x]);
        // A seed speaks of the rows of all of x.
        let fits = fits && (lora.dropout.is_none() || rows == (0..x.shape()[0]));
        let Some(update) = UpdateTensors::new(&lora).filter(|_| fits) else {
            return super::linear::plain_add_low_rank::<Self>(y, x, rows, lora);
        };
        let ([_, output], [_, input]) = (y.shape().dims(), x.shape().dims());
        let (x, mut y) = (contiguous(x), owned(y));
        let (of_x, of_y) = (rows.start * input..rows.end * input, rows.start * output..rows.end * output);
        let out = &mut y.storage_mut()[of_y];
        kernels::add_low_rank(&update.slices(), &floats(&x)[of_x], [input, output], out);
        y
    }

    fn low_rank_backward(
        x: FlexTensor,
        lora: LoraInputs<FlexTensor>,
        wanted: LinearGradients<bool>,
        gradient: FlexTensor,
    ) -> LinearGradients<Option<FlexTensor>> {
        let Some(update) = UpdateTensors::new(&lora).filter(|_| all_f32(&[&x, &gradient])) else {
            return super::linear::plain_low_rank_backward::<Self>(x, lora, wanted, gradient);
        };
        let ([rows, input], [_, output]) = (x.shape().dims(), gradient.shape().dims());
        let (x, gradient, low_rank) = (contiguous(x), contiguous(gradient), update.slices());
        let wanted = kernels::LinearGradients { x: wanted.x, a: wanted.a, b: wanted.b };
        let found =
            kernels::low_rank_backward(&low_rank, floats(&x), [input, output], floats(&gradient), wanted);
        gradients(found, [rows, input, output], low_rank.rank)
    }

    fn lora_linear(inputs: LinearInputs<FlexTensor>) -> FlexTensor {
        let Some(inputs) = LinearTensors::new(&inputs) else { return super::linear::plain::<Self>(inputs) };
        let slices = inputs.slices();
        tensor(kernels::linear(&slices), [slices.rows, slices.output])
    }

    fn lora_linear_backward(
        inputs: LinearInputs<FlexTensor>,
        wanted: LinearGradients<bool>,
        gradient: FlexTensor,
    ) -> LinearGradients<Option<FlexTensor>> {
        let tensors = LinearTensors::new(&inputs).filter(|_| all_f32(&[&gradient]));
        let Some(tensors) = tensors else {
            return super::linear::plain_backward::<Self>(inputs, wanted, gradient);
        };
        // Not under LoRA, where the base is frozen.
        let of_base = LinearGradients { weight: wanted.weight, bias: wanted.bias, ..Default::default() };
        let base = LinearInputs { lora: None, ..inputs };
        let of_base = super::linear::plain_backward::<Self>(base, of_base, gradient.clone());

        let gradient = contiguous(gradient);
        let slices = tensors.slices();
        let (rows, input, output) = (slices.rows, slices.input, slices.output);
        let rank = slices.low_rank.map_or(0, |low_rank| low_rank.rank);
        let wanted = kernels::LinearGradients { x: wanted.x, a: wanted.a, b: wanted.b };
        let found = kernels::linear_backward(&slices, floats(&gradient), wanted);
        let LinearGradients { weight, bias, .. } = of_base;
        LinearGradients { weight, bias, ..gradients(found, [rows, input, output], rank) }
    }

    fn linear_input_gradient(weight: FlexTensor, gradient: FlexTensor, precision: Precision) -> FlexTensor {
        let unit = tile_unit(precision);
        let in_half = weight.dtype() == DType::BF16;
        let weight_fits = match unit {
            Some(_) => in_half,
            None => is_f32(&weight) || (in_half && precision == Precision::F32),
        };
        if !is_f32(&gradient) || !weight_fits {
            return super::linear::plain_input_gradient::<Self>(weight, gradient, precision);
        }
        let ([rows, output], [_, input]) = (gradient.shape().dims(), weight.shape().dims());
        let (weight, gradient) = (contiguous(weight), contiguous(gradient));
        let shape = [rows, output, input];
        let of_x = kernels::linear_input_gradient(stored(&weight), unit, floats(&gradient), shape);
        tensor(of_x, [rows, input])
    }

    fn linear_weight_gradient(x: FlexTensor, gradient: FlexTensor, precision: Precision) -> FlexTensor {
        if !all_f32(&[&x, &gradient]) {
            return Self::product(Self::float_transpose(gradient), x);
        }
        let ([rows, input], [_, output]) = (x.shape().dims(), gradient.shape().dims());
        let (x, gradient) = (contiguous(x), contiguous(gradient));
        let shape = [rows, output, input];
        let found =
            kernels::linear_weight_gradient(floats(&x), tile_unit(precision), floats(&gradient), shape);
        tensor(found, [output, input])
    }

    fn rounds_factors(precision: Precision) -> bool {
        tile_unit(precision).is_some()
    }

    fn quantized_linear(x: FlexTensor, weight: FlexQTensor, bias: Option<FlexTensor>) -> FlexTensor {
        quantized::linear(x, weight, bias)
    }

    fn quantized_input_gradient(weight: FlexQTensor, gradient: FlexTensor) -> FlexTensor {
        quantized::input_gradient(weight, gradient)
    }

    fn quantized_rows(table: FlexQTensor, indices: IntTensor<Self>) -> FlexTensor {
        quantized::rows(table, Tensor::from_primitive(indices))
    }

    fn draw_dropout(x: &FlexTensor, probability: f64) -> Dropout<FlexTensor> {
        if !all_f32(&[x]) {
            return super::dropout::draw_mask::<Self>(x, probability);
        }
        Dropout::Seeded(super::dropout::draw_rule(probability))
    }

    fn gelu_new(x: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x]) {
            return super::gelu::forward::<Self>(x);
        }
        let x = x.to_contiguous();
        tensor(kernels::gelu(x.storage()), x.layout().shape().clone())
    }

    fn gelu_new_backward(x: FlexTensor, dy: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x, &dy]) {
            return super::gelu::backward::<Self>(x, dy);
        }
        let (x, mut dy) = (x.to_contiguous(), owned(dy));
        kernels::gelu_backward(x.storage(), dy.storage_mut());
        dy
    }

    fn layer_norm_rows(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f64) -> FlexTensor {
        if !all_f32(&[&x, &weight, &bias]) {
            return super::layer_norm::forward::<Self>(x, weight, bias, epsilon);
        }
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let y = kernels::layer_norm(x.storage(), weight.storage(), bias.storage(), epsilon as f32);
        tensor(y, x.layout().shape().clone())
    }

    fn layer_norm_rows_backward(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        epsilon: f64,
        parameters: Parameters,
    ) -> (FlexTensor, Option<[FlexTensor; 2]>) {
        if !all_f32(&[&x, &weight, &dy]) {
            return super::layer_norm::backward::<Self>(x, weight, dy, epsilon, parameters);
        }
        let (x, weight, mut dy) = (x.to_contiguous(), weight.to_contiguous(), owned(dy));
        let (x, scale, gradient) = (x.storage(), weight.storage(), dy.storage_mut());
        let of_parameters = if parameters.are_trained() {
            let sums = kernels::layer_norm_backward(x, scale, gradient, epsilon as f32);
            Some(sums.map(|sum| tensor(sum, weight.shape())))
        } else {
            kernels::layer_norm_input_gradient(x, scale, gradient, epsilon as f32);
            None
        };
        (dy, of_parameters)
    }

    fn token_nll(
        hidden: FlexTensor,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FlexTensor {
        if !has_f32_logits(&hidden, &weight, precision) {
            return super::cross_entropy::rows::<Self>(hidden, weight, targets, precision);
        }
        let nll: Vec<f32> =
            row_losses(hidden, weight, targets, precision).into_iter().map(|nll| nll as f32).collect();
        let rows = [nll.len()];
        tensor(nll, rows)
    }

    fn cross_entropy_sum(
        hidden: FlexTensor,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
    ) -> FlexTensor {
        if !has_f32_logits(&hidden, &weight, precision) {
            return Self::float_sum(super::cross_entropy::rows::<Self>(hidden, weight, targets, precision));
        }
        total(row_losses(hidden, weight, targets, precision))
    }

    fn cross_entropy_gradients(
        hidden: FlexTensor,
        weight: TensorPrimitive<Self>,
        targets: IntTensor<Self>,
        precision: Precision,
        head: Parameters,
    ) -> (FlexTensor, FlexTensor, Option<FlexTensor>) {
        if !has_f32_logits(&hidden, &weight, precision) {
            return super::cross_entropy::gradients::<Self>(hidden, weight, targets, precision, head);
        }
        let of_chunk = |logits: Tensor<Self, 2>, targets| {
            let mut logits = owned(logits.into_primitive().tensor());
            let nll = kernels::cross_entropy_gradients(logits.storage_mut(), &indices(targets));
            let [sum, logits] = [total(nll), logits].map(TensorPrimitive::Float);
            (Tensor::from_primitive(sum), Tensor::from_primitive(logits))
        };
        super::cross_entropy::gradients_by_chunk::<Self>(
            Tensor::from_primitive(TensorPrimitive::Float(hidden)),
            Tensor::from_primitive(weight),
            Tensor::from_primitive(targets),
            precision,
            head,
            of_chunk,
        )
    }
}

/// What the kernels found of x `[rows, input]`, A and B as tensors.
fn gradients(
    found: kernels::LinearGradients<Option<Vec<f32>>>,
    [rows, input, output]: [usize; 3],
    rank: usize,
) -> LinearGradients<Option<FlexTensor>> {
    let of = |values: Option<Vec<f32>>, shape: [usize; 2]| values.map(|values| tensor(values, shape));
    LinearGradients {
        x: of(found.x, [rows, input]),
        a: of(found.a, [rank, input]),
        b: of(found.b, [output, rank]),
        ..Default::default()
    }
}
