//! `train`: a fine-tuning run, and nothing else.

use anyhow::Result;
use gptneo_model::NeoBackend;

use crate::backend::{Job, dispatch};
use crate::cli::TrainArgs;
use crate::fine_tuning::{FineTuning, Request};
use crate::settings::{Flags, Origin};

/// Runs the command.
pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let plan = FineTuning::open(Request {
        command: "train",
        args,
        flags: Flags::default(),
        origin: Origin::file(args.file.config.as_deref()),
        default_output: None,
    })?;
    plan.check_room(plan.longest())?;
    dispatch(plan.settings.run.place(), Train(plan))
}

struct Train(FineTuning);

impl Job for Train {
    type Output = ();

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<()> {
        let started = self.0.start::<B>(device)?;
        started.preflight()?;
        let tuned = started.train()?;
        started.report(&tuned, None)
    }
}
