//! `train`: a fine-tuning run, and nothing else.

use anyhow::Result;
use gptneo_lora::run::seeds::Extent;
use gptneo_lora::settings::{Layer, Origin};

use super::run::several_seeds;
use crate::cli::TrainArgs;
use crate::hub;
use crate::terminal::{Watch, failure, interrupt, notes};

/// Runs the command.
pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let watch = Watch::new(args)?;
    let origin = Origin::file(args.file.config.as_deref());
    if let Some(count) = args.seeds {
        let seeds = args.seeds(origin, Layer::default(), None, (count, Extent::Training))?;
        return several_seeds(args, "train", seeds, |run, watch| run.train(watch));
    }
    let run = args.opening(origin, Layer::default(), None)?.read(hub::find)?;
    run.reading().iter().for_each(|reading| notes::say(format_args!("data: {reading}")));
    interrupt::says_how_to_go_on("train", run.folder().path());
    run.train(watch).map_err(failure::of_run("train"))
}
