//! The flags that several commands share, in the groups of the settings file.

use std::path::PathBuf;

use clap::Args;
use gptneo_datasets::{DataFormat, DataSize, OnBadRecord, Overlong, PromptTemplate, Supervise};
use gptneo_lora::backend::{BackendKind, Place};
use gptneo_model::checkpoint::{Dtype, ShardSize};
use gptneo_model::export::{ExportFormat, GgufType};
use gptneo_model::generate::GenerationConfig;
use gptneo_model::{ModuleName, PenaltyScope, SamplingConfig, WeightFormat};
use gptneo_training::{Precision, Schedule, TuningKind};
use serde::{Serialize, Serializer};

use super::numbers::{any_seed, at_least_one, number, seed, whole};
use super::values;

/// The settings file.
#[derive(Debug, Default, Args)]
pub(crate) struct FileFlags {
    /// A TOML file of settings; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Which model.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct ModelFlags {
    /// The model's folder, or its name on the Hub: OWNER/NAME or OWNER/NAME@REVISION; run and train also take
    /// embedded:small-medical, the base that the program carries
    #[arg(long, value_name = "MODEL")]
    #[serde(rename = "path")]
    pub(crate) model: Option<PathBuf>,
    /// A LoRA adapter's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
}

/// What of the model is trained.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct TuningFlags {
    /// Train an adapter or all weights
    #[arg(long, value_parser = values::one_of(TuningKind::ALL, TuningKind::name))]
    pub(crate) tuning: Option<TuningKind>,
}

/// Which records, and how they become texts.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct ReadFlags {
    /// The data: records (.json, .jsonl, .ndjson, .csv, .tsv, .parquet) or plain text (.txt), packed into blocks; all
    /// but Parquet also as .gz or .zst. A file, a folder of files, or a name on the Hub: OWNER/NAME,
    /// OWNER/NAME@REVISION, OWNER/NAME:FILE or OWNER/NAME:FOLDER, whose splits are used as they are meant; run and
    /// train also take embedded:medical-flashcards, 1,200 cards that the program carries
    #[arg(long, value_name = "DATA")]
    #[serde(rename = "path")]
    pub(crate) data: Option<PathBuf>,
    /// The form of the records; without it, the names of their fields tell
    #[arg(long, value_parser = values::data_format())]
    pub(crate) format: Option<DataFormat>,
    /// What happens to records that cannot be used, as those with blank answers: refuse names them all, skip leaves
    /// them out and counts them [default: refuse]
    #[arg(long, value_parser = values::one_of(OnBadRecord::ALL, OnBadRecord::name))]
    pub(crate) bad_records: Option<OnBadRecord>,
    /// The most data to read, as unpacked [default: 256MB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_data_size: Option<DataSize>,
    /// The column of the instructions
    #[arg(long, value_name = "NAME")]
    pub(crate) instruction_column: Option<String>,
    /// The column of the questions
    #[arg(long, value_name = "NAME")]
    pub(crate) question_column: Option<String>,
    /// The column of the answers
    #[arg(long, value_name = "NAME")]
    pub(crate) answer_column: Option<String>,
    /// The text of a record, with {instruction}, {input} and {output}; \n is a new line
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt_template: Option<PromptTemplate>,
}

/// The longest text.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct LengthFlag {
    /// The longest text in tokens, end-of-text included
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) max_seq_length: Option<usize>,
}

/// Which data, and how they are cut, split and supervised.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct DataFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) read: ReadFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) length: LengthFlag,
    /// Data to validate with, which guide early stopping and the choice of the checkpoint, in place of a share of the
    /// data; a file, folder or name as for --data
    #[arg(long, value_name = "DATA", conflicts_with = "validation_fraction")]
    pub(crate) validation_data: Option<PathBuf>,
    /// Data to test with, measured on once, at the end: what the tables, the report and the card tell of
    #[arg(long, value_name = "DATA")]
    pub(crate) test_data: Option<PathBuf>,
    /// Refuse data whose questions are also in what is validated or tested with; without it, they are counted
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) deny_leaks: bool,
    /// The share of the records to measure on instead of to learn from
    #[arg(long, value_name = "X", value_parser = number)]
    pub(crate) validation_fraction: Option<f64>,
    /// Validate, and test, with at most N records
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) validation_limit: Option<usize>,
    /// The seed of the split, where it is not that of --seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) split_seed: Option<u64>,
    /// What is learned: the whole text or the answer alone
    #[arg(long, value_parser = values::one_of(Supervise::ALL, Supervise::name))]
    pub(crate) supervise: Option<Supervise>,
    /// What happens to a text that is too long
    #[arg(long, value_parser = values::one_of(Overlong::ALL, Overlong::name))]
    pub(crate) overlong: Option<Overlong>,
}

