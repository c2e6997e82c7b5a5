//! A search for settings: a small grid of trials, trained one after the other, of which the hopeless are stopped early.
//!
//! Successive halving (K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
//! Optimization", AISTATS 2016): all trials are trained to the first rung, the better part of them to the second, and so
//! on; the last rung is a trial's whole training. A trial is paused at a rung and goes on from there bit for bit, so that
//! its learning rate falls as if it had never been paused. Trials are ranked by their lowest validation loss; records that
//! none of them saw are measured once, at the end, with the chosen one.
//!
//! What is done stands in the trials' own folders, so that a sweep that was interrupted goes on with what is left.

mod inputs;
mod plan;
mod trial;

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};

use gptneo_files::{Claim, Lock, recover, write_file};
use gptneo_model::WeightFormat;
use gptneo_report::{Chart, TrialCurve, TrialRow, write_trials};
use gptneo_training::measure::{Discrimination, Evaluation};
use gptneo_training::{TrainingError, TuningKind};
use serde::Serialize;

use self::inputs::Inputs;
pub use self::plan::Halving;
use self::plan::{Plan, trial_folder};
use self::trial::TrialRun;
use super::evaluate::{Candidate, Exam, Examined, Others, Paired, Syllabus};
use super::folder::{RunFolder, refuse_used};
use super::model_folder::ModelFolder;
use super::progress::Observer;
use super::source::{Found, Kind, Source};
use super::taken::hold;
use crate::settings::Layer;
use crate::{Error, Problem, Remedy, Result};

/// What a sweep keeps of the file that it was begun with.
const PLAN_FILE: &str = "sweep.toml";

/// A sweep in its folder.
pub struct Sweep {
    plan: Plan,
    folder: PathBuf,
    /// Whether it goes on in its folder.
    begun: bool,
}

/// A moment of a sweep, for whoever watches it.
#[derive(Clone, Debug)]
pub enum Moment<'a> {
    /// Something that a person should know of the data.
    Warning(&'a Problem),
    /// A trial is trained up to a step.
    Training {
        /// Its number, from 1.
        trial: usize,
        /// How many trials there are.
        trials: usize,
        /// The rung, from 1.
        rung: usize,
        /// The step at which it is paused, or ends.
        until: usize,
        /// What it differs in.
        settings: &'a [(String, String)],
    },
    /// A rung is done, and these trials go on; their numbers count from 1.
    Halved {
        /// The rung, from 1.
        rung: usize,
        /// Those that go on, the best first.
        survivors: &'a [usize],
    },
    /// All that went on are lost: a trial that was stopped before goes on in their place.
    TakenUp {
        /// Its number, from 1.
        trial: usize,
    },
    /// The chosen trial is measured on what was put aside.
    Testing {
        /// Batches that are done.
        done: usize,
        /// All batches.
        total: usize,
    },
}

/// What a sweep found.
#[derive(Serialize)]
pub struct SweepOutcome {
    /// The trials, in the grid's order.
    pub trials: Vec<TrialRow>,
    /// The number of the chosen one, from 1.
    pub chosen: usize,
    /// The folder of its adapter, or of its model after full tuning.
    pub weights: PathBuf,
    /// The chosen one on the records that were put aside.
    pub test: Test,
}

/// The base and the chosen trial on records that no trial saw.
#[derive(Serialize)]
pub struct Test {
    /// The base.
    pub base: TestScores,
    /// The chosen trial.
    pub tuned: TestScores,
    /// The chosen trial against the base, row by row.
    pub paired: Paired,
}

/// One model's measures on them.
#[derive(Serialize)]
pub struct TestScores {
    /// The three protocols.
    pub protocols: Option<Evaluation>,
    /// Answers told from others, where there were enough records for it.
    pub discrimination: Option<Discrimination>,
}

impl Sweep {
    /// A new sweep in `folder`, which must be new or empty. The settings of `over` win over the file's.
    ///
    /// # Errors
    /// A file that describes no sweep, or a used folder.
    pub fn new(file: &Path, over: Layer, folder: &Path) -> Result<Self> {
        let plan = Plan::read(file, over)?;
        refuse_used(folder)?;
        Ok(Self { plan, folder: folder.to_path_buf(), begun: false })
    }

    /// The sweep in `folder` goes on, as its own `sweep.toml` says, on the records that it was begun with.
    ///
    /// # Errors
    /// There is none.
    pub fn resume(folder: &Path) -> Result<Self> {
        let file = folder.join(PLAN_FILE);
        if !file.is_file() {
            let what = format!("there is no sweep in {}: {PLAN_FILE} is missing", folder.display());
            return Err(Error::settings(what, Remedy::say("give the folder of a sweep, or start a new one")));
        }
        let plan = Plan::read(&file, Layer::default())?;
        Ok(Self { plan, folder: folder.to_path_buf(), begun: true })
    }

