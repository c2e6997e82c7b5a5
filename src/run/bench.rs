//! The time of training steps and of generation, on random tokens; and the pace of the products beneath them.

#[cfg(feature = "flex")]
mod products;

use std::time::Instant;

use burn::module::AutodiffModule;
use gptneo_model::checkpoint::{load_base, load_model_of};
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, GptNeoConfig, LoraConfig, NeoBackend, SamplingConfig, WeightFormat};
use gptneo_training::timing::{TimedStep, time_steps};
use gptneo_training::{Activations, Precision, Tuning, TuningKind};

#[cfg(feature = "flex")]
pub use self::products::{BenchProducts, ProductRates, TimedProduct, time_products};
use crate::backend::{self, Job, Load, Place, Training, Work, dispatch};
use crate::settings::check_base_weights;
use crate::{Error, Remedy, Result};

/// How often a generation is timed.
const ROUNDS: usize = 3;

/// The model of a benchmark.
#[derive(Clone, Debug)]
pub enum BenchModel {
    /// The one of a folder.
    Folder(std::path::PathBuf, GptNeoConfig),
    /// Random weights of a shape.
    Random(GptNeoConfig),
}

impl BenchModel {
    /// The model of a folder, which need have no tokenizer.
    ///
    /// # Errors
    /// Its configuration is missing or damaged.
    pub fn folder(path: impl Into<std::path::PathBuf>) -> Result<Self> {
        let path = path.into();
        let config = GptNeoConfig::from_folder(&path)?;
        Ok(Self::Folder(path, config))
    }

    /// Its shape.
    pub fn config(&self) -> &GptNeoConfig {
        match self {
            Self::Folder(_, config) | Self::Random(config) => config,
        }
    }
}

/// Training steps to time.
#[derive(Clone, Debug)]
pub struct BenchTraining {
    /// The base.
    pub model: BenchModel,
    /// The adapter that is trained.
    pub lora: LoraConfig,
    /// The numbers of the matrix products.
    pub precision: Precision,
    /// What a step keeps of the inside of blocks.
    pub activations: Activations,
    /// The format that the base is kept in.
    pub base_weights: WeightFormat,
    /// Texts in a batch.
    pub batch_size: usize,
    /// Tokens in a text.
    pub length: usize,
    /// Steps.
    pub steps: usize,
    /// Seed of weights and tokens.
    pub seed: u64,
}

/// A generation to time.
#[derive(Clone, Debug)]
pub struct BenchGeneration {
    /// The model.
    pub model: BenchModel,
    /// The format that its weights are kept in.
    pub weights: WeightFormat,
    /// Prompts at a time.
    pub batch_size: usize,
    /// Tokens in a prompt.
    pub prompt_length: usize,
    /// Tokens to add to each.
    pub max_new_tokens: usize,
    /// Seed of weights and tokens.
    pub seed: u64,
}

/// Takes and times each step.
///
/// # Errors
/// The device lacks room or the precision, or a file does not fit.
pub fn time_training(place: Place, what: BenchTraining) -> Result<Vec<TimedStep>> {
    let config = what.model.config();
    check_positions(config, what.length, 0)?;
    check_base_weights(what.base_weights, TuningKind::Lora, what.precision)?;
    place.check_base_weights(what.base_weights)?;
    place.check_room(config, what.batch_size, what.length)?;
    place.check_memory(&Load {
        model: config,
        weights: what.base_weights,
        work: Work::Training(TuningKind::Lora, &what.lora, what.activations),
        positions: what.batch_size as f64 * what.length as f64,
        smaller: fewer(),
    })?;
    let texts = random_texts(config, what.batch_size, what.length, what.seed);
    dispatch(place, TimeSteps { what, texts })
}

