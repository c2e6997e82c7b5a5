//! `bench`: the time and memory of training steps and of generation, on random tokens; the pace of matrix products.

#[cfg(feature = "flex")]
mod products;

use anyhow::Result;
use gptneo_lora::backend::machine::peak_memory;
use gptneo_lora::run::bench::{BenchGeneration, BenchModel, BenchTraining, time_generation, time_training};
use gptneo_lora::settings::{Layer, Origin, Settings};
use gptneo_model::GptNeoConfig;
use gptneo_training::{Activations, Precision};
use serde::Serialize;

use crate::cli::{BenchCommand, BenchGenerateArgs, BenchSource, BenchTrainArgs};
use crate::hub;
use crate::terminal::failure::Misuse;
use crate::terminal::{notes, output, wording};

/// Runs the command.
pub(crate) fn run(what: &BenchCommand) -> Result<()> {
    match what {
        BenchCommand::Train(args) => train(args),
        BenchCommand::Generate(args) => generation(args),
        #[cfg(feature = "flex")]
        BenchCommand::Products(args) => products::run(args),
        #[cfg(not(feature = "flex"))]
        BenchCommand::Products(_) => Err(Misuse::error(
            "bench products measures the processor's own kernels, which are not in this build: build with the cargo \
             feature flex",
        )),
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
    let place = args.common.backend.place();
    let (precision, warning) = place.precision(args.common.precision)?;
    warning.iter().for_each(|problem| notes::warn(wording::of_problem(problem)));
    if args.length < 2 {
        return Err(Misuse::error("--length 1 leaves no token to predict: give 2 or more"));
    }
    let model = model(&args.source)?;
    check_positions(&model, &[("--length", args.length)])?;
    let steps = time_training(
        place,
        BenchTraining {
            model,
            lora: Settings::resolve(Origin::Defaults, Layer::default().with("lora", &args.lora)?)?.lora,
            precision,
            activations: Activations::recomputed_if(args.held.gradient_checkpointing),
            base_weights: args.held.base_weights.unwrap_or_default(),
            batch_size: args.batch_size,
            length: args.length,
            steps: args.steps,
            seed: args.common.seed,
        },
    )?;
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
    if args.common.precision != Precision::F32 {
        return Err(Misuse::error(
            "--precision other than f32 is for training: bench generate takes --weights, which keeps the weights small",
        ));
    }
    let place = args.common.backend.place();
    let model = model(&args.source)?;
    check_positions(
        &model,
        &[("--prompt-length", args.prompt_length), ("--max-new-tokens", args.max_new_tokens)],
    )?;
    let seconds = time_generation(
        place,
        BenchGeneration {
            model,
            weights: args.weights.weights,
            batch_size: args.batch_size,
            prompt_length: args.prompt_length,
            max_new_tokens: args.max_new_tokens,
            seed: args.common.seed,
        },
    )?;
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

fn model(source: &BenchSource) -> Result<BenchModel> {
    match (&source.model, &source.config, source.shape) {
        (Some(name), ..) => Ok(BenchModel::folder(hub::model(name)?)?),
        (None, Some(file), _) => Ok(BenchModel::Random(GptNeoConfig::from_file(file)?)),
        (None, None, Some(shape)) => Ok(BenchModel::Random(shape.config()?)),
        (None, None, None) => Err(Misuse::error("give --model DIR, --config FILE or --shape NAME")),
    }
}

/// Refuses texts that the model has no positions for, by the flags that say how long they are.
fn check_positions(model: &BenchModel, lengths: &[(&str, usize)]) -> Result<()> {
    let positions = model.config().max_position_embeddings;
    let all = lengths.iter().fold(0, |sum: usize, (_, length)| sum.saturating_add(*length));
    if all <= positions {
        return Ok(());
    }
    let given: Vec<String> = lengths.iter().map(|(flag, length)| format!("{flag} {length}")).collect();
    Err(Misuse::error(format!(
        "{} is more than the model's {positions} positions: give fewer tokens",
        given.join(" and ")
    )))
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
