//! How far a long command is, on stderr: a bar on a terminal, else a plain line every few seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::notes;

/// How long a log stays silent between two lines.
const QUIET: Duration = Duration::from_secs(5);

/// The progress of one piece of work. Dropping it removes the bar.
pub(crate) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Progress of `what`, for example "evaluating".
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = notes::may_be_drawn().then(|| {
            let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}  {elapsed} (left: {eta})");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::no_length().with_style(style).with_message(what)
        });
        let now = Instant::now();
        Self { what, bar, started: now, last_line: now }
    }

    /// Tells that `done` of `total` steps are done.
    pub(crate) fn update(&mut self, done: usize, total: usize) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            None if self.last_line.elapsed() >= QUIET => {
                self.last_line = Instant::now();
                let seconds = self.started.elapsed().as_secs_f64();
                notes::say(format_args!("{}: {done} of {total}, {seconds:.0} s", self.what));
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
