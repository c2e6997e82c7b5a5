//! The check that a GPU computes what a CPU does, before it is trusted with a model: a tiny GPT-Neo with an adapter,
//! filled by a fixed rule, whose loss, gradient norm and greedy continuation are known.
//!
//! It is there for drivers and kernels that compute wrongly without an error. The known figures are those of the CPU
//! backend flex; a test works them out again. Every precision that the GPU is to train in is checked, f16 with the
//! scaled loss that it trains with, and the shapes are such that rows end where a GPU pads its memory.

use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn::tensor::cast::ToElement;
use burn::tensor::{Int, Tensor, TensorData};
use gptneo_model::adapter::attach;
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, GptNeoConfig, LoraConfig, NeoBackend, SamplingConfig, Target};
use gptneo_training::precision::LossScale;
use gptneo_training::{GradientNorm, Precision};
use serde_json::json;

use super::Training;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use super::device::Device;
use crate::{Error, Remedy, Result};

/// What flex computes, in f32.
const LOSS: f64 = 4.900170;
const GRADIENT_NORM: f64 = 0.479755;
const CONTINUED: [[u32; 4]; 2] = [[15, 20, 73, 24], [28, 20, 20, 20]];

/// How far the loss may be off, as a share. f32 in another order gives 1e-6. A GPU may round the factors of a product
/// to TF32, with 11 bits of significand as f16: 5e-4 in each, some times that behind a few layers; bf16 has 8 bits. What
/// a wrong kernel gives is off by far more: the loss of a model of zeros, `ln VOCABULARY`, by a multiple of this.
const LOSS_TOLERANCE: f64 = 0.01;
/// The same for the gradient norm, which has a forward and a backward pass behind it.
const GRADIENT_TOLERANCE: f64 = 0.03;
/// The tolerances in bf16, as multiples of these.
const BF16: f64 = 2.0;

/// No multiple of what a GPU reads at once.
const VOCABULARY: usize = 97;
/// Two texts of this many tokens, of which the model reads all but the last: 110 keys, whose scores do not fill the 512
/// bytes that CUDA gives each row, and more than the local layer sees.
const LENGTH: usize = 111;
const TEXTS: usize = 2;
/// What the local layer sees.
const WINDOW: usize = 40;

