//! `train`: a fine-tuning run, and nothing else.

use anyhow::Result;
use gptneo_model::NeoBackend;

use crate::backend::{Job, dispatch};
use crate::cli::TrainArgs;
use crate::fine_tuning::FineTuning;
use crate::settings::Flags;

/// Runs the command.
pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let plan = FineTuning::open("train", args, Flags::default())?;
    dispatch(plan.settings.run.backend, Train(plan))
}

struct Train(FineTuning);

impl Job for Train {
    type Output = ();

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<()> {
        self.0.start::<B>(device)?.train()?;
        Ok(())
    }
}