/// The seconds of each round.
///
/// # Errors
/// As [`time_training`].
pub fn time_generation(place: Place, what: BenchGeneration) -> Result<Vec<f64>> {
    let BenchGeneration { model, weights, batch_size, prompt_length, max_new_tokens, seed } = &what;
    check_positions(model.config(), *prompt_length, *max_new_tokens)?;
    place.check_weights(*weights)?;
    // Random weights are drawn in f32.
    let loaded = match model {
        BenchModel::Folder(..) => *weights,
        BenchModel::Random(_) => WeightFormat::F32,
    };
    place.check_room_for(loaded, model.config(), *batch_size, *prompt_length)?;
    place.check_memory(&Load {
        model: model.config(),
        weights: loaded,
        work: Work::Writing,
        positions: *batch_size as f64 * (*prompt_length as f64 + *max_new_tokens as f64),
        smaller: fewer(),
    })?;
    let prompts = random_texts(model.config(), *batch_size, *prompt_length, *seed);
    dispatch(place, TimeRounds { what, prompts })
}

struct TimeSteps {
    what: BenchTraining,
    texts: Vec<Vec<u32>>,
}

impl Job for TimeSteps {
    type Output = Vec<TimedStep>;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        let BenchTraining { model, lora, precision, activations, base_weights, steps, seed, .. } = self.what;
        B::seed(&device, seed);
        let model = match &model {
            _ if base_weights == WeightFormat::F32 => match &model {
                BenchModel::Folder(folder, config) => {
                    load_model_of::<Training<B>>(config, base_weights, folder, &device)?
                }
                BenchModel::Random(config) => GptNeo::init(config, &device),
            },
            BenchModel::Folder(folder, config) => {
                GptNeo::from_inner(load_base::<B>(config, base_weights, folder, &device)?)
            }
            BenchModel::Random(config) => {
                GptNeo::from_inner(GptNeo::<B>::init(config, &device).with_base_weights(base_weights))
            }
        }
        .with_activations(activations);
        backend::suit_allocator(activations);
        Ok(time_steps::<B>(model, &Tuning::Lora(lora), precision, self.texts, steps)?)
    }
}

struct TimeRounds {
    what: BenchGeneration,
    prompts: Vec<Vec<u32>>,
}

impl Job for TimeRounds {
    type Output = Vec<f64>;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        let BenchGeneration { model, weights, max_new_tokens, seed, .. } = self.what;
        B::seed(&device, seed);
        let model = match &model {
            BenchModel::Folder(folder, config) => load_model_of::<B>(config, weights, folder, &device)?,
            BenchModel::Random(config) => GptNeo::init(config, &device),
        }
        .with_weights(weights);
        let config =
            GenerationConfig { max_new_tokens, sampling: SamplingConfig::default(), end_tokens: Vec::new() };
        let round = || {
            let start = Instant::now();
            let hear: &mut (dyn FnMut(usize, u32) + Send) = &mut |_, _| {};
            generate(&model, &self.prompts, &config, hear)?;
            Ok(start.elapsed().as_secs_f64())
        };
        (0..ROUNDS).map(|_| round()).collect()
    }
}

/// What makes the texts of a benchmark fewer or shorter.
fn fewer() -> Remedy {
    Remedy::Either(vec![Remedy::Lower("training.batch_size"), Remedy::say("ask for fewer tokens")])
}

/// Refuses texts of `length` tokens, with `more` to come, that the model has no positions for.
fn check_positions(config: &GptNeoConfig, length: usize, more: usize) -> Result<()> {
    let positions = config.max_position_embeddings;
    if length.saturating_add(more) <= positions {
        return Ok(());
    }
    Err(Error::settings(
        format!("{length} + {more} tokens do not fit into the model's {positions} positions"),
        Remedy::say("ask for fewer"),
    ))
}

/// Texts that fill the model as real ones would; which tokens they hold does not matter to the time.
fn random_texts(config: &GptNeoConfig, batch: usize, length: usize, seed: u64) -> Vec<Vec<u32>> {
    // Knuth's linear congruential generator; its high bits are used.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % config.vocab_size as u64) as u32
    };
    (0..batch).map(|_| (0..length).map(|_| next()).collect()).collect()
}
