//! The flags of every command, and nothing else. What they mean together is settled by the library's settings.
//!
//! Flags that are also keys of the settings file are optional here and serialise under the file's names, so that
//! those given can be laid over the file.

mod bench;
mod compare;
mod evaluate;
mod flags;
mod names;
mod numbers;
mod serve;
mod sweep;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use gptneo_datasets::PromptTemplate;
use gptneo_lora::run::Opening;
use gptneo_lora::run::seeds::{Extent, Seeds};
use gptneo_lora::settings::{Layer, Origin, Preset, Settings};
use gptneo_model::checkpoint::{Dtype, ShardSize};
use gptneo_model::export::ExportFormat;

#[cfg(feature = "flex")]
pub(crate) use self::bench::BenchProductsArgs;
pub(crate) use self::bench::{BenchCommand, BenchGenerateArgs, BenchSource, BenchTrainArgs};
pub(crate) use self::compare::CompareArgs;
pub(crate) use self::evaluate::EvaluateArgs;
pub(crate) use self::flags::*;
pub(crate) use self::names::{flag, parse, section_and_key};
use self::numbers::at_least_one;
pub(crate) use self::serve::{ChatArgs, NamedFolder, ServeArgs, ServedFlags};
pub(crate) use self::sweep::SweepArgs;

/// Fine-tune GPT-Neo with LoRA on question-and-answer records, measure it, merge it and ask it
#[derive(Debug, Parser)]
#[command(name = "gptneo-lora", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing on the way: only errors, warnings and the result
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// To measure: bits of the processor's registers, 256 to hold it to AVX2 as if it had no wider ones
    #[arg(long, global = true, hide_short_help = true, value_name = "BITS", default_value = "auto", value_parser = values::register_bits())]
    pub(crate) registers: values::RegisterBits,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fine-tune, measure before and after, merge, and compare answers: everything, into one folder
    Run(Box<RunArgs>),
    /// Show what the model will see of a data file: counts, lengths, truncations, duplicates and one example
    Prepare(Box<PrepareArgs>),
    /// Make a model with random weights from a config.json
    Init(InitArgs),
    /// Fine-tune a model, with LoRA or in full
    Train(Box<TrainArgs>),
    /// Examine a model: loss and perplexity by three protocols, multiple choice, answers told from others
    Evaluate(Box<EvaluateArgs>),
    /// Continue prompts or answer questions
    Generate(GenerateArgs),
    /// Merge an adapter into its base and prove that nothing else changed
    Merge(MergeArgs),
    /// Write a model for other engines, as the GPT-2 that it is, and prove that it computes the same
    Export(Box<ExportArgs>),
    /// Ask a model and its tuned form the same questions; or tell runs apart
    Compare(Box<CompareArgs>),
    /// Try a grid of settings, stop the hopeless early, and measure the best once
    Sweep(SweepArgs),
    /// Answer over HTTP as OpenAI's interface does, and on a page; a base and any number of adapters
    Serve(Box<ServeArgs>),
    /// Ask a model questions at the terminal
    Chat(Box<ChatArgs>),
    /// Publish a run's model or adapter on the Hugging Face Hub
    Push(PushArgs),
    /// List what this machine can compute on
    Devices(DevicesArgs),
    /// Time training steps or generation on random tokens, or the matrix products beneath them
    Bench {
        #[command(subcommand)]
        what: BenchCommand,
    },
}

