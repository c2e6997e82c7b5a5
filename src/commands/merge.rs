//! `merge`: an adapter's updates added to its base, with the proof that the model still computes the same.

use anyhow::Result;
use gptneo_lora::Error;
use gptneo_lora::run::Claim;
use gptneo_lora::run::merge::{Merge, merge};
use gptneo_model::checkpoint::SaveFormat;

use crate::cli::MergeArgs;
use crate::hub;
use crate::terminal::output;

/// Runs the command.
pub(crate) fn run(args: &MergeArgs) -> Result<()> {
    let MergeArgs { model, adapter, output: folder, dtype, max_shard_size, backend, json } = args;
    // Before anything is downloaded.
    let claim = Claim::new(folder).map_err(Error::from)?;
    // GPUs may multiply in TF32, and what a merge writes is to be exact.
    let place = backend.place().on_processor();
    place.check()?;
    let base = super::open_model(hub::model(model)?)?;
    let format = SaveFormat { dtype: *dtype, max_shard_size: *max_shard_size };
    let parts = Merge { base: &base, base_name: model, adapter, format, backend: place.kind };
    let report = merge(place, parts, claim)?;
    match json {
        true => output::json(&report),
        false => output::line(format_args!("{report}\nwritten to {}", folder.display())),
    }
}