    /// The folder of all trials.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Trains, chooses and measures. `find` turns names of model and data into local files; `watch` gives each training
    /// its observer.
    ///
    /// # Errors
    /// What `find` and `watch` say, an interrupt ([`Error::Interrupted`]), or what a trial says.
    pub fn run<E: From<Error>, O: Observer + 'static>(
        &self,
        mut find: impl FnMut(Kind, &Path, Option<&Source>) -> Result<Found, E>,
        mut watch: impl FnMut() -> Result<O, E>,
        tell: &mut (dyn FnMut(Moment<'_>) + Send),
    ) -> Result<SweepOutcome, E> {
        let (inputs, _held) = self.begin(&mut find)?;
        let unused = (!self.plan.unused.is_empty()).then(|| unused(&self.plan.unused));
        unused.iter().chain(&inputs.warnings).for_each(|problem| tell(Moment::Warning(problem)));
        let Plan { halving, trials, .. } = &self.plan;
        let mut runs: Vec<TrialRun> = trials
            .iter()
            .enumerate()
            .map(|(at, trial)| {
                TrialRun::of(inputs.settings(&trial.settings), at + 1, halving, &inputs, &self.folder)
            })
            .collect();
        let mut alive: Vec<usize> = (0..runs.len()).collect();
        let mut stopped = Vec::new();
        for rung in 0..halving.rungs {
            let begun = alive.len();
            let mut failure = None;
            // In the grid's order, whatever their rank.
            alive.sort_unstable();
            let mut waiting: VecDeque<usize> = std::mem::take(&mut alive).into();
            while let Some(at) = waiting.pop_front() {
                let run = &mut runs[at];
                if run.is_due(rung)? {
                    tell(Moment::Training {
                        trial: at + 1,
                        trials: trials.len(),
                        rung: rung + 1,
                        until: run.until(rung),
                        settings: &trials[at].shown(),
                    });
                    match run.train(rung, &inputs, watch()?) {
                        Err(error) if has_diverged(&error) => {
                            run.is_lost = true;
                            tell(Moment::Warning(&lost(at + 1, &error)));
                            failure = Some(error);
                        }
                        trained => trained?,
                    }
                }
                if !run.is_lost {
                    run.rungs = rung + 1;
                    alive.push(at);
                }
                if alive.is_empty() && waiting.is_empty() && !stopped.is_empty() {
                    // The best of those that were stopped last.
                    let at = stopped.remove(0);
                    tell(Moment::TakenUp { trial: at + 1 });
                    waiting.push_back(at);
                }
            }
            if let Some(error) = failure.filter(|_| alive.is_empty()) {
                self.tabulate(&runs, None)?;
                return Err(error.into());
            }
            let losses: Vec<Option<f64>> =
                runs.iter().map(|run| run.validation_loss(rung)).collect::<Result<_>>()?;
            let loss = |at: &usize| losses[*at].unwrap_or(f64::INFINITY);
            alive.sort_by(|a, b| loss(a).total_cmp(&loss(b)).then(a.cmp(b)));
            if rung + 1 < halving.rungs {
                let behind = alive.split_off(halving.survivors(begun).min(alive.len()));
                stopped.splice(0..0, behind);
                let survivors: Vec<usize> = alive.iter().map(|at| at + 1).collect();
                tell(Moment::Halved { rung: rung + 1, survivors: &survivors });
            }
        }
        let rows = self.tabulate(&runs, Some(alive[0]))?;
        Ok(self.conclude(&inputs, rows, (alive[0], runs[alive[0]].weights()), tell)?)
    }

    /// Tells of the trials in a table and a chart.
    fn tabulate(&self, runs: &[TrialRun], chosen: Option<usize>) -> Result<Vec<TrialRow>> {
        let rows: Vec<TrialRow> = runs
            .iter()
            .enumerate()
            .map(|(at, run)| {
                Ok(TrialRow {
                    trial: at + 1,
                    settings: self.plan.trials[at].shown(),
                    steps: run.steps()?,
                    total_steps: run.total_steps(),
                    rungs: run.rungs,
                    validation_loss: run.validation_loss(run.rungs.saturating_sub(1))?,
                    chosen: Some(at) == chosen,
                })
            })
            .collect::<Result<_>>()?;
        write_trials(self.table(), &rows)?;
        let curves: Vec<TrialCurve> = runs
            .iter()
            .enumerate()
            .map(|(at, run)| {
                let points = run.curve()?;
                Ok(TrialCurve { name: (at + 1).to_string(), points, chosen: Some(at) == chosen })
            })
            .collect::<Result<_>>()?;
        // Trials that were lost before they were measured have no curve.
        if curves.iter().any(|curve| !curve.points.is_empty()) {
            Chart::trials(&curves)?.write_png(self.chart())?;
        }
        Ok(rows)
    }

    /// Measures the chosen trial on what was put aside, and writes all that was found.
    fn conclude(
        &self,
        inputs: &Inputs,
        rows: Vec<TrialRow>,
        (chosen, weights): (usize, PathBuf),
        tell: &mut (dyn FnMut(Moment<'_>) + Send),
    ) -> Result<SweepOutcome> {
        let outcome = SweepOutcome {
            trials: rows,
            chosen: chosen + 1,
            test: self.test(inputs, &weights, tell)?,
            weights,
        };
        let text = serde_json::to_string_pretty(&outcome).unwrap_or_default();
        write_file(&self.result(), |file| writeln!(file, "{text}"))?;
        Ok(outcome)
    }

    fn test(
        &self,
        inputs: &Inputs,
        weights: &Path,
        tell: &mut (dyn FnMut(Moment<'_>) + Send),
    ) -> Result<Test> {
        let settings = &self.plan.settings;
        let base = ModelFolder::open(inputs.model.clone())?;
        let exam = Exam::of(
            Syllabus {
                texts: &inputs.test,
                discriminate: Others::UpTo(settings.answers.discriminate),
                ..Syllabus::default()
            },
            &inputs.options,
            &base,
        )?;
        let lora = settings.model.tuning == TuningKind::Lora;
        let tuned = if lora { None } else { Some(ModelFolder::open(weights)?) };
        let mut sit = |name, model: &ModelFolder, adapter: Option<&Path>| {
            let batch_size = settings.training.batch_size;
            let candidate = Candidate { name, model, adapter, weights: WeightFormat::F32, batch_size };
            exam.set(settings.run.place(), candidate, &mut |done, total| {
                tell(Moment::Testing { done, total })
            })
        };
        let before = sit("Base Model", &base, settings.model.adapter.as_deref())?;
        let after = match &tuned {
            Some(tuned) => sit("Tuned Model", tuned, None)?,
            None => sit("LoRA Model", &base, Some(weights))?,
        };
        let paired = Paired::of(&before, &after);
        Ok(Test { base: before.into(), tuned: after.into(), paired })
    }

    /// Takes the folder, which no other process can write into as long as the lock lives, and finds the inputs. A new
    /// folder appears with all that is needed to go on in it; before that, a refusal leaves nothing.
    fn begin<E: From<Error>>(
        &self,
        find: &mut impl FnMut(Kind, &Path, Option<&Source>) -> Result<Found, E>,
    ) -> Result<(Inputs, Lock), E> {
        if self.begun {
            recover(&self.folder).map_err(Error::from)?;
            let held = hold(&RunFolder::at(&self.folder))?;
            return Ok((Inputs::find(&self.plan, &self.folder, find)?, held));
        }
        let claim = Claim::new(&self.folder).map_err(Error::from)?;
        let room = claim.folder();
        let held = hold(&RunFolder::at(&room))?;
        write_file(&room.join(PLAN_FILE), |file| file.write_all(self.plan.text.as_bytes()))
            .map_err(Error::from)?;
        let inputs = Inputs::find(&self.plan, &room, find)?.moved(&room, &self.folder);
        claim.settle().map_err(Error::from)?;
        Ok((inputs, held))
    }

    /// The table of the trials.
    pub fn table(&self) -> PathBuf {
        self.folder.join("sweep.csv")
    }

    /// The chart of their validation losses.
    pub fn chart(&self) -> PathBuf {
        self.folder.join("sweep_chart.png")
    }

    /// All that was found, as JSON.
    pub fn result(&self) -> PathBuf {
        self.folder.join("sweep.json")
    }

    /// The folder of a trial, which counts from 1.
    pub fn trial(&self, number: usize) -> RunFolder {
        RunFolder::at(trial_folder(&self.folder, number))
    }
}

impl From<Examined> for TestScores {
    fn from(found: Examined) -> Self {
        Self { protocols: found.protocols, discrimination: found.discrimination }
    }
}

/// Whether a trial's own settings let its numbers run away: others may do better.
fn has_diverged(error: &Error) -> bool {
    use TrainingError::{LossScaleExhausted, NonFinite};
    matches!(error, Error::Training(NonFinite { .. } | LossScaleExhausted { .. }))
}

fn unused(settings: &[&str]) -> Problem {
    Problem {
        what: format!(
            "a sweep has no use for {}: its trials are trained and measured alone",
            settings.join(", ")
        ),
        remedy: Remedy::None,
    }
}

fn lost(trial: usize, error: &Error) -> Problem {
    Problem {
        what: format!("trial {trial} is lost: {error}"),
        remedy: Remedy::say("leave its settings out of the next sweep"),
    }
}
