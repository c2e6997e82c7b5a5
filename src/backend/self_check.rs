//! The check that a GPU computes what a CPU does, before it is trusted with a model: a tiny GPT-Neo with an adapter,
//! filled by a fixed rule, whose loss, gradient norm and greedy continuation are known.
//!
//! It is there for drivers and kernels that compute wrongly without an error. The known figures are those of the CPU
//! backend flex; a test works them out again.

use anyhow::{Result, bail};
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::cast::ToElement;
use burn::tensor::{Int, Tensor, TensorData};
use gptneo_model::adapter::attach;
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, GptNeoConfig, LoraConfig, NeoBackend, SamplingConfig, Target};
use serde_json::json;

use super::Training;

/// What flex computes, in f32.
const LOSS: f64 = 5.108229;
const GRADIENT_NORM: f64 = 1.174412;
const CONTINUED: [[u32; 4]; 2] = [[8, 76, 76, 2], [68, 11, 13, 11]];

/// How far the loss may be off, as a share. f32 in another order gives 1e-6. A GPU may round the factors of a product
/// to TF32, with 11 bits of significand: 5e-4 in each, some times that behind a few layers. What a wrong kernel gives is
/// off by far more: the loss of a model of zeros, `ln VOCABULARY`, by a multiple of this.
const LOSS_TOLERANCE: f64 = 0.01;
/// The same for the gradient norm, which has a forward and a backward pass behind it.
const GRADIENT_TOLERANCE: f64 = 0.03;

const VOCABULARY: usize = 96;
/// Three texts of this many tokens: more than the local layer sees, and no round number.
const LENGTH: usize = 13;
const TEXTS: usize = 3;

/// Computes the tiny model on `device` and compares.
///
/// # Errors
/// A figure is off; the message has all of them.
pub(super) fn run<B: NeoBackend>(device: &B::Device) -> Result<()> {
    let found = Figures::measure::<B>(device)?;
    if found.agree() {
        return Ok(());
    }
    let Figures { loss, gradient_norm, continued } = found;
    bail!(
        "the device {device:?} computes wrongly, so it is not used: a known model has a loss of {loss:.6} on it \
         (expected {LOSS:.6}), a gradient norm of {gradient_norm:.6} (expected {GRADIENT_NORM:.6}), and goes on with \
         {continued:?} (expected {CONTINUED:?}). Update its driver, build the program without the feature fusion \
         (docs/backends.md says how), or compute with --backend flex"
    )
}

/// What is compared.
#[derive(Debug)]
struct Figures {
    /// Nats per token.
    loss: f64,
    /// Of all gradients of the adapter together.
    gradient_norm: f64,
    /// The likeliest continuations of two prompts of unequal length.
    continued: Vec<Vec<u32>>,
}

impl Figures {
    fn measure<B: NeoBackend>(device: &B::Device) -> Result<Self> {
        let model = model::<B>(device)?;
        let ids: Vec<i32> = texts();
        let ids = Tensor::<Training<B>, 2, Int>::from_data(TensorData::new(ids, [TEXTS, LENGTH]), device);
        let hidden = model.hidden(ids.clone().slice([0..TEXTS, 0..LENGTH - 1]));
        let [texts, tokens, width] = hidden.dims();
        // [texts, tokens, width] -> [texts * tokens, width]
        let hidden = hidden.reshape([texts * tokens, width]);
        let targets = ids.slice([0..TEXTS, 1..LENGTH]).reshape([texts * tokens]);
        let loss = model.cross_entropy_sum(hidden, targets) / (texts * tokens) as f64;
        let value = loss.clone().into_scalar().to_f64();
        let mut norm = SquaredNorm { gradients: loss.backward(), sum: 0.0 };
        model.visit(&mut norm);
        let prompts: Vec<Vec<u32>> =
            [[5, 17, 40, 2, 61, 33, 9].as_slice(), &[80, 3, 54]].map(<[u32]>::to_vec).into();
        let sampling = SamplingConfig::default();
        let config = GenerationConfig { max_new_tokens: CONTINUED[0].len(), sampling, end_of_text: None };
        let continued = generate(&model.valid(), &prompts, &config, |_, _| {})?;
        Ok(Self {
            loss: value,
            gradient_norm: norm.sum.sqrt(),
            continued: continued.into_iter().map(|text| text.ids).collect(),
        })
    }