/// Computes the tiny model on `device`, which is described by `found`, and compares.
///
/// # Errors
/// A figure is off; the message has all of them.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub(super) fn run<B: NeoBackend>(device: &B::Device, found: &Device) -> Result<()> {
    // A driver that only counts computes nothing.
    if cfg!(feature = "counting-driver") && std::env::var_os("GPTNEO_LORA_UNCHECKED").is_some() {
        return Ok(());
    }
    let halves = [(Precision::F16, found.f16), (Precision::Bf16, found.bf16)];
    let halves = halves.into_iter().filter(|(_, has)| *has).map(|(half, _)| half);
    for precision in std::iter::once(Precision::F32).chain(halves) {
        let figures = Figures::measure::<B>(precision, device)?;
        if !figures.agree(precision) {
            let Figures { loss, gradient_norm, continued } = figures;
            return Err(Error::device(
                format!(
                    "{} computes wrongly in {precision}, so it is not used: a known model has a loss of {loss:.6} on it \
                     (expected {LOSS:.6}), a gradient norm of {gradient_norm:.6} (expected {GRADIENT_NORM:.6}), and \
                     goes on with {continued:?} (expected {CONTINUED:?} in f32)",
                    found.name
                ),
                Remedy::Either(vec![
                    Remedy::say("update its driver"),
                    Remedy::Set("run.backend", "flex".into()),
                ]),
            ));
        }
    }
    Ok(())
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
    fn measure<B: NeoBackend>(precision: Precision, device: &B::Device) -> Result<Self> {
        let model = model::<B>(device)?.with_precision(precision);
        let ids = Tensor::<Training<B>, 2, Int>::from_data(TensorData::new(texts(), [TEXTS, LENGTH]), device);
        let hidden = model.hidden(ids.clone().slice([0..TEXTS, 0..LENGTH - 1]));
        let [texts, tokens, width] = hidden.dims();
        // [texts, tokens, width] -> [texts * tokens, width]
        let hidden = hidden.reshape([texts * tokens, width]);
        let targets = ids.slice([0..TEXTS, 1..LENGTH]).reshape([texts * tokens]);
        let loss = model.cross_entropy_sum(hidden, targets) / (texts * tokens) as f64;
        let value = loss.clone().into_scalar().to_f64();
        let scale = LossScale::of(precision).map(|scale| scale.scale);
        let scaled = loss * scale.unwrap_or(1.0);
        let gradients = GradientsParams::from_grads(scaled.backward(), &model);
        let found = GradientNorm::of(&model, &gradients, scale);
        if scale.is_some() && !found.finite {
            let what =
                format!("the gradients of a known model are not finite in {precision}, so it is not used");
            return Err(Error::device(what, Remedy::None));
        }
        let prompts: Vec<Vec<u32>> =
            [[5, 17, 40, 2, 61, 33, 9].as_slice(), &[80, 3, 54]].map(<[u32]>::to_vec).into();
        let sampling = SamplingConfig::default();
        let config =
            GenerationConfig { max_new_tokens: CONTINUED[0].len(), sampling, end_tokens: Vec::new() };
        let continued = generate(&model.valid(), &prompts, &config, |_, _| {})?;
        let continued = continued.into_iter().map(|text| text.ids).collect();
        Ok(Self { loss: value, gradient_norm: found.norm, continued })
    }

    /// Whether all figures are what they should be; one that is no number is not. Which of two tokens is likelier can
    /// be a matter of rounding in half precision.
    fn agree(&self, precision: Precision) -> bool {
        let factor = if precision == Precision::Bf16 { BF16 } else { 1.0 };
        (self.loss / LOSS - 1.0).abs() <= factor * LOSS_TOLERANCE
            && (self.gradient_norm / GRADIENT_NORM - 1.0).abs() <= factor * GRADIENT_TOLERANCE
            && (precision != Precision::F32 || self.continued == CONTINUED)
    }
}

/// Two layers, one of each kind, with an adapter on every linear layer.
fn model<B: NeoBackend>(device: &B::Device) -> Result<GptNeo<Training<B>>> {
    let config = json!({
        "hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": VOCABULARY, "window_size": WINDOW,
        "max_position_embeddings": LENGTH, "attention_types": [[["global", "local"], 1]],
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn_flex::Flex;
    use burn_ndarray::NdArray;

    use super::*;

    #[test]
    fn the_known_figures_are_those_of_flex() {
        let found = Figures::measure::<Flex>(Precision::F32, &Default::default()).unwrap();
        assert!((found.loss - LOSS).abs() < 1e-5, "{found:?}");
        assert!((found.gradient_norm - GRADIENT_NORM).abs() < 1e-5, "{found:?}");
        assert_eq!(found.continued, CONTINUED);
        let independent = Figures::measure::<NdArray>(Precision::F32, &Default::default()).unwrap();
        assert!(independent.agree(Precision::F32), "{independent:?}");
    }

    #[test]
    fn half_precision_is_within_its_tolerance() {
        for precision in [Precision::F16, Precision::Bf16] {
            let found = Figures::measure::<Flex>(precision, &Default::default()).unwrap();
            assert!(found.agree(precision), "{precision:?} {found:?}");
        }
    }

    #[test]
    fn a_device_that_is_off_is_refused() {
        let good = || Figures {
            loss: LOSS,
            gradient_norm: GRADIENT_NORM,
            continued: CONTINUED.map(Vec::from).into(),
        };
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            assert!(good().agree(precision));
            // A model whose products are zeros.
            assert!(!Figures { loss: (VOCABULARY as f64).ln(), ..good() }.agree(precision));
            assert!(!Figures { loss: f64::NAN, ..good() }.agree(precision));
            assert!(!Figures { gradient_norm: 0.0, ..good() }.agree(precision));
            assert!(!Figures { gradient_norm: GRADIENT_NORM * 1.07, ..good() }.agree(precision));
        }
        assert!(!Figures { continued: vec![vec![0; 4]; 2], ..good() }.agree(Precision::F32));
    }
}
