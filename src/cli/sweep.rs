//! The flags of `sweep`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

/// What `sweep` takes.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// A TOML file of settings, with lists of values to try under [grid.training] and [grid.lora]
    #[arg(value_name = "FILE", required_unless_present = "resume", conflicts_with = "resume")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: SweepDataFlags,
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

/// What the trials are chosen by, and what the chosen one is measured on.
#[derive(Debug, Default, Args, Serialize)]
pub(crate) struct SweepDataFlags {
    /// Data to choose the trials by, in place of a share of the data; a file, folder or name as for --data elsewhere
    #[arg(long, value_name = "DATA", conflicts_with = "resume")]
    pub(crate) validation_data: Option<PathBuf>,
    /// Data that the chosen trial is measured on, once, at the end, in place of a share of the data
    #[arg(long, value_name = "DATA", conflicts_with = "resume")]
    pub(crate) test_data: Option<PathBuf>,
}