/// The adapter's shape.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct LoraFlags {
    /// Rank of the adapter
    #[arg(long, value_name = "N", value_parser = whole)]
    #[serde(rename = "r")]
    pub(crate) lora_r: Option<usize>,
    /// Scale of the adapter before the division by the rank
    #[arg(long, value_name = "X", value_parser = number)]
    #[serde(rename = "alpha")]
    pub(crate) lora_alpha: Option<f64>,
    /// Share of the adapter's inputs that are zeroed in training
    #[arg(long, value_name = "X", value_parser = number)]
    #[serde(rename = "dropout")]
    pub(crate) lora_dropout: Option<f64>,
    /// The layers that get an adapter, among q_proj, k_proj, v_proj, out_proj, c_fc, c_proj
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) target_modules: Option<Vec<ModuleName>>,
    /// Divide the adapter's scale by the rank's square root
    #[arg(long)]
    #[serde(rename = "use_rslora", skip_serializing_if = "is_false")]
    pub(crate) rslora: bool,
    /// Learn the length of each row of the updated weights as well (DoRA)
    #[arg(long)]
    #[serde(rename = "use_dora", skip_serializing_if = "is_false")]
    pub(crate) dora: bool,
}

/// How many records a batch has.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct BatchSizeFlag {
    /// Records in a batch
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) batch_size: Option<usize>,
}

/// What decides the batches.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct BatchFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) size: BatchSizeFlag,
    /// Seed of everything random
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

/// The optimiser, the schedule and what happens at which step.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct TrainingFlags {
    /// Passes over the data
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) epochs: Option<usize>,
    /// Optimiser steps, in place of --epochs
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) max_steps: Option<usize>,
    /// The highest learning rate
    #[arg(long, value_name = "X", value_parser = number)]
    pub(crate) learning_rate: Option<f64>,
    /// How the learning rate falls
    #[arg(long, value_parser = values::one_of(Schedule::ALL, Schedule::name))]
    pub(crate) schedule: Option<Schedule>,
    /// Steps in which the learning rate rises from zero
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) warmup_steps: Option<usize>,
    /// Weight decay of AdamW
    #[arg(long, value_name = "X", value_parser = number)]
    pub(crate) weight_decay: Option<f64>,
    /// The largest norm of all gradients together; 0 for no limit
    #[arg(long, value_name = "X", value_parser = number)]
    pub(crate) max_grad_norm: Option<f64>,
    /// Batches in an optimiser step
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) grad_accumulation_steps: Option<usize>,
    /// Take the records in the file's order
    #[arg(long)]
    #[serde(rename = "shuffle", skip_serializing_if = "is_false", serialize_with = "negated")]
    pub(crate) no_shuffle: bool,
    /// Measure the validation loss every N steps, not only after each epoch
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) eval_steps: Option<usize>,
    /// Save a checkpoint every N steps, not only after each epoch
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) checkpoint_steps: Option<usize>,
    /// Stop after N measurements without a better validation loss
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) early_stopping_patience: Option<usize>,
}

/// What a training step holds in memory.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct MemoryFlags {
    /// Compute the inside of each block again in the backward pass instead of keeping it: less memory for long texts and
    /// large batches, the same results, about a third more time
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) gradient_checkpointing: bool,
    /// The format that the frozen base is kept in while an adapter is trained over it; merging goes into the base as it was
    /// published
    #[arg(long, value_parser = values::base_weights())]
    pub(crate) base_weights: Option<WeightFormat>,
}

/// Where a run computes and where it writes.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct RunFlags {
    /// The run's folder; it must be new or empty unless --resume is given
    #[arg(long, value_name = "RUN")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) backend: BackendFlag,
    /// Several CUDA devices that train together, each on a share of every step, such as 0,1; the first does the rest
    #[arg(long, value_name = "N,N", value_delimiter = ',', conflicts_with = "device", value_parser = whole)]
    pub(crate) devices: Option<Vec<usize>>,
    /// The numbers of the matrix products in training; all else stays f32, the measurements after it and what is
    /// written too
    #[arg(long, value_parser = values::precision())]
    pub(crate) precision: Option<Precision>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) memory: MemoryFlags,
    /// The format of the written model; adapters are always f32
    #[arg(long, value_parser = values::one_of(Dtype::ALL, Dtype::name))]
    pub(crate) dtype: Option<Dtype>,
    /// Write a whole model in several files of at most this size, such as 500MB or 2GB; without it, one file
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_shard_size: Option<ShardSize>,
    /// Write the curves as TensorBoard reads them, into RUN/tensorboard
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) tensorboard: bool,
}

