//! In what a model that only answers keeps its matrices. A step of decoding reads every one of them once: half the
//! bytes is nearly twice the speed.

use std::fmt;
use std::str::FromStr;

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::quantization::{QuantLevel, QuantScheme, QuantStore, QuantValue};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use crate::{GptNeo, LoraLinear, ModelError, Precision};

/// The most values of a row that share a scale.
const BLOCK: usize = 64;

/// The format of the matrices of linear layers and head. Position embedding, norms, biases and adapters stay f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightFormat {
    /// 4 bytes a weight, as the model was read.
    #[default]
    F32,
    /// 2 bytes: 11 bits of significand. For GPUs: products are made in it, and the token embedding is kept in it too,
    /// so that a device holds it that could not hold it in f32.
    F16,
    /// 2 bytes: 8 bits of significand. All sums are f32.
    Bf16,
    /// 1 byte, and a 4-byte scale for each 64 weights of a row: round to nearest, symmetric about zero. All sums are
    /// f32.
    Int8,
}

impl WeightFormat {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];

    /// Those of a base that an adapter is trained over.
    pub const OF_A_BASE: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// The type of the token embedding, and of the head that is tied to it.
    pub(crate) fn of_table(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::F32 | Self::Bf16 | Self::Int8 => DType::F32,
        }
    }

    /// A matrix `[out, in]` in this format.
    pub fn of<B: Backend>(self, weight: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::F32 => weight,
            Self::F16 => weight.cast(DType::F16),
            Self::Bf16 => weight.cast(DType::BF16),
            Self::Int8 => {
                let [_, input] = weight.dims();
                // The largest power of two that divides the row, so that no block spans two.
                let block = (1 << input.trailing_zeros()).min(BLOCK);
                let scheme = QuantScheme::default()
                    .with_value(QuantValue::Q8S)
                    .with_level(QuantLevel::block([block as u8]))
                    .with_store(QuantStore::Native);
                weight.quantize_dynamic(&scheme)
            }
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WeightFormat {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("format of weights", name, &Self::ALL.map(Self::name)))
    }
}

impl<B: Backend> GptNeo<B> {
    /// The model with its matrices in another format, for inference alone: it is not to be saved or trained. The head
    /// becomes a matrix of its own, and but for f16 the token embedding stays f32.
    ///
    /// The backend must have the format: of those here, Flex has all, NdArray int8 alone, GPUs f16 where
    /// `Backend::supports_dtype` says so.
    #[must_use]
    pub fn with_weights(self, format: WeightFormat) -> Self {
        match format {
            WeightFormat::F32 => self,
            WeightFormat::F16 => self
                .made_anew(|mut model| {
                    model.transformer.wte.weight = model.transformer.wte.weight.map(|table| format.of(table));
                    model
                })
                .with_precision(Precision::F16),
            WeightFormat::Bf16 | WeightFormat::Int8 => self.made_anew(|mut model| {
                let head = model.lm_head.take().map_or_else(|| model.head_weight(), |head| head.weight.val());
                model.lm_head = Some(LoraLinear::of(Param::from_tensor(format.of(head))));
                for (_, _, linear) in model.linears_mut() {
                    linear.weight = linear.weight.clone().map(|weight| format.of(weight));
                }
                model
            }),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Int, Tensor, TensorData};
    use burn_flex::Flex;

    use super::*;
    use crate::adapter::attach;
    use crate::{GptNeoConfig, LoraConfig, Target};

    /// A random model with an adapter that does something.
    fn model() -> GptNeo<Flex> {
        let value = serde_json::json!({
            "model_type": "gpt_neo",
            "vocab_size": 70, "hidden_size": 24, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 32,
            "attention_types": [[["global", "local"], 1]], "window_size": 4, "initializer_range": 0.3,
        });
        let config = GptNeoConfig::from_json(value.as_object().unwrap().clone()).unwrap();
        let device = Default::default();
        let lora = LoraConfig {
            target_modules: vec![Target::VProj.into(), Target::CFc.into()],
            ..LoraConfig::default()
        };
        let mut model = attach(GptNeo::init(&config, &device), &lora, &device).unwrap();
        for (_, _, linear) in model.linears_mut() {
            if let Some(lora) = &mut linear.lora {
                lora.b = lora.b.clone().map(|b| b + 0.02);
            }
        }
        model
    }

    /// The logits of the last of `tokens` tokens of two texts.
    fn logits(model: &GptNeo<Flex>, tokens: usize) -> Vec<f32> {
        let ids: Vec<i32> = (0..2 * tokens as i32).map(|index| index * 31 % 70).collect();
        let ids = Tensor::<Flex, 2, Int>::from_data(TensorData::new(ids, [2, tokens]), &Default::default());
        let hidden = model.hidden(ids);
        let [batch, _, width] = hidden.dims();
        let last = hidden.slice([0..batch, tokens - 1..tokens]).reshape([batch, width]);
        model.logits(last).into_data().to_vec().unwrap()
    }

    fn largest_distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Kernels for few rows and for many read the stored format as the rounded weights that it means: the same sums in
    /// another order, so that 1e-4 of logits of some 10 is rounding.
    #[test]
    fn a_format_computes_with_the_rounded_weights() {
        let exact = model();
        // Weights are drawn when they are first used, by each clone anew.
        logits(&exact, 1);
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            let mut rounded = exact.clone();
            let round = |weight: Tensor<Flex, 2>| match format {
                WeightFormat::Int8 => format.of(weight).dequantize(),
                _ => format.of(weight).cast(DType::F32),
            };
            let head = round(exact.head_weight());
            rounded.lm_head = Some(LoraLinear::of(Param::from_tensor(head)));
            for (_, _, linear) in rounded.linears_mut() {
                linear.weight = linear.weight.clone().map(round);
            }
            let packed = exact.clone().with_weights(format);
            for tokens in [1, 5, 20] {
                let [packed, rounded, exact] = [&packed, &rounded, &exact].map(|model| logits(model, tokens));
                assert!(largest_distance(&packed, &rounded) < 1e-4, "{format:?}, {tokens} tokens");
                assert!(largest_distance(&packed, &exact) > 1e-3, "{format:?} changes nothing");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_settings_and_an_unknown_one_is_refused_with_the_list() {
        for one in WeightFormat::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
            assert_eq!(one.to_string().parse::<WeightFormat>().unwrap(), one);
        }
        let message = "int4".parse::<WeightFormat>().unwrap_err().to_string();
        assert_eq!(message, "format of weights is \"int4\"; expected f32 or f16 or bf16 or int8");
    }
}
