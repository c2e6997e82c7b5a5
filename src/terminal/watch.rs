//! A run as it happens, told to a person: what it will take, how far each step is, and how the training ended.

use anyhow::Result;
use gptneo_lora::run::{Event, Measured, Observer, TrainingSummary};

use super::dashboard::{self, Dashboard};
use super::interrupt::{self, Listening};
use super::live::Live;
use super::{Progress, notes, output, wording};
use crate::cli::TrainArgs;

/// Tells a run's events.
pub(crate) struct Watch {
    /// Whether the training is shown on the whole terminal.
    dashboard: bool,
    /// The training, while it goes on.
    training: Option<(Live, Option<Listening>)>,
    /// A measurement or a round of answers, while it goes on.
    progress: Option<Progress>,
}

impl Watch {
    /// # Errors
    /// The dashboard is asked for where there is no terminal.
    pub(crate) fn new(args: &TrainArgs) -> Result<Self> {
        if args.tui {
            dashboard::check_terminal()?;
        }
        Ok(Self { dashboard: args.tui, training: None, progress: None })
    }

    /// Without the dashboard.
    pub(crate) fn plain() -> Self {
        Self { dashboard: false, training: None, progress: None }
    }

    fn progress(&mut self, what: &'static str, done: usize, total: usize) {
        let progress = self.progress.get_or_insert_with(|| Progress::new(what));
        match done {
            0 => {}
            done if done == total => {
                progress.update(done, total);
                self.progress = None;
            }
            done => progress.update(done, total),
        }
    }

    fn live(&mut self) -> Option<&mut Live> {
        self.training.as_mut().map(|(live, _)| live)
    }
}

impl Observer for Watch {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Warning(problem) => match self.live() {
                Some(live) => live.say(wording::of_problem(problem)),
                None => notes::warn(wording::of_problem(problem)),
            },
            Event::Data(report) if !notes::are_quiet() => {
                // A pipe that was closed shows itself at the end, where it is no failure.
                let _ = output::line(report.render().trim_end());
            }
            Event::Preflight(found) => {
                notes::say(found.render().trim_end());
                for warning in &found.warnings {
                    notes::say(format_args!("warning: {}", wording::of_problem(warning)));
                }
            }
            Event::Measuring { model, done, total } => {
                let what = match model {
                    Measured::Base => "measuring the base",
                    Measured::Tuned => "measuring the tuned model",
                    Measured::Merged => "measuring the merged model",
                };
                self.progress(what, done, total);
            }
            Event::Answering { done, total } => self.progress("answering", done, total),
            Event::TrainingBegins { total_steps, interrupter } => {
                let dashboard = self.dashboard.then(|| Dashboard::open(total_steps, interrupter.clone()));
                let stops = interrupter.clone();
                let listening = interrupt::listen(move || {
                    notes::warn("finishing the step and saving; interrupt again to stop at once");
                    stops.stop(None);
                });
                let mut live = Live::new(total_steps, dashboard);
                if let Err(error) = &listening {
                    live.say(format!("an interrupt will end the run at once: {error}"));
                }
                self.training = Some((live, listening.ok()));
            }
            Event::Row(row) => {
                if let Some(live) = self.live() {
                    live.row(row);
                }
            }
            Event::Validating { done, total } => {
                if let Some(live) = self.live() {
                    live.validating(done, total);
                }
            }
            Event::Sample(row) => {
                if let Some(live) = self.live() {
                    live.sample(row);
                }
            }
            Event::TrainingEnds(summary) => {
                self.training = None;
                say_ending(summary);
            }
            Event::Merged(report) => notes::say(report),
            Event::Exported(report) => notes::say(format_args!("exported: {report}")),
            Event::NoQuestions => {
                notes::say("no answers are compared: there is no held-out question with room for an answer");
            }
            _ => {}
        }
    }
}

fn say_ending(summary: &TrainingSummary) {
    let TrainingSummary { steps, total_steps, stopped_early, best, model_step, weights } = summary;
    if *stopped_early {
        notes::say(format_args!("stopped early after step {steps} of {total_steps}"));
    }
    match best {
        Some(best) => notes::say(format_args!(
            "{steps} steps; best validation loss {:.4} (perplexity {:.2}) after step {}",
            best.loss,
            best.loss.exp(),
            best.step
        )),
        None => notes::say(format_args!("{steps} steps")),
    }
    notes::say(format_args!("the weights of step {model_step} are in {}", weights.display()));
}
