//! Burn's dashboard on the whole terminal: curves of every measure, progress, and a key to stop.

use std::io::IsTerminal;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use anyhow::Result;
use burn::data::dataloader::Progress;
use burn::train::Interrupter;
use burn::train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{
    MetricState, MetricsRenderer as _, MetricsRendererTraining as _, ProgressType, TrainingProgress,
};
use gptneo_training::metrics::{TrainRow, ValidationRow};

use super::failure::Misuse;
use super::interrupt;

/// The measures with their units, in the order of the dashboard's tabs.
const LOSS: (&str, &str) = ("loss", "nats per token");
const RATE: (&str, &str) = ("learning rate", "");
const NORM: (&str, &str) = ("gradient norm", "");
const SPEED: (&str, &str) = ("speed", "tokens/s");

/// Whether there is a terminal to take over.
///
/// # Errors
/// Standard output is none.
pub(crate) fn check_terminal() -> Result<()> {
    match std::io::stdout().is_terminal() {
        true => Ok(()),
        false => Err(Misuse::error(
            "--tui needs a terminal as standard output: leave it out where the output goes to a file",
        )),
    }
}

/// The dashboard of a training run, open as long as this lives.
pub(crate) struct Dashboard {
    /// None once it is closed.
    renderer: Option<TuiMetricsRendererWrapper>,
    total_steps: usize,
    step: usize,
}

/// What Burn panics with, in its thread and in ours, where the program is to end at once.
const END_AT_ONCE: &str = "Killing training from user input.";

impl Dashboard {
    /// Takes over the terminal for these steps. The key `q` offers to stop: the first choice pulls `interrupter`.
    pub(crate) fn open(steps: Range<usize>, interrupter: Interrupter) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // The user asked for it: there is nothing to tell.
                if panic.payload().downcast_ref::<&str>() != Some(&END_AT_ONCE) {
                    usual(panic);
                }
            }));
        });
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter, Some(steps.start));
        for measure in [LOSS, RATE, NORM, SPEED] {
            renderer.register_metric(MetricDefinition {
                metric_id: id(measure),
                name: measure.0.to_string(),
                description: None,
                attributes: MetricAttributes::Numeric(NumericAttributes {
                    unit: Some(measure.1.to_string()),
                    higher_is_better: measure == SPEED,
                }),
            });
        }
        Self { renderer: Some(renderer), total_steps: steps.end, step: steps.start }
    }

    /// Shows a training step.
    pub(crate) fn step(&mut self, row: &TrainRow) {
        self.step = row.step;
        let progress = self.progress();
        let steps = ProgressType::Detailed { tag: "Step".into(), progress: progress.global_progress.clone() };
        let measures = [
            (LOSS, row.loss),
            (RATE, row.learning_rate),
            (NORM, row.grad_norm),
            (SPEED, row.tokens_per_second.unwrap_or_default()),
        ];
        self.show(|renderer| {
            // A chart has no place for a value that is not finite.
            for (measure, value) in measures.into_iter().filter(|(_, value)| value.is_finite()) {
                renderer.update_train(state(measure, value));
            }
            renderer.render_train(progress, vec![steps]);
        });
    }

    /// Shows what a validation found.
    pub(crate) fn validated(&mut self, row: &ValidationRow) {
        self.show(|renderer| renderer.update_valid(state(LOSS, row.loss)));
    }

    /// Shows how far a validation is, in batches.
    pub(crate) fn validating(&mut self, done: usize, total: usize) {
        let progress = self.progress();
        let batches = ProgressType::Detailed { tag: "Batch".into(), progress: Progress::new(done, total) };
        self.show(|renderer| renderer.render_valid(progress, vec![batches]));
    }

    fn progress(&self) -> TrainingProgress {
        TrainingProgress {
            progress: None,
            global_progress: Progress::new(self.step, self.total_steps.max(1)),
            iteration: Some(self.step),
        }
    }

    /// The dashboard's choice to end the program at once is a panic in Burn; here it is what a second Ctrl-C is.
    fn show(&mut self, update: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        if let Some(renderer) = &mut self.renderer {
            or_end(|| update(renderer));
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let renderer = self.renderer.take();
        or_end(|| drop(renderer));
    }
}

/// Does `work`, in which Burn panics where the program is to end at once; Burn has given the terminal back by then.
fn or_end(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        std::process::exit(interrupt::INTERRUPTED);
    }
}

fn id(measure: (&str, &str)) -> MetricId {
    MetricId::new(Arc::new(measure.0.to_string()))
}

fn state(measure: (&str, &str), value: f64) -> MetricState {
    let shown = match measure {
        RATE => format!("{value:.2e}"),
        SPEED => format!("{value:.0} {}", measure.1),
        _ => format!("{value:.4} {}", measure.1),
    };
    let entry = SerializedEntry::new(shown.trim_end().to_string(), value.to_string());
    MetricState::Numeric(MetricEntry::new(id(measure), entry), NumericEntry::Value(value))
}