/// How a model is written for other engines.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct ExportFlags {
    /// The numbers of a GGUF file's matrices
    #[arg(long, value_parser = values::gguf_type())]
    pub(crate) gguf_type: Option<GgufType>,
    /// The longest text of prompt and answer in tokens; more than the model's smallest local window are not exact
    /// [default: the smallest local window]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) max_positions: Option<usize>,
}

/// What a whole run writes for other engines.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct RunExportFlags {
    /// Also write the plain model for other engines, into RUN/export
    #[arg(long, value_parser = values::export_format())]
    pub(crate) export: Option<ExportFormat>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) how: ExportFlags,
}

/// What a model is asked while it learns.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct SampleFlags {
    /// Answer N held-out questions after every measurement, to see how the model learns; 0 for none
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) samples: Option<usize>,
}

/// What both models are asked at the end of a run.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct AnswerFlags {
    /// Ask both models N of the held-out questions
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) questions: Option<usize>,
    /// Have both models answer N of the held-out questions, those of --questions among them, to measure the answers
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) scored_questions: Option<usize>,
    /// Have both models find each held-out question's answer among K answers to other questions; 0 for not
    #[arg(long, value_name = "K", value_parser = whole)]
    pub(crate) discriminate: Option<usize>,
    /// The longest answer in tokens
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) max_new_tokens: Option<usize>,
    /// Make tokens that an answer has already less likely, for both models alike; 1 does nothing
    #[arg(long, value_name = "X", value_parser = number)]
    pub(crate) repetition_penalty: Option<f64>,
}

/// How a text is continued.
#[derive(Debug, Args)]
pub(crate) struct GenerationFlags {
    /// The most tokens to add
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole)]
    pub(crate) max_new_tokens: usize,
    /// Randomness of the choice; 0 always takes the likeliest token
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number)]
    pub(crate) temperature: f64,
    /// Choose among the K likeliest tokens
    #[arg(long, value_name = "K", value_parser = whole)]
    pub(crate) top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have probability P
    #[arg(long, value_name = "P", value_parser = number)]
    pub(crate) top_p: Option<f64>,
    /// Make tokens that occurred less likely, those of the prompt too; in compare, those of the answer alone. 1 does
    /// nothing
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = number)]
    pub(crate) repetition_penalty: f64,
    /// Seed of the random choices
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = any_seed)]
    pub(crate) seed: u64,
}

impl From<&GenerationFlags> for GenerationConfig {
    /// The flags alone: no token ends a text yet.
    fn from(flags: &GenerationFlags) -> Self {
        let &GenerationFlags { max_new_tokens, temperature, top_k, top_p, repetition_penalty, seed } = flags;
        let penalty_scope = PenaltyScope::Text;
        let sampling = SamplingConfig { temperature, top_k, top_p, repetition_penalty, penalty_scope, seed };
        Self { max_new_tokens, sampling, end_tokens: Vec::new() }
    }
}

/// What computes.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct BackendFlag {
    /// What computes; auto takes a GPU where this build can use one that computes as it should
    #[arg(long, value_parser = values::backend())]
    pub(crate) backend: Option<BackendKind>,
    /// Which of the backend's devices, as `gptneo-lora devices` counts them
    #[arg(long, value_name = "N", value_parser = whole)]
    pub(crate) device: Option<usize>,
}

impl BackendFlag {
    /// What the flags alone ask for.
    pub(crate) fn place(&self) -> Place {
        Place { kind: self.backend.unwrap_or_default(), device: self.device.unwrap_or_default() }
    }
}

/// How an answering model keeps its weights.
#[derive(Debug, Args)]
pub(crate) struct WeightsFlag {
    /// The format that the weights are kept in: less to read is faster, at the price of some precision
    #[arg(long, value_parser = values::weights(), default_value_t = WeightFormat::F32)]
    pub(crate) weights: WeightFormat,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn negated<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(!flag)
}