/// What `prepare` takes.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    pub(crate) file: FileFlags,
    /// The model's folder or name on the Hub, for its tokenizer and its longest text
    #[arg(long, value_name = "MODEL", conflicts_with = "tokenizer")]
    pub(crate) model: Option<PathBuf>,
    /// A folder with a tokenizer alone
    #[arg(long, value_name = "DIR")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataFlags,
    #[command(flatten)]
    pub(crate) training: BatchFlags,
    /// Show the texts of the first N batches, their supervised tokens marked
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = numbers::whole)]
    pub(crate) batches: usize,
    /// Measure what a training run would take, with one real step; needs the model
    #[arg(long)]
    pub(crate) memory: bool,
    #[command(flatten)]
    pub(crate) tuning: TuningFlags,
    #[command(flatten)]
    pub(crate) lora: LoraFlags,
    #[command(flatten)]
    pub(crate) steps: TrainingFlags,
    #[command(flatten)]
    pub(crate) held: MemoryFlags,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `init` takes.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The model's shape: a config.json of GPT-Neo
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The folder of the tokenizer to use
    #[arg(long, value_name = "DIR", required_unless_present = "train_tokenizer")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Train a byte-level BPE tokenizer on this file instead (.txt, .txt.gz or records)
    #[arg(long, value_name = "FILE", conflicts_with = "tokenizer", requires = "vocab_size")]
    pub(crate) train_tokenizer: Option<PathBuf>,
    /// The most tokens that --train-tokenizer may make
    #[arg(long, value_name = "N", requires = "train_tokenizer", conflicts_with = "tokenizer", value_parser = at_least_one)]
    pub(crate) vocab_size: Option<usize>,
    /// Seed of the weights
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = numbers::any_seed)]
    pub(crate) seed: u64,
    /// The folder to write; it must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
}

/// What `train` takes.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) file: FileFlags,
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    #[command(flatten)]
    pub(crate) tuning: TuningFlags,
    #[command(flatten)]
    pub(crate) data: DataFlags,
    #[command(flatten)]
    pub(crate) lora: LoraFlags,
    #[command(flatten)]
    pub(crate) batch: BatchFlags,
    #[command(flatten)]
    pub(crate) training: TrainingFlags,
    #[command(flatten)]
    pub(crate) samples: SampleFlags,
    #[command(flatten)]
    pub(crate) run: RunFlags,
    /// Do the same under N seeds, from --seed on, with one split: a folder each in --output, and mean and spread of all
    /// measures
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) seeds: Option<usize>,
    /// Go on where the run in --output stopped; settings come from its settings.toml
    #[arg(long, conflicts_with = "config", requires = "output")]
    pub(crate) resume: bool,
    /// Show the training on a dashboard over the whole terminal; q stops it. It keeps one core busy
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) tui: bool,
}

impl TrainArgs {
    /// The run that the flags ask for: a new one from the settings of `origin`, in the folder `default_output` where
    /// nothing names one, or one that goes on. `layer` has the flags that are not `train`'s.
    pub(crate) fn opening(
        &self,
        origin: Origin<'_>,
        layer: Layer,
        default_output: Option<PathBuf>,
    ) -> gptneo_lora::Result<Opening> {
        let layer = self.layer(layer)?;
        match (self.resume, &self.run.output) {
            (true, Some(output)) => Opening::resume(output, layer),
            _ => Opening::new(settings(origin, layer, default_output)?),
        }
    }

    /// The runs under `count` seeds that the flags ask for, as [`TrainArgs::opening`].
    pub(crate) fn seeds(
        &self,
        origin: Origin<'_>,
        layer: Layer,
        default_output: Option<PathBuf>,
        (count, extent): (usize, Extent),
    ) -> gptneo_lora::Result<Seeds> {
        let layer = self.layer(layer)?;
        match (self.resume, &self.run.output) {
            (true, Some(output)) => Seeds::resume(output, &layer, count, extent),
            _ => Seeds::new(settings(origin, layer, default_output)?, count, extent),
        }
    }

    /// The flags over `layer`.
    fn layer(&self, layer: Layer) -> gptneo_lora::Result<Layer> {
        layer
            .with("model", &self.model)?
            .with("model", &self.tuning)?
            .with("data", &self.data)?
            .with("lora", &self.lora)?
            .with("training", &self.batch)?
            .with("training", &self.training)?
            .with("answers", &self.samples)?
            .with("run", &self.run)
    }
}

/// Settings with the folder `default_output` where nothing names one.
fn settings(
    origin: Origin<'_>,
    layer: Layer,
    default_output: Option<PathBuf>,
) -> gptneo_lora::Result<Settings> {
    let mut settings = Settings::resolve(origin, layer)?;
    settings.run.output = settings.run.output.or(default_output);
    Ok(settings)
}

