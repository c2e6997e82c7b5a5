//! The flags of `sweep`.

use std::path::PathBuf;

use clap::Args;

/// What `sweep` takes.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// A TOML file of settings, with lists of values to try under [grid.training] and [grid.lora]
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub(crate) file: Option<PathBuf>,
    /// The folder of the sweep; it must be new or empty unless --resume is given
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Go on where the sweep in --output stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
