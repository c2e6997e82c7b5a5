//! Kernels for the CPU backend Flex: it runs elementwise operations on one thread and one at a time, so that each
//! pass over a large tensor costs a trip to memory. A kernel here makes one pass, on all threads.
//!
//! This file turns tensors into slices and back; the kernels know slices alone. They are for f32: any other float
//! type takes the plain default. No result depends on the number of threads.

mod attention;
mod blocks;
mod cross_entropy;
mod exp;
mod few_rows;
mod gelu;
mod layer_norm;
mod lend;
mod linear;
mod low_rank;
mod matrix;
mod packed_row;
mod prefetch;
mod product;
mod reduce;
mod small_product;
mod tasks;
mod tensors;
#[cfg(test)]
mod tests;
mod tiles;
mod weight;

use burn::tensor::ops::{BoolTensor, FloatTensorOps, IntTensor};
use burn::tensor::quantization::{QTensorPrimitive, QuantLevel};
use burn::tensor::{DType, Distribution, FloatDType, Int, Shape, Tensor, TensorMetadata, TensorPrimitive};
use burn_flex::{Flex, FlexQTensor, FlexTensor};

use self::lend::{AttentionTensors, LinearTensors, stored, tokens};
use self::tensors::{all_f32, contiguous, floats, indices, is_f32, owned, tensor, with_dense_rows};
use self::weight::Weight;
use super::{AttentionRule, Dropout, LinearGradients, LinearInputs, NeoBackend};