/// What `run` takes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Complete settings under a name; flags win over them
    #[arg(long, value_name = "NAME", value_parser = values::preset(), conflicts_with = "config")]
    pub(crate) preset: Option<Preset>,
    /// Print a preset's settings file and do nothing else
    #[arg(long, value_name = "NAME", value_parser = values::preset(), exclusive = true)]
    pub(crate) print_preset: Option<Preset>,
    #[command(flatten)]
    pub(crate) train: TrainArgs,
    #[command(flatten)]
    pub(crate) answers: AnswerFlags,
    #[command(flatten)]
    pub(crate) export: RunExportFlags,
}

/// What `generate` takes.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The model's folder, or its name on the Hub: OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// A LoRA adapter's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// Text to continue as it stands; may be given several times
    #[arg(long, value_name = "TEXT", required_unless_present = "question")]
    pub(crate) prompt: Vec<String>,
    /// A question to put into the prompt template; may be given several times and comes after the prompts
    #[arg(long, value_name = "TEXT")]
    pub(crate) question: Vec<String>,
    /// The template of questions, {instruction} {input} {output}, \n a new line; without it, the adapter's or the model's
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt_template: Option<PromptTemplate>,
    #[command(flatten)]
    pub(crate) generation: GenerationFlags,
    /// Go on after end-of-text
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    #[command(flatten)]
    pub(crate) weights: WeightsFlag,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `merge` takes.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The base model's folder, or its name on the Hub: OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// The LoRA adapter's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: PathBuf,
    /// The folder to write; it must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// The format of the written weights
    #[arg(long, value_parser = values::one_of(Dtype::ALL, Dtype::name), default_value_t = Dtype::F32)]
    pub(crate) dtype: Dtype,
    /// Write the weights in several files of at most this size, such as 500MB or 2GB
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_shard_size: Option<ShardSize>,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `export` takes.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The model's folder, or its name on the Hub: OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// A LoRA adapter's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// What is written
    #[arg(long, value_parser = values::export_format())]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) how: ExportFlags,
    /// The folder (gpt2), which must be new or empty, or the file (gguf), which must be new
    #[arg(long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Write a Modelfile for Ollama beside the GGUF file
    #[arg(long)]
    pub(crate) modelfile: bool,
    /// Records or text to measure the perplexity on, before and after; without them, the embedded flashcards
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The template of questions, {instruction} {input} {output}, \n a new line; without it, the adapter's or the model's
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt_template: Option<PromptTemplate>,
    /// The model's name in the files; without it, that of the run, the adapter or the model
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// The licence that the model is under, as the Hub names it: mit, apache-2.0, cc-by-4.0, ...
    #[arg(long, value_name = "ID", value_parser = licence_id)]
    pub(crate) license: Option<String>,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `push` takes.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The run's folder
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// The repository to publish in, made if there is none
    #[arg(long, value_name = "OWNER/NAME")]
    pub(crate) repo: String,
    /// Make a new repository private
    #[arg(long)]
    pub(crate) private: bool,
    /// Publish the merged model, which is what a run tuned in full has
    #[arg(long, conflicts_with_all = ["adapter", "exported"])]
    pub(crate) merged: bool,
    /// Publish the adapter, which is what is published where the run has one
    #[arg(long, conflicts_with = "exported")]
    pub(crate) adapter: bool,
    /// Publish what the run exported for other engines
    #[arg(long)]
    pub(crate) exported: bool,
    /// The licence that you publish under, as the Hub names it, for the model card: mit, apache-2.0, cc-by-4.0, ...
    #[arg(long, value_name = "ID", value_parser = licence_id)]
    pub(crate) license: Option<String>,
    /// Do not ask before publishing
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The Hub's names for licences are of small letters, digits, dots and hyphens.
fn licence_id(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ['.', '-'].contains(&c);
    match !text.is_empty() && text.chars().all(fits) {
        true => Ok(text.to_string()),
        false => {
            Err("expected one of the names of https://huggingface.co/docs/hub/repositories-licenses".into())
        }
    }
}

/// What `devices` takes.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Compute a known small model on every GPU and compare, as commands do on the GPU that they take
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
