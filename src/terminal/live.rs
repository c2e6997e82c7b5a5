//! A training run as it happens: a bar with loss, speed and time left on a terminal, else a plain line every few
//! seconds, both on stderr; or the dashboard. `metrics.jsonl` holds every step whatever is shown.

use std::ops::Range;
use std::time::{Duration, Instant};

use gptneo_lora::run::Event;
use gptneo_training::metrics::{MetricsRow, TrainRow};
use gptneo_training::samples::SampleRow;
use indicatif::{ProgressBar, ProgressStyle};

use super::dashboard::Dashboard;
use super::notes;
use super::tables::flat;

/// How long a log stays silent between two lines.
const QUIET: Duration = Duration::from_secs(5);

/// How much of a question and its answer is shown, in characters.
const SAMPLE_WIDTH: usize = 160;

/// Shows a run's progress.
pub(crate) struct Live {
    total_steps: usize,
    display: Display,
    /// The step whose first sample was shown.
    sampled: Option<usize>,
}

enum Display {
    Bar(ProgressBar),
    /// A line now and then.
    Lines {
        last: Option<Instant>,
    },
    /// The whole terminal; what would be said meanwhile is said when it closes.
    Dashboard(Dashboard, Vec<String>),
}

impl Live {
    /// A display for a run with these steps to do.
    pub(crate) fn new(steps: Range<usize>, dashboard: Option<Dashboard>) -> Self {
        let display = match dashboard {
            Some(dashboard) => Display::Dashboard(dashboard, Vec::new()),
            None if notes::may_be_drawn() => {
                let style =
                    ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {elapsed} (left: {eta})");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(steps.end as u64).with_style(style);
                bar.set_position(steps.start as u64);
                // What was done before says nothing of the time left.
                bar.reset_eta();
                Display::Bar(bar)
            }
            None => Display::Lines { last: None },
        };
        Self { total_steps: steps.end, display, sampled: None }
    }

    /// Hears a moment of the training.
    pub(crate) fn hear(&mut self, event: Event<'_>) {
        match event {
            Event::Row(row) => self.row(row),
            Event::Validating { done, total } => self.validating(done, total),
            Event::Sample(row) => self.sample(row),
            _ => {}
        }
    }

    /// Says a line without harm to what is shown.
    pub(crate) fn say(&mut self, line: String) {
        match &mut self.display {
            Display::Bar(bar) => bar.println(line),
            Display::Lines { .. } => notes::say(line),
            Display::Dashboard(_, later) => later.push(line),
        }
    }

    fn step(&mut self, row: &TrainRow) {
        if row.skipped {
            let scale = row.loss_scale.unwrap_or_default();
            self.say(format!(
                "step {}: skipped, gradients not finite at loss scale {scale}: halved",
                row.step
            ));
        }
        let speed = row.tokens_per_second.unwrap_or_default();
        let message = format!("loss {:.4}  {speed:.0} tokens/s", row.loss);
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_position(row.step as u64);
                bar.set_message(message);
            }
            Display::Lines { last } => {
                if row.step == self.total_steps || last.is_none_or(|last| last.elapsed() >= QUIET) {
                    *last = Some(Instant::now());
                    let left = row.seconds.unwrap_or_default() * (self.total_steps - row.step) as f64;
                    notes::say(format_args!(
                        "step {}/{}  {message}  about {left:.0} s left",
                        row.step, self.total_steps
                    ));
                }
            }
            Display::Dashboard(dashboard, _) => dashboard.step(row),
        }
    }

    /// Shows a training step, or a measurement of the validation loss.
    fn row(&mut self, row: &MetricsRow) {
        match row {
            MetricsRow::Train(row) => self.step(row),
            MetricsRow::Validation(row) => {
                if let Display::Dashboard(dashboard, _) = &mut self.display {
                    dashboard.validated(row);
                }
                self.say(format!(
                    "step {}: validation loss {:.4}, perplexity {:.2} ({} tokens)",
                    row.step, row.loss, row.perplexity, row.tokens
                ));
            }
        }
    }

    /// Shows how far a validation is, in batches.
    fn validating(&mut self, done: usize, total: usize) {
        match &mut self.display {
            Display::Bar(bar) => bar.set_message(format!("evaluating {done}/{total}")),
            Display::Lines { .. } => {}
            Display::Dashboard(dashboard, _) => dashboard.validating(done, total),
        }
    }

    /// Shows the first of a step's answers; all of them are in the run's folder.
    fn sample(&mut self, row: &SampleRow) {
        if self.sampled.replace(row.step) != Some(row.step) {
            let mut line = format!("step {}: {} — {}", row.step, flat(&row.question), flat(&row.answer));
            if let Some((end, _)) = line.char_indices().nth(SAMPLE_WIDTH) {
                line.truncate(end);
                line.push('…');
            }
            self.say(line);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.display, Display::Lines { last: None }) {
            Display::Bar(bar) => bar.finish_and_clear(),
            Display::Lines { .. } => {}
            Display::Dashboard(dashboard, later) => {
                drop(dashboard);
                later.into_iter().for_each(notes::say);
            }
        }
    }
}