impl NeoBackend for Flex {
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
        tensor(attention::forward(&inputs.slices(rule)), shape)
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
        let [of_query, of_key, of_value] = attention::backward(&inputs.slices(rule), tokens(&gradient));
        let [query, key, value] = shapes;
        [tensor(of_query, query), tensor(of_key, key), tensor(of_value, value)]
    }

    /// Flex's own `slice_assign` copies the whole buffer, each time.
    fn write_tokens(buffer: FlexTensor, start: usize, new: FlexTensor) -> FlexTensor {
        if !all_f32(&[&buffer, &new]) {
            return super::plain_write_tokens::<Self>(buffer, start, new);
        }
        let ([_, capacity, hidden], [_, count, _]) = (buffer.shape().dims(), new.shape().dims());
        let (mut buffer, new) = (owned(buffer), contiguous(new));
        let texts = buffer.storage_mut().chunks_exact_mut(capacity * hidden);
        for (text, new) in texts.zip(floats(&new).chunks_exact(count * hidden)) {
            text[start * hidden..][..count * hidden].copy_from_slice(new);
        }
        buffer
    }

    fn lora_linear(inputs: LinearInputs<FlexTensor>) -> FlexTensor {
        let Some(inputs) = LinearTensors::new(&inputs) else { return super::linear::plain::<Self>(inputs) };
        let slices = inputs.slices();
        tensor(linear::forward(&slices), Shape::new([slices.rows, slices.output]))
    }

    fn lora_linear_backward(
        inputs: LinearInputs<FlexTensor>,
        wanted: LinearGradients<bool>,
        gradient: FlexTensor,
    ) -> LinearGradients<Option<FlexTensor>> {
        let tensors = LinearTensors::new(&inputs).filter(|_| all_f32(&[&gradient]));
        let Some(tensors) = tensors.filter(LinearTensors::go_backward) else {
            return super::linear::plain_backward::<Self>(inputs, wanted, gradient);
        };
        // Seldom wanted: the base is frozen when an adapter is trained.
        let of_base = LinearGradients { weight: wanted.weight, bias: wanted.bias, ..Default::default() };
        let base = LinearInputs { lora: None, ..inputs };
        let of_base = super::linear::plain_backward::<Self>(base, of_base, gradient.clone());

        let gradient = contiguous(gradient);
        let slices = tensors.slices();
        let (rows, input, output) = (slices.rows, slices.input, slices.output);
        let rank = slices.lora.map_or(0, |lora| lora.rank);
        let LinearGradients { x, a, b, .. } = linear::backward(&slices, floats(&gradient), wanted);
        let of = |values: Option<Vec<f32>>, shape: [usize; 2]| {
            values.map(|values| tensor(values, Shape::new(shape)))
        };
        LinearGradients {
            x: of(x, [rows, input]),
            a: of(a, [rank, input]),
            b: of(b, [output, rank]),
            ..of_base
        }
    }

    fn linear_input_gradient(weight: FlexTensor, gradient: FlexTensor, rounded: bool) -> FlexTensor {
        let unit = rounded.then(tiles::Native::for_bf16).flatten();
        let weight_fits = if unit.is_some() { weight.dtype() == DType::BF16 } else { is_f32(&weight) };
        if !is_f32(&gradient) || !weight_fits {
            return super::linear::plain_input_gradient::<Self>(weight, gradient, rounded);
        }
        let ([rows, output], [_, input]) = (gradient.shape().dims(), weight.shape().dims());
        let (weight, gradient) = (contiguous(weight), contiguous(gradient));
        let of_x = linear::input_gradient(stored(&weight), unit, floats(&gradient), [rows, output, input]);
        tensor(of_x, Shape::new([rows, input]))
    }

    fn rounds_factors(half: DType) -> bool {
        half == DType::BF16 && tiles::Native::for_bf16().is_some()
    }

    fn quantized_linear(x: FlexTensor, weight: FlexQTensor, bias: Option<FlexTensor>) -> FlexTensor {
        let QuantLevel::Block(block) = weight.scheme().level else {
            return super::linear::plain_quantized::<Self>(x, weight, bias);
        };
        if !is_f32(&x) || !bias.as_ref().is_none_or(is_f32) || !weight.tensor().is_contiguous() {
            return super::linear::plain_quantized::<Self>(x, weight, bias);
        }
        let ([rows, input], [output, _]) = (x.shape().dims(), weight.shape().dims());
        let (x, bias) = (contiguous(x), bias.map(contiguous));
        let values = &weight.tensor().storage()[weight.tensor().layout().start_offset()..];
        let weight = Weight::Int8 { values, scales: weight.scales(), block: block.num_elements() };
        let bias = bias.as_ref().map(floats);
        let inputs =
            linear::Inputs { x: floats(&x), weight, bias, lora: None, unit: None, rows, input, output };
        tensor(linear::forward(&inputs), Shape::new([rows, output]))
    }

    fn draw_dropout(x: &FlexTensor, probability: f64) -> Dropout<FlexTensor> {
        if !all_f32(&[x]) {
            return super::dropout::draw_mask::<Self>(x, probability);
        }
        // Two draws of 24 bits, which a float holds exactly.
        let bits = Distribution::Uniform(0.0, f64::from(1 << 24));
        let draws = Self::float_random(Shape::new([2]), bits, &Default::default(), FloatDType::F32);
        let seed = floats(&draws).iter().fold(0, |seed, draw| (seed << 24) | *draw as u64);
        Dropout::Seed { seed, probability }
    }

    fn gelu_new(x: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x]) {
            return super::gelu::forward::<Self>(x);
        }
        let x = x.to_contiguous();
        tensor(gelu::forward(x.storage()), x.layout().shape().clone())
    }

    fn gelu_new_backward(x: FlexTensor, dy: FlexTensor) -> FlexTensor {
        if !all_f32(&[&x, &dy]) {
            return super::gelu::backward::<Self>(x, dy);
        }
        let (x, mut dy) = (x.to_contiguous(), owned(dy));
        gelu::backward(x.storage(), dy.storage_mut());
        dy
    }

    fn layer_norm_rows(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f64) -> FlexTensor {
        if !all_f32(&[&x, &weight, &bias]) {
            return super::layer_norm::forward::<Self>(x, weight, bias, epsilon);
        }
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let y = layer_norm::forward(x.storage(), weight.storage(), bias.storage(), epsilon as f32);
        tensor(y, x.layout().shape().clone())
    }

    fn layer_norm_rows_backward(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        epsilon: f64,
        of_parameters: bool,
    ) -> (FlexTensor, Option<[FlexTensor; 2]>) {
        if !all_f32(&[&x, &weight, &dy]) {
            return super::layer_norm::backward::<Self>(x, weight, dy, epsilon, of_parameters);
        }
        let (x, weight, mut dy) = (x.to_contiguous(), weight.to_contiguous(), owned(dy));
        let (slices, epsilon) = ((x.storage(), weight.storage(), dy.storage_mut()), epsilon as f32);
        let of_parameters = if of_parameters {
            let shape = weight.layout().shape();
            Some(layer_norm::backward(slices, epsilon).map(|sum| tensor(sum, shape.clone())))
        } else {
            layer_norm::backward_of_input(slices, epsilon);
            None
        };
        (dy, of_parameters)
    }

    fn token_nll(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: IntTensor<Self>,
        rounded: bool,
    ) -> FlexTensor {
        if !has_f32_logits(&hidden, &weight, rounded) {
            return super::cross_entropy::rows::<Self>(hidden, weight, targets, rounded);
        }
        let nll: Vec<f32> =
            row_losses(hidden, weight, targets, rounded).into_iter().map(|nll| nll as f32).collect();
        let shape = Shape::new([nll.len()]);
        tensor(nll, shape)
    }

    fn cross_entropy_sum(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: IntTensor<Self>,
        rounded: bool,
    ) -> FlexTensor {
        if !has_f32_logits(&hidden, &weight, rounded) {
            return Self::float_sum(super::cross_entropy::rows::<Self>(hidden, weight, targets, rounded));
        }
        total(row_losses(hidden, weight, targets, rounded))
    }

    fn cross_entropy_gradients(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: IntTensor<Self>,
        rounded: bool,
        of_weight: bool,
    ) -> (FlexTensor, FlexTensor, Option<FlexTensor>) {
        if !has_f32_logits(&hidden, &weight, rounded) {
            return super::cross_entropy::gradients::<Self>(hidden, weight, targets, rounded, of_weight);
        }
        let of_chunk = |logits: Tensor<Self, 2>, targets| {
            let mut logits = owned(logits.into_primitive().tensor());
            let nll = cross_entropy::gradients(logits.storage_mut(), &indices(targets));
            let [sum, logits] = [total(nll), logits].map(TensorPrimitive::Float);
            (Tensor::from_primitive(sum), Tensor::from_primitive(logits))
        };
        super::cross_entropy::gradients_by_chunk::<Self>(
            Tensor::from_primitive(TensorPrimitive::Float(hidden)),
            Tensor::from_primitive(TensorPrimitive::Float(weight)),
            Tensor::from_primitive(targets),
            rounded,
            of_weight,
            of_chunk,
        )
    }
}

