//! The flags of `compare`.

use std::path::PathBuf;

use clap::Args;

use super::flags::{BackendFlag, GenerationFlags, ReadFlags};
use super::numbers::at_least_one;

/// What `compare` takes.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The folders of two runs or more: tell whether they differ from the first on the same held-out answers
    #[arg(value_name = "RUN", num_args = 2.., conflicts_with_all = ["model", "adapter", "tuned", "question", "data", "output"])]
    pub(crate) runs: Vec<PathBuf>,
    /// The base model's folder, or its name on the Hub: OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "MODEL", required_unless_present = "runs")]
    pub(crate) model: Option<PathBuf>,
    /// The LoRA adapter's folder
    #[arg(long, value_name = "DIR", required_unless_present_any = ["tuned", "runs"], conflicts_with = "tuned")]
    pub(crate) adapter: Option<PathBuf>,
    /// A tuned model's folder or name on the Hub, for a merged adapter or full tuning
    #[arg(long, value_name = "MODEL")]
    pub(crate) tuned: Option<PathBuf>,
    /// A question; may be given several times
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["data", "runs"], conflicts_with = "data")]
    pub(crate) question: Vec<String>,
    #[command(flatten)]
    pub(crate) data: ReadFlags,
    /// Ask the first N questions of the data
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) generation: GenerationFlags,
    /// A CSV file to write, with the columns Question, Base Model, LoRA Model
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) backend: BackendFlag,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