    /// Whether all figures are what they should be; one that is no number is not.
    fn agree(&self) -> bool {
        (self.loss / LOSS - 1.0).abs() <= LOSS_TOLERANCE
            && (self.gradient_norm / GRADIENT_NORM - 1.0).abs() <= GRADIENT_TOLERANCE
            && self.continued == CONTINUED
    }
}

/// Two layers, one of each kind, with an adapter on every linear layer.
fn model<B: NeoBackend>(device: &B::Device) -> Result<GptNeo<Training<B>>> {
    let config = json!({
        "hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": VOCABULARY, "window_size": 5,
        "max_position_embeddings": 24, "attention_types": [[["global", "local"], 1]],
    });
    let config = GptNeoConfig::from_json(config.as_object().cloned().unwrap_or_default())?;
    let target_modules = Target::ALL.map(Into::into).to_vec();
    let lora = LoraConfig { r: 4, alpha: 4.0, dropout: 0.0, target_modules, ..LoraConfig::default() };
    Ok(attach(GptNeo::init(&config, device), &lora, device)?.map(&mut Fill { state: 1 }))
}

/// Tokens of the texts, one text after the other.
fn texts() -> Vec<i32> {
    (0..TEXTS * LENGTH).map(|index| ((index * index * 7 + index * 11 + 5) % VOCABULARY) as i32).collect()
}

/// Fills matrices anew and moves vectors off their ones and zeros, from one row of numbers.
struct Fill {
    state: u64,
}

impl Fill {
    /// Evenly within -1 and 1: the high bits of Knuth's linear congruential generator.
    fn next(&mut self) -> f32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

impl<B: Backend> ModuleMapper<B> for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| {
            let tracked = tensor.is_require_grad();
            let (shape, device) = (tensor.dims(), tensor.device());
            let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| self.next()).collect();
            let fresh = Tensor::<B, D>::from_data(TensorData::new(numbers, shape), &device);
            let filled = if D == 1 { tensor.detach() + fresh * 0.1 } else { fresh * 0.25 };
            filled.set_require_grad(tracked)
        })
    }
}

/// Adds up the squares of the gradients.
struct SquaredNorm<G> {
    gradients: G,
    sum: f64,
}

impl<B: NeoBackend> ModuleVisitor<Training<B>>
    for SquaredNorm<<Training<B> as burn::tensor::backend::AutodiffBackend>::Gradients>
{
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training<B>, D>>) {
        if let Some(gradient) = param.val().grad(&self.gradients) {
            self.sum += gradient.powi_scalar(2).sum().into_scalar().to_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    use super::*;

    #[test]
    fn the_known_figures_are_those_of_flex() {
        let found = Figures::measure::<Flex>(&Default::default()).unwrap();
        assert!((found.loss - LOSS).abs() < 1e-5, "{found:?}");
        assert!((found.gradient_norm - GRADIENT_NORM).abs() < 1e-5, "{found:?}");
        assert_eq!(found.continued, CONTINUED);
        run::<NdArray>(&Default::default()).unwrap();
    }

    #[test]
    fn a_device_that_is_off_is_refused() {
        let good = || Figures {
            loss: LOSS,
            gradient_norm: GRADIENT_NORM,
            continued: CONTINUED.map(Vec::from).into(),
        };
        assert!(good().agree());
        // A model whose products are zeros.
        assert!(!Figures { loss: (VOCABULARY as f64).ln(), ..good() }.agree());
        assert!(!Figures { loss: f64::NAN, ..good() }.agree());
        assert!(!Figures { gradient_norm: 0.0, ..good() }.agree());
        assert!(!Figures { gradient_norm: GRADIENT_NORM * 1.05, ..good() }.agree());
        assert!(!Figures { continued: vec![vec![0; 4]; 2], ..good() }.agree());
    }
}