/// Whether hidden states and head give logits that the kernels take.
fn has_f32_logits(hidden: &FlexTensor, weight: &FlexTensor, rounded: bool) -> bool {
    is_f32(hidden) && (rounded || is_f32(weight))
}

/// The loss of each row, a chunk of rows at a time.
fn row_losses(hidden: FlexTensor, weight: FlexTensor, targets: IntTensor<Flex>, rounded: bool) -> Vec<f64> {
    let hidden = Tensor::<Flex, 2>::from_primitive(TensorPrimitive::Float(hidden));
    let head = Tensor::<Flex, 2>::from_primitive(TensorPrimitive::Float(weight));
    let targets = Tensor::<Flex, 1, Int>::from_primitive(targets);
    let mut losses = Vec::new();
    for (hidden, targets) in super::cross_entropy::chunks(&hidden, &targets) {
        let logits = super::cross_entropy::logits(hidden, head.clone(), rounded)
            .into_primitive()
            .tensor()
            .to_contiguous();
        losses.extend(cross_entropy::losses(logits.storage(), &indices(targets)));
    }
    losses
}

/// The sum, `[1]`.
fn total(losses: Vec<f64>) -> FlexTensor {
    tensor(vec![losses.into_iter().sum::<f64>() as f32], Shape::new([1]))
}
