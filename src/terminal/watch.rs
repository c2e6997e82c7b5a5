//! A run as it happens, told to a person: what it will take, how far each step is, and how the training ended.

use anyhow::Result;
use gptneo_lora::run::{Event, Measured, Observer, TrainingSummary};
use gptneo_training::Interrupter;

use super::dashboard::{self, Dashboard};
use super::interrupt::{self, Listening};
use super::live::Live;
use super::story::Story;
use super::{Progress, notes, output, wording};
use crate::cli::TrainArgs;

/// Tells a run's events.
pub(crate) struct Watch {
    told: Told,
    /// Whoever hears of an interrupt, while the training goes on.
    listening: Option<Listening>,
}

/// How a run is told.
enum Told {
    /// Line by line.
    Lines(Lines),
    /// On one screen, which is drawn anew.
    Story(Story),
}

/// What a run's lines are told with.
struct Lines {
    /// Whether the training is shown on the whole terminal.
    dashboard: bool,
    /// The training, while it goes on.
    training: Option<Live>,
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
        Ok(Self::lines(args.tui))
    }

    /// Without the dashboard.
    pub(crate) fn plain() -> Self {
        Self::lines(false)
    }

    /// As a story.
    pub(crate) fn telling(story: Story) -> Self {
        Self { told: Told::Story(story), listening: None }
    }

    fn lines(dashboard: bool) -> Self {
        Self { told: Told::Lines(Lines { dashboard, training: None, progress: None }), listening: None }
    }

    /// Hears of an interrupt from now on.
    fn listen(&mut self, interrupter: &Interrupter) -> Result<()> {
        const NOTICE: &str = "finishing the step and saving; interrupt again to stop at once";
        let (stops, story) = (interrupter.clone(), self.story().cloned());
        self.listening = Some(interrupt::listen(move || {
            match story {
                Some(story) => story.notice(NOTICE),
                None => notes::warn(NOTICE),
            }
            stops.stop(Some("interrupted"));
        })?);
        Ok(())
    }

    fn story(&self) -> Option<&Story> {
        match &self.told {
            Told::Story(story) => Some(story),
            Told::Lines(_) => None,
        }
    }
}

impl Observer for Watch {
    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::TrainingBegins { interrupter, .. } => {
                let listening = self.listen(interrupter);
                self.told.hear(event);
                if let Err(error) = listening {
                    self.told.say(format!("an interrupt will end the run at once: {error}"));
                }
            }
            Event::TrainingEnds(_) => {
                self.listening = None;
                self.told.hear(event);
            }
            _ => self.told.hear(event),
        }
    }
}

impl Told {
    fn hear(&mut self, event: Event<'_>) {
        match self {
            Self::Lines(lines) => lines.hear(event),
            Self::Story(story) => story.hear(event),
        }
    }

    fn say(&mut self, line: String) {
        match self {
            Self::Lines(Lines { training: Some(live), .. }) => live.say(line),
            Self::Lines(_) => notes::say(line),
            Self::Story(story) => story.notice(&line),
        }
    }
}

impl Lines {
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

    fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Warning(problem) => match &mut self.training {
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
            Event::TrainingBegins { done, total_steps, interrupter } => {
                let steps = done..total_steps;
                let dashboard = self.dashboard.then(|| Dashboard::open(steps.clone(), interrupter.clone()));
                self.training = Some(Live::new(steps, dashboard));
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
            Event::Row(_) | Event::Validating { .. } | Event::Sample(_) => {
                if let Some(live) = &mut self.training {
                    live.hear(event);
                }
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
