//! `bench`: the time and memory of training steps and of generation, on random tokens.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use gptneo_model::checkpoint::{load_model, load_model_for};
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, SamplingConfig, WeightFormat};
use gptneo_training::timing::{TimedStep, time_steps};
use gptneo_training::{Precision, Tuning};
use serde::Serialize;

use crate::backend::{Job, Training, dispatch};
use crate::cli::{BenchCommand, BenchGenerateArgs, BenchTrainArgs};
use crate::failure::Misuse;
use crate::hub;
use crate::loading::read_config;
use crate::machine::peak_memory;
use crate::output;
use crate::settings::{Flags, Origin, Settings};

/// How often a generation is timed.
const ROUNDS: usize = 3;

/// Runs the command.
pub(crate) fn run(what: &BenchCommand) -> Result<()> {
    match what {
        BenchCommand::Train(args) => train(args),
        BenchCommand::Generate(args) => generation(args),
    }
}

/// What `bench train` prints.
#[derive(Serialize)]
struct TrainReport {
    /// The median of all steps but the first.
    seconds_per_step: f64,
    tokens_per_second: f64,
    /// The largest resident memory of the process; none where the system does not tell.
    peak_memory_bytes: Option<u64>,
    losses: Vec<f64>,
    seconds: Vec<f64>,
    backend: &'static str,
}

fn train(args: &BenchTrainArgs) -> Result<()> {
    let folder = args.source.model.as_deref().map(hub::model).transpose()?;
    let config = shape(folder.as_deref(), args.source.config.as_deref())?;
    let settings = Settings::resolve(Origin::Defaults, Flags::default().with("lora", &args.lora)?)?;
    let tuning = Tuning::Lora(settings.lora);
    let texts = random_texts(&config, args.batch_size, args.length, 0, args.common.seed)?;
    let place = args.common.backend.place();
    place.check_room(&config, args.batch_size, args.length)?;
    let precision = place.precision(args.common.precision)?;
    let steps = dispatch(place, Train { args, folder, config, tuning, texts, precision })?;
    let seconds: Vec<f64> = steps.iter().map(|step| step.seconds).collect();
    let seconds_per_step = median(if seconds.len() > 1 { &seconds[1..] } else { &seconds });
    let report = TrainReport {
        seconds_per_step,
        tokens_per_second: (args.batch_size * args.length) as f64 / seconds_per_step,
        peak_memory_bytes: peak_memory(),
        losses: steps.iter().map(|step| step.loss).collect(),
        seconds,
        backend: place.kind.resolved().name(),
    };
    if args.common.json {
        return output::json(&report);
    }
    output::line(format_args!(
        "{:.3} s a step, {:.0} tokens/s{}",
        report.seconds_per_step,
        report.tokens_per_second,
        memory_text(report.peak_memory_bytes)
    ))
}

struct Train<'a> {
    args: &'a BenchTrainArgs,
    folder: Option<PathBuf>,
    config: GptNeoConfig,
    tuning: Tuning,
    texts: Vec<Vec<u32>>,
    precision: Precision,
}

impl Job for Train<'_> {
    type Output = Vec<TimedStep>;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        B::seed(&device, self.args.common.seed);
        let model = match &self.folder {
            Some(folder) => load_model::<Training<B>>(folder, &device)?,
            None => GptNeo::init(&self.config, &device),
        };
        Ok(time_steps::<B>(model, &self.tuning, self.precision, self.texts, self.args.steps)?)
    }
}

/// What `bench generate` prints.
#[derive(Serialize)]
struct GenerateReport {
    /// The median of the rounds: new tokens of all prompts over the time.
    tokens_per_second: f64,
    seconds: Vec<f64>,
    peak_memory_bytes: Option<u64>,
    backend: &'static str,
}

fn generation(args: &BenchGenerateArgs) -> Result<()> {
    let folder = args.source.model.as_deref().map(hub::model).transpose()?;
    let config = shape(folder.as_deref(), args.source.config.as_deref())?;
    let prompts =
        random_texts(&config, args.batch_size, args.prompt_length, args.max_new_tokens, args.common.seed)?;
    let place = args.common.backend.place();
    let format = args.weights.weights.into();
    place.check_weights(format)?;
    if args.common.precision != Precision::F32 {
        return Err(Misuse::error(
            "--precision other than f32 is for training: bench generate takes --weights, which keeps the weights small",
        ));
    }
    // Random weights are drawn in f32.
    let loaded = folder.as_ref().map_or(WeightFormat::F32, |_| format);
    place.check_room_for(loaded, &config, args.batch_size, args.prompt_length)?;
    let seconds = dispatch(place, Generate { args, folder, config, prompts, format })?;
    let report = GenerateReport {
        tokens_per_second: (args.batch_size * args.max_new_tokens) as f64 / median(&seconds),
        seconds,
        peak_memory_bytes: peak_memory(),
        backend: place.kind.resolved().name(),
    };
    if args.common.json {
        return output::json(&report);
    }
    let memory = memory_text(report.peak_memory_bytes);
    output::line(format_args!("{:.1} tokens/s{memory}", report.tokens_per_second))
}

struct Generate<'a> {
    args: &'a BenchGenerateArgs,
    folder: Option<PathBuf>,
    config: GptNeoConfig,
    prompts: Vec<Vec<u32>>,
    format: WeightFormat,
}

impl Job for Generate<'_> {
    type Output = Vec<f64>;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        B::seed(&device, self.args.common.seed);
        let model = match &self.folder {
            Some(folder) => load_model_for::<B>(self.format, folder, &device)?,
            None => GptNeo::init(&self.config, &device),
        }
        .with_weights(self.format);
        let config = GenerationConfig {
            max_new_tokens: self.args.max_new_tokens,
            sampling: SamplingConfig::default(),
            end_of_text: None,
        };
        let round = || {
            let start = Instant::now();
            generate(&model, &self.prompts, &config, |_, _| {})?;
            Ok(start.elapsed().as_secs_f64())
        };
        (0..ROUNDS).map(|_| round()).collect()
    }
}

fn shape(folder: Option<&Path>, file: Option<&Path>) -> Result<GptNeoConfig> {
    match (folder, file) {
        (Some(folder), _) => read_config(folder),
        (None, Some(file)) => Ok(GptNeoConfig::from_file(file)?),
        (None, None) => Err(Misuse::error("give --model DIR or --config FILE")),
    }
}

/// Texts that fill the model as real ones would; which tokens they hold does not matter to the time.
fn random_texts(
    config: &GptNeoConfig,
    batch: usize,
    length: usize,
    more: usize,
    seed: u64,
) -> Result<Vec<Vec<u32>>> {
    if length + more > config.max_position_embeddings {
        return Err(Misuse::error(format!(
            "{length} + {more} tokens do not fit into the model's {} positions: ask for fewer",
            config.max_position_embeddings
        )));
    }
    // Knuth's linear congruential generator; its high bits are used.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % config.vocab_size as u64) as u32
    };
    Ok((0..batch).map(|_| (0..length).map(|_| next()).collect()).collect())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

fn memory_text(peak: Option<u64>) -> String {
    peak.map(|bytes| format!(", peak memory {:.2} GB", bytes as f64 / 1e9)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
