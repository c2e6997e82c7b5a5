//! A parameter of a GPT-2 from those of a GPT-Neo.

use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::parameter::{Layer, Parameter, Part};
use super::shape::Gpt2Shape;
use crate::{GptNeo, LayerNorm, LoraLinear};

/// The values of a parameter, row by row, in the shape that [`Parameter::shape`] says. The model carries no adapter.
pub(super) fn values<B: Backend>(model: &GptNeo<B>, shape: &Gpt2Shape, parameter: Parameter) -> Vec<f32> {
    let Parameter { layer, part } = parameter;
    let transformer = &model.transformer;
    let block = |number: usize| &transformer.h[number];
    match layer {
        Layer::TokenEmbedding => numbers(transformer.wte.weight.val()),
        Layer::PositionEmbedding => {
            let mut rows = numbers(transformer.wpe.weight.val());
            rows.truncate(shape.positions * shape.hidden);
            rows
        }
        Layer::AttentionNorm(number) => norm(&block(number).ln_1, part),
        Layer::FeedForwardNorm(number) => norm(&block(number).ln_2, part),
        Layer::FinalNorm => norm(&transformer.ln_f, part),
        // A GPT-Neo has no biases here.
        Layer::QueryKeyValue(_) if part == Part::Bias => vec![0.0; 3 * shape.hidden],
        Layer::QueryKeyValue(number) => {
            let attention = &block(number).attn.attention;
            let mut rows = numbers(attention.q_proj.weight.val());
            for value in &mut rows {
                *value = (f64::from(*value) * shape.score_divisor()) as f32;
            }
            rows.extend(numbers(attention.k_proj.weight.val()));
            rows.extend(numbers(attention.v_proj.weight.val()));
            rows
        }
        Layer::AttentionOutput(number) => linear(&block(number).attn.attention.out_proj, part),
        Layer::FeedForwardUp(number) => linear(&block(number).mlp.c_fc, part),
        Layer::FeedForwardDown(number) => linear(&block(number).mlp.c_proj, part),
        Layer::Head => numbers(model.head_weight()),
    }
}

fn norm<B: Backend>(norm: &LayerNorm<B>, part: Part) -> Vec<f32> {
    match part {
        Part::Weight => numbers(norm.weight.val()),
        Part::Bias => numbers(norm.bias.val()),
    }
}

/// Of a layer that has a bias in every GPT-Neo.
fn linear<B: Backend>(linear: &LoraLinear<B>, part: Part) -> Vec<f32> {
    match part {
        Part::Weight => numbers(linear.weight.val()),
        Part::Bias => linear.bias.as_ref().map(Param::val).map(numbers).unwrap_or_default(),
    }
}

fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
