//! What is on its way to or from the Hub, on stderr: a bar with size and speed on a terminal, and a line at the end.

use std::sync::Arc;
use std::time::Instant;

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler, UploadEvent};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use crate::terminal::notes;

/// One transfer. Dropping it removes the bar.
pub(super) struct Transfer {
    what: String,
    size: u64,
    started: Instant,
    bar: Arc<Bar>,
}

/// The bar alone, which the client moves; nothing where there is no terminal.
struct Bar(Option<ProgressBar>);

impl Transfer {
    /// A transfer of `size` bytes that is about to begin.
    pub(super) fn new(what: String, size: u64) -> Self {
        let shown = notes::may_be_drawn();
        let bar = shown.then(|| {
            let template =
                "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} (left: {eta})";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(size).with_style(style).with_message(what.clone())
        });
        Self { what, size, started: Instant::now(), bar: Arc::new(Bar(bar)) }
    }

    /// What moves the bar.
    pub(super) fn handler(&self) -> Arc<dyn ProgressHandler> {
        self.bar.clone()
    }

    /// Ends the transfer with a line, for example "downloaded owner/name config.json: 1.00 kB in 0.2 s".
    pub(super) fn done(self, verb: &str) {
        let (size, seconds) = (DecimalBytes(self.size), self.started.elapsed().as_secs_f64());
        let line = format!("{verb} {}: {size} in {seconds:.1} s", self.what);
        drop(self);
        notes::say(line);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar.0 {
            bar.finish_and_clear();
        }
    }
}

impl ProgressHandler for Bar {
    fn on_progress(&self, event: &ProgressEvent) {
        let Some(bar) = &self.0 else { return };
        match event {
            ProgressEvent::Download(DownloadEvent::Progress { files }) => {
                if let Some(file) = files.last() {
                    bar.set_position(file.bytes_completed);
                }
            }
            ProgressEvent::Download(DownloadEvent::AggregateProgress { bytes_completed, .. })
            | ProgressEvent::Upload(UploadEvent::Progress { bytes_completed, .. }) => {
                bar.set_position(*bytes_completed);
            }
            _ => {}
        }
    }
}
