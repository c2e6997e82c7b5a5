//! `sweep`: a small grid of settings, the hopeless stopped early, the best measured once on records that none saw.

use anyhow::{Error, Result};
use gptneo_lora::run::sweep::{Moment, Sweep, SweepOutcome};
use gptneo_lora::settings::Layer;
use gptneo_training::measure::Evaluation;

use super::evaluate::report::{discrimination_line, render_paired};
use crate::cli::SweepArgs;
use crate::hub;
use crate::terminal::{Progress, Watch, failure, interrupt, notes, output, tables, wording};

/// Runs the command.
pub(crate) fn run(args: &SweepArgs) -> Result<()> {
    let sweep = match &args.file {
        Some(file) => Sweep::new(file, Layer::default().with("data", &args.data)?, &args.output)?,
        None => Sweep::resume(&args.output)?,
    };
    interrupt::says_how_to_go_on("sweep", sweep.folder());
    let mut testing = None;
    let mut tell = |moment: Moment<'_>| match moment {
        Moment::Training { trial, trials, rung, until, settings } => {
            let settings: Vec<String> =
                settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
            notes::say(format_args!(
                "rung {rung}: trial {trial} of {trials} up to step {until}: {}",
                settings.join(", ")
            ));
        }
        Moment::Halved { rung, survivors } => {
            let survivors: Vec<String> = survivors.iter().map(ToString::to_string).collect();
            notes::say(format_args!(
                "rung {rung} is done; trials that go on, the best first: {}",
                survivors.join(", ")
            ));
        }
        Moment::TakenUp { trial } => notes::say(format_args!(
            "all trials that went on are lost; trial {trial}, which was stopped before, goes on in their place"
        )),
        Moment::Warning(problem) => notes::warn(wording::of_problem(problem)),
        Moment::Testing { done, total } => {
            testing.get_or_insert_with(|| Progress::new("measuring once")).update(done, total);
            if done == total {
                testing = None;
            }
        }
    };
    let outcome = sweep.run(hub::find, || Ok(Watch::plain()), &mut tell).map_err(|error: Error| {
        match error.downcast::<gptneo_lora::Error>() {
            Ok(error) => failure::of_part("sweep", sweep.folder())(error),
            Err(error) => error,
        }
    })?;
    match args.json {
        true => output::json(&outcome),
        false => output::line(format_args!(
            "{}\neverything is in {}; the table: {}; the chart: {}",
            render(&outcome),
            sweep.folder().display(),
            sweep.table().display(),
            sweep.chart().display()
        )),
    }
}

fn render(SweepOutcome { trials, chosen, weights, test }: &SweepOutcome) -> String {
    let mut text = tables::trials(trials);
    text += &format!(
        "\ntrial {chosen} has the lowest validation loss; on the records of the test, measured once:\n"
    );
    for (name, scores) in [("base", &test.base), ("tuned", &test.tuned)] {
        if let Some(Evaluation { text: all, response, .. }) = &scores.protocols {
            text += &format!(
                "{name:<8} perplexity: text {:.3}, response {:.3}\n",
                all.perplexity, response.perplexity
            );
        }
        if let Some(found) = &scores.discrimination {
            text += &format!("{name:<8} {}\n", discrimination_line(found));
        }
    }
    text += &format!("from the base to the tuned model\n{}", render_paired(&test.paired));
    text + &format!("\nweights: {}", weights.display())
}
