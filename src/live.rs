//! A training run as it happens, on stderr: a bar with loss, speed and time left on a terminal, else a plain line
//! every few seconds. `metrics.jsonl` holds every step whatever is shown.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use gptneo_training::metrics::{MetricsRow, TrainRow};
use gptneo_training::strategy::Observer;
use indicatif::{ProgressBar, ProgressStyle};

/// How long a log stays silent between two lines.
const QUIET: Duration = Duration::from_secs(5);

/// Shows a run's progress.
pub(crate) struct Live {
    total_steps: usize,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Live {
    /// A display for a run of `total_steps`.
    pub(crate) fn new(total_steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {elapsed} (left: {eta})");
            ProgressBar::new(total_steps as u64)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { total_steps, bar, last_line: None }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn step(&mut self, row: &TrainRow) {
        if row.skipped {
            let scale = row.loss_scale.unwrap_or_default();
            self.say(&format!(
                "step {}: skipped, gradients not finite at loss scale {scale}: halved",
                row.step
            ));
        }
        let speed = row.tokens_per_second.unwrap_or_default();
        let message = format!("loss {:.4}  {speed:.0} tokens/s", row.loss);
        if let Some(bar) = &self.bar {
            bar.set_position(row.step as u64);
            bar.set_message(message);
        } else if row.step == self.total_steps || self.last_line.is_none_or(|last| last.elapsed() >= QUIET) {
            self.last_line = Some(Instant::now());
            let left = row.seconds.unwrap_or_default() * (self.total_steps - row.step) as f64;
            eprintln!("step {}/{}  {message}  about {left:.0} s left", row.step, self.total_steps);
        }
    }
}

impl Observer for Live {
    fn row(&mut self, row: &MetricsRow) {
        match row {
            MetricsRow::Train(row) => self.step(row),
            MetricsRow::Validation(row) => self.say(&format!(
                "step {}: validation loss {:.4}, perplexity {:.2} ({} tokens)",
                row.step, row.loss, row.perplexity, row.tokens
            )),
        }
    }

    fn validating(&mut self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("evaluating {done}/{total}"));
        }
    }

    fn checkpoint(&mut self, _step: usize) {}
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
