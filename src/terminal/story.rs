//! A whole run on one screen of a terminal: what is happening, the loss as a line of blocks that grows, and one held-out
//! answer that changes as the model learns. It is drawn anew in place; all else is on the run's page.
//!
//! Where nothing can be drawn in place, plain lines tell the same: see [`can_be_told`].

mod blocks;
mod frame;
mod screen;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gptneo_lora::run::{Event, Measured, TrainingSummary};
use gptneo_training::metrics::{MetricsRow, TrainRow};
use gptneo_training::samples::SampleRow;

use self::screen::Screen;
use super::tables::flat;
use super::{notes, wording};

/// Drawn at most so often, however fast the steps are.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether a story can be told: both outputs are terminals, and on standard error something may be drawn.
pub(crate) fn can_be_told() -> bool {
    std::io::stdout().is_terminal() && notes::may_be_drawn()
}

/// The parts of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Read,
    MeasureBase,
    Train,
    MeasureTuned,
    Merge,
    Ask,
}

const STAGES: [Stage; 6] =
    [Stage::Read, Stage::MeasureBase, Stage::Train, Stage::MeasureTuned, Stage::Merge, Stage::Ask];

/// What is known of a run so far.
struct Facts {
    title: String,
    /// How its answers are chosen, in a few words.
    decoding: String,
    /// The stage that goes on; none once all is done.
    stage: Option<Stage>,
    /// Steps, batches or questions of it that are done, of how many.
    done: (usize, usize),
    /// Whether there is something to measure, to merge, to ask.
    records: Option<(usize, usize)>,
    lora: bool,
    /// The mean loss of each training step, by the step.
    losses: Vec<(usize, f64)>,
    total_steps: usize,
    held_out: Vec<f64>,
    tokens_per_second: f64,
    /// Of the last steps: the length of a text moves a single one.
    seconds_per_step: f64,
    /// What came of the training.
    ending: Option<String>,
    question: Option<String>,
    /// The answer to it after so many steps.
    answers: Vec<(usize, String)>,
    /// What is to be known at once.
    notice: Option<String>,
    begun: Instant,
}

/// A story that is being told; clones tell the same one.
#[derive(Clone)]
pub(crate) struct Story(Arc<Mutex<Telling>>);

struct Telling {
    facts: Facts,
    screen: Screen,
    drawn: Option<Instant>,
}

impl Story {
    /// Begins one. `lora` says whether there is an adapter, which is merged.
    pub(crate) fn begin(title: &str, lora: bool, decoding: String) -> Self {
        let facts = Facts {
            title: flat(title),
            decoding,
            stage: Some(Stage::Read),
            done: (0, 0),
            records: None,
            lora,
            losses: Vec::new(),
            total_steps: 0,
            held_out: Vec::new(),
            tokens_per_second: 0.0,
            seconds_per_step: 0.0,
            ending: None,
            question: None,
            answers: Vec::new(),
            notice: None,
            begun: Instant::now(),
        };
        let story = Self(Arc::new(Mutex::new(Telling { facts, screen: Screen::default(), drawn: None })));
        story.telling().draw();
        story
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears a moment of the run.
    pub(crate) fn hear(&self, event: Event<'_>) {
        self.telling().hear(event);
    }

    /// Says something that the run's end does not wait for.
    pub(crate) fn notice(&self, text: &str) {
        let mut telling = self.telling();
        telling.facts.notice = Some(flat(text));
        telling.draw();
    }

    /// The end: what stays on the screen, with room for `below` lines under it.
    pub(crate) fn end(&self, below: usize) {
        let mut telling = self.telling();
        telling.facts.stage = None;
        let Telling { facts, screen, .. } = &mut *telling;
        screen.draw(|width, height| frame::closing(facts, width, height.saturating_sub(below)));
    }
}

impl Telling {
    fn draw(&mut self) {
        let Self { facts, screen, drawn } = self;
        screen.draw(|width, height| frame::lines(facts, width, height));
        *drawn = Some(Instant::now());
    }

    /// Draws, unless it was drawn a moment ago.
    fn draw_soon(&mut self) {
        if self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.draw();
        }
    }

    /// Says a line that stays, above what is drawn.
    fn above(&mut self, line: &str) {
        self.screen.above(line);
        self.draw();
    }

    fn hear(&mut self, event: Event<'_>) {
        let facts = &mut self.facts;
        match event {
            Event::Warning(problem) => self.above(&wording::of_problem(problem)),
            Event::Data(report) => {
                let held_out = if report.test > 0 { report.test } else { report.validation };
                facts.records = Some((report.train, held_out));
                self.draw();
            }
            Event::Preflight(found) => {
                for warning in &found.warnings {
                    self.above(&format!("warning: {}", wording::of_problem(warning)));
                }
            }
            Event::Measuring { model, done, total } => {
                let stage = match model {
                    Measured::Base => Stage::MeasureBase,
                    Measured::Tuned => Stage::MeasureTuned,
                    Measured::Merged => Stage::Merge,
                };
                self.goes_on(stage, done, total);
            }
            Event::TrainingBegins { done, total_steps, .. } => {
                facts.total_steps = total_steps;
                self.goes_on(Stage::Train, done, total_steps);
            }
            Event::Row(MetricsRow::Train(row)) => self.step(row),
            Event::Row(MetricsRow::Validation(row)) => {
                facts.held_out.push(row.loss);
                self.draw();
            }
            Event::Sample(row) => self.sample(row),
            Event::TrainingEnds(summary) => {
                facts.ending = Some(ending(summary));
                facts.notice = None;
                self.draw();
            }
            Event::Answering { done, total } => self.goes_on(Stage::Ask, done, total),
            Event::Exported(report) => self.above(&format!("exported: {report}")),
            Event::NoQuestions => {
                self.above("no answers are compared: there is no held-out question with room for an answer");
            }
            _ => {}
        }
    }

    fn goes_on(&mut self, stage: Stage, done: usize, total: usize) {
        let new = self.facts.stage != Some(stage);
        self.facts.stage = Some(stage);
        self.facts.done = (done, total);
        if new { self.draw() } else { self.draw_soon() }
    }

    fn step(&mut self, row: &TrainRow) {
        let facts = &mut self.facts;
        if row.loss.is_finite() {
            facts.losses.push((row.step, row.loss));
        }
        facts.tokens_per_second = row.tokens_per_second.unwrap_or_default();
        let seconds = row.seconds.unwrap_or_default();
        facts.seconds_per_step = match facts.seconds_per_step {
            0.0 => seconds,
            before => 0.9 * before + 0.1 * seconds,
        };
        self.goes_on(Stage::Train, row.step, self.facts.total_steps);
    }

    /// The first of the questions is the one that is followed.
    fn sample(&mut self, row: &SampleRow) {
        let facts = &mut self.facts;
        let question = flat(&row.question);
        if *facts.question.get_or_insert_with(|| question.clone()) == question {
            facts.answers.push((row.step, flat(&row.answer)));
            self.draw();
        }
    }
}

fn ending(summary: &TrainingSummary) -> String {
    let TrainingSummary { steps, total_steps, stopped_early, model_step, .. } = summary;
    let early = if *stopped_early { format!(" of {total_steps}, stopped early") } else { String::new() };
    let kept = if model_step == steps { String::new() } else { format!("; step {model_step} was the best") };
    format!("{steps} steps{early}{kept}")
}
