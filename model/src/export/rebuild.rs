//! The network that computes what a GPT-2 of given parameters does.
//!
//! It is a GPT-Neo all of whose layers are global. GPT-2's division of the scores goes into the queries, by the head size
//! that the parameters' own file says.

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde_json::json;

use super::parameter::{Layer, Parameter, Part};
use super::shape::Gpt2Shape;
use crate::{GptNeo, GptNeoConfig, LayerNorm, LoraLinear, ModelError};

/// Builds it from what `read` says of each parameter; a linear layer's matrix is `[out, in]`.
///
/// # Errors
/// What `read` says; a shape that is no network's; values that are not as many as the shape asks for; biases of queries,
/// keys or values.
pub(super) fn rebuild<B: Backend>(
    shape: &Gpt2Shape,
    mut read: impl FnMut(Parameter) -> Result<Vec<f32>, ModelError>,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    let mut model = GptNeo::<B>::init(&config(shape)?, device);
    for parameter in Parameter::all(shape) {
        let mut values = read(parameter)?;
        let sizes = parameter.shape(shape);
        if values.len() != sizes.iter().product::<usize>() {
            let name = parameter.gguf();
            return Err(ModelError::Config(format!(
                "{name} has {} values, expected {sizes:?}",
                values.len()
            )));
        }
        let Parameter { layer, part } = parameter;
        if let Layer::QueryKeyValue(number) = layer {
            let attention = &mut model.transformer.h[number].attn.attention;
            let linears = [&mut attention.q_proj, &mut attention.k_proj, &mut attention.v_proj];
            match part {
                Part::Bias if values.iter().any(|value| *value != 0.0) => {
                    return Err(ModelError::Config(format!(
                        "{} has biases, which no GPT-Neo has",
                        parameter.gguf()
                    )));
                }
                Part::Bias => {}
                Part::Weight => {
                    let divisor = shape.score_divisor();
                    let one = shape.hidden * shape.hidden;
                    values[..one].iter_mut().for_each(|value| *value = (f64::from(*value) / divisor) as f32);
                    for (linear, rows) in linears.into_iter().zip(values.chunks_exact(one)) {
                        linear.weight = matrix(rows.to_vec(), [shape.hidden; 2], device);
                    }
                }
            }
            continue;
        }
        let transformer = &mut model.transformer;
        match layer {
            Layer::TokenEmbedding => {
                transformer.wte.weight = matrix(values, [shape.vocabulary, shape.hidden], device);
            }
            Layer::PositionEmbedding => {
                transformer.wpe.weight = matrix(values, [shape.positions, shape.hidden], device);
            }
            Layer::AttentionNorm(number) => set_norm(&mut transformer.h[number].ln_1, part, values, device),
            Layer::FeedForwardNorm(number) => set_norm(&mut transformer.h[number].ln_2, part, values, device),
            Layer::FinalNorm => set_norm(&mut transformer.ln_f, part, values, device),
            Layer::AttentionOutput(number) => {
                let linear = &mut transformer.h[number].attn.attention.out_proj;
                set_linear(linear, part, values, &sizes, device);
            }
            Layer::FeedForwardUp(number) => {
                set_linear(&mut transformer.h[number].mlp.c_fc, part, values, &sizes, device);
            }
            Layer::FeedForwardDown(number) => {
                set_linear(&mut transformer.h[number].mlp.c_proj, part, values, &sizes, device);
            }
            Layer::Head => {
                model.lm_head =
                    Some(LoraLinear::of(matrix(values, [shape.vocabulary, shape.hidden], device)));
            }
            Layer::QueryKeyValue(_) => {}
        }
    }
    Ok(model)
}

/// The shape as a GPT-Neo's, checked as any other.
fn config(shape: &Gpt2Shape) -> Result<GptNeoConfig, ModelError> {
    let value = json!({
        "model_type": "gpt_neo",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_layers": shape.layers,
        "num_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.positions,
        "attention_types": [[["global"], shape.layers]],
        "layer_norm_epsilon": shape.epsilon,
        "tie_word_embeddings": shape.tied,
        "eos_token_id": shape.end_of_text,
    });
    GptNeoConfig::from_json(value.as_object().cloned().unwrap_or_default())
}

fn set_norm<B: Backend>(norm: &mut LayerNorm<B>, part: Part, values: Vec<f32>, device: &B::Device) {
    match part {
        Part::Weight => norm.weight = vector(values, device),
        Part::Bias => norm.bias = vector(values, device),
    }
}

fn set_linear<B: Backend>(
    linear: &mut LoraLinear<B>,
    part: Part,
    values: Vec<f32>,
    sizes: &[usize],
    device: &B::Device,
) {
    match (part, sizes) {
        (Part::Weight, &[out, input]) => linear.weight = matrix(values, [out, input], device),
        _ => linear.bias = Some(vector(values, device)),
    }
}

fn matrix<B: Backend>(values: Vec<f32>, sizes: [usize; 2], device: &B::Device) -> Param<Tensor<B, 2>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, sizes), device))
}

fn vector<B: Backend>(values: Vec<f32>, device: &B::Device) -> Param<Tensor<B, 1>> {
    let size = [values.len()];
    Param::from_tensor(Tensor::from_data(TensorData::new(values, size), device))
}
