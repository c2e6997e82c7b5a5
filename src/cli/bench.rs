//! The arguments of `bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use gptneo_model::PublishedShape;
use gptneo_training::Precision;

use super::flags::{BackendFlag, LoraFlags, MemoryFlags, WeightsFlag};
use super::numbers::{any_seed, at_least_one};
use super::values;

/// What `bench` measures.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Training steps as `train` does them
    Train(BenchTrainArgs),
    /// Greedy continuation of random prompts
    Generate(BenchGenerateArgs),
    /// The processor's matrix products, each beside what its fused multiply-adds reach
    Products(BenchProductsArgs),
}

/// The model of a benchmark.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct BenchSource {
    /// The model's folder, or its name on the Hub
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// A config.json, for random weights of that shape
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A published shape, for random weights of it
    #[arg(long, value_parser = values::one_of(PublishedShape::ALL, PublishedShape::name))]
    pub(crate) shape: Option<PublishedShape>,
}

/// What `bench train` takes.
#[derive(Debug, Args)]
pub(crate) struct BenchTrainArgs {
    #[command(flatten)]
    pub(crate) source: BenchSource,
    /// Texts in a batch
    #[arg(long, value_name = "N", default_value = "8", value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Tokens in a text
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_least_one)]
    pub(crate) length: usize,
    /// Steps; the first does not count in the median
    #[arg(long, value_name = "N", default_value = "5", value_parser = few_steps)]
    pub(crate) steps: usize,
    #[command(flatten)]
    pub(crate) held: MemoryFlags,
    #[command(flatten)]
    pub(crate) lora: LoraFlags,
    #[command(flatten)]
    pub(crate) common: BenchFlags,
}

/// What `bench generate` takes.
#[derive(Debug, Args)]
pub(crate) struct BenchGenerateArgs {
    #[command(flatten)]
    pub(crate) source: BenchSource,
    /// Prompts at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Tokens in a prompt
    #[arg(long, value_name = "N", default_value = "24", value_parser = at_least_one)]
    pub(crate) prompt_length: usize,
    /// Tokens to add
    #[arg(long, value_name = "N", default_value = "128", value_parser = at_least_one)]
    pub(crate) max_new_tokens: usize,
    #[command(flatten)]
    pub(crate) weights: WeightsFlag,
    #[command(flatten)]
    pub(crate) common: BenchFlags,
}

/// What `bench products` takes.
#[derive(Debug, Args)]
pub(crate) struct BenchProductsArgs {
    /// A config.json, whose layers' products they are [default: the shape of GPT-Neo-125M]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Rows of the first factor: tokens that pass a layer together
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,8,64,512,2048", value_parser = some_rows)]
    pub(crate) rows: Vec<usize>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Parses a number of rows: more than these tell no more.
fn some_rows(text: &str) -> Result<usize, String> {
    const MOST: usize = 65_536;
    match at_least_one(text)? {
        rows if rows <= MOST => Ok(rows),
        _ => Err(format!("expected at most {MOST}")),
    }
}

/// Parses the number of steps: more than these tell no more, and take days.
fn few_steps(text: &str) -> Result<usize, String> {
    const MOST: usize = 100_000;
    match at_least_one(text)? {
        steps if steps <= MOST => Ok(steps),
        _ => Err(format!("expected at most {MOST}")),
    }
}

/// What every benchmark takes.
#[derive(Debug, Args)]
pub(crate) struct BenchFlags {
    /// Seed of the weights and the tokens
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = any_seed)]
    pub(crate) seed: u64,
    /// The numbers of the matrix products in training; bench generate has --weights instead
    #[arg(long, value_parser = values::precision(), default_value_t = Precision::F32)]
    pub(crate) precision: Precision,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
