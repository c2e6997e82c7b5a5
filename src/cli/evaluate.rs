//! The flags of `evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::flags::{BackendFlag, BatchSizeFlag, FileFlags, LengthFlag, ModelFlags, ReadFlags, WeightsFlag};
use super::numbers::{at_least_one, whole};

/// What `evaluate` takes.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    #[command(flatten)]
    pub(crate) file: FileFlags,
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    #[command(flatten)]
    pub(crate) data: ReadFlags,
    #[command(flatten)]
    pub(crate) lengths: LengthFlag,
    /// Use only the first N records, and the first N questions of --choices
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
    /// Multiple-choice questions (.jsonl, .json, .csv, .parquet): question, choices, answer; or as MedMCQA or MedQA
    /// have them; a file or its name on the Hub. Without --data, they alone are asked
    #[arg(long, value_name = "FILE")]
    pub(crate) choices: Option<PathBuf>,
    /// List the log-likelihood of every choice
    #[arg(long)]
    pub(crate) per_item: bool,
    /// Find each record's answer among K answers to other questions, the nearest in words; 0 for not
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = whole)]
    pub(crate) discriminate: usize,
    /// Answer N of the records' questions and measure the answers; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole)]
    pub(crate) questions: usize,
    /// The longest answer in tokens
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one, requires = "questions")]
    pub(crate) max_new_tokens: usize,
    /// Examine another model on the same rows, and test whether the two differ: a model's folder or name on the Hub, such
    /// as the base itself, or the folder of another adapter
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: BatchSizeFlag,
    #[command(flatten)]
    pub(crate) weights: WeightsFlag,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
