//! A training run: from a base model and examples to the trained model, new or resumed.

mod resume;
mod training_loop;

use std::path::PathBuf;
use std::sync::Arc;

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::train::Interrupter;
use gptneo_datasets::Example;
use gptneo_model::{GptNeo, NeoBackend};
use tempfile::TempDir;

use self::resume::state_to_resume;
pub(crate) use self::training_loop::{Progress, TrainingLoop};
use crate::batch_order::BatchOrder;
use crate::checkpoint::{Checkpoints, RunState};
use crate::learner::{FineTune, Launch, StepLoader, ValidationLoader, launch, learner};
use crate::metrics::{MetricsLog, MetricsRow};
use crate::observer::{Observer, Silent};
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::precision::LossScale;
use crate::samples::{SampleQuestions, Samples};
use crate::tuning::device;
use crate::{Precision, TrainingConfig, TrainingError, Tuning};

/// A run to come: what it works on, and settings that have the recipe's values until they are given.
pub struct TrainingRun<B: NeoBackend> {
    model: GptNeo<Autodiff<B>>,
    examples: Arc<[Example]>,
    validation: Arc<[Example]>,
    tuning: Tuning,
    config: TrainingConfig,
    precision: Precision,
    folder: Option<PathBuf>,
    start: Start,
    fingerprint: String,
    samples: Option<SampleQuestions>,
    observer: Box<dyn Observer>,
    interrupter: Interrupter,
    further_devices: Vec<B::Device>,
}

/// What came of a run.
pub struct Trained<B: NeoBackend> {
    /// The model with the weights of the best validation, or the last ones where nothing was measured; in f32, over
    /// the very base that came in, whatever the precision of the training.
    pub model: GptNeo<B>,
    /// The step those weights are of.
    pub model_step: usize,
    /// Where the run stands.
    pub state: RunState,
    /// How it ended.
    pub ending: Ending,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps were done.
    Finished,
    /// The validation loss stopped falling.
    StoppedEarly,
    /// The interrupter was pulled; the checkpoint to go on from stands.
    Interrupted,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    New,
    NewestCheckpoint,
}

impl<B: NeoBackend> TrainingRun<B> {
    /// Trains `model` on `examples`, on the device that the model is on.
    ///
    /// The model is the base; or, for LoRA, one that already carries the adapter to go on with.
    pub fn new(model: GptNeo<Autodiff<B>>, examples: impl Into<Arc<[Example]>>) -> Self {
        Self {
            model,
            examples: examples.into(),
            validation: Arc::new([]),
            tuning: Tuning::default(),
            config: TrainingConfig::default(),
            precision: Precision::default(),
            folder: None,
            start: Start::New,
            fingerprint: String::new(),
            samples: None,
            observer: Box::new(Silent),
            interrupter: Interrupter::new(),
            further_devices: Vec::new(),
        }
    }

    /// What of the model is trained; by default a LoRA adapter of the recipe's shape.
    pub fn tuning(self, tuning: Tuning) -> Self {
        Self { tuning, ..self }
    }

    /// The examples to measure on; by default none, and the last weights are the result.
    pub fn validation(self, examples: impl Into<Arc<[Example]>>) -> Self {
        Self { validation: examples.into(), ..self }
    }

    /// The settings; by default the recipe's.
    pub fn config(self, config: TrainingConfig) -> Self {
        Self { config, ..self }
    }

    /// The numbers of the matrix products; by default f32. The model comes in f32 and goes out in f32.
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The run's folder, which is made if it is absent: `metrics.jsonl` and `checkpoints/` appear in it. By default a
    /// temporary one, which vanishes when the run is done.
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..self }
    }

    /// Goes on from the newest checkpoint in the folder, if there is one; by default the run is new.
    pub fn resume(self) -> Self {
        Self { start: Start::NewestCheckpoint, ..self }
    }

    /// Stands for the base model and the examples: a run goes on only where it is the same. By default empty.
    pub fn fingerprint(self, fingerprint: impl Into<String>) -> Self {
        Self { fingerprint: fingerprint.into(), ..self }
    }

    /// What is asked after every validation; `samples.jsonl` then appears in the folder. By default nothing.
    pub fn samples(self, questions: impl Into<Option<SampleQuestions>>) -> Self {
        Self { samples: questions.into(), ..self }
    }

    /// Who hears of the progress; by default nobody.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        Self { observer: Box::new(observer), ..self }
    }

    /// A handle that ends the run after the current step; by default nobody holds one.
    pub fn interrupter(self, interrupter: Interrupter) -> Self {
        Self { interrupter, ..self }
    }

    /// Other devices, each of which computes a share of every step; by default none.
    pub fn further_devices(self, devices: impl IntoIterator<Item = B::Device>) -> Self {
        Self { further_devices: devices.into_iter().collect(), ..self }
    }

    /// Trains until all steps are done, the validation loss stops falling, or the interrupter is pulled.
    ///
    /// # Errors
    ///
    /// Settings that make no sense, a precision that the device lacks, examples without supervised tokens, a checkpoint
    /// of other settings or data, a loss that is not finite, a file that cannot be written. What was already written
    /// stands.
    pub fn train(self) -> Result<Trained<B>, TrainingError> {
        let device = device(&self.model);
        self.config.validate()?;
        self.precision.check::<B>(&device)?;
        refuse_base_dropout(&self.model)?;
        let order = Arc::new(BatchOrder::new(self.examples, &self.config)?);
        let (folder, _until_the_end) = open_folder(self.folder, self.start)?;

        let checkpoints = Checkpoints::new(folder.join("checkpoints"));
        let fresh = RunState {
            step: 0,
            skipped_steps: 0,
            total_steps: order.total_steps(),
            tokens: 0,
            evaluated_step: None,
            best: None,
            evaluations_without_gain: 0,
            config: self.config,
            precision: self.precision,
            loss_scale: LossScale::of(self.precision),
            tuning: self.tuning,
            fingerprint: self.fingerprint,
        };
        let resumes = self.start == Start::NewestCheckpoint;
        let state = if resumes { state_to_resume(&checkpoints, fresh)? } else { fresh };
        let metrics = folder.join("metrics.jsonl");
        let metrics = match self.start {
            Start::New => MetricsLog::create(metrics)?,
            Start::NewestCheckpoint => MetricsLog::resume(metrics, |row| match row {
                MetricsRow::Train(row) => state.keeps_step(row.step),
                MetricsRow::Validation(row) => state.keeps_evaluation(row.step),
            })?,
        };
        let answers = folder.join("samples.jsonl");
        let keep = |step| resumes && state.keeps_evaluation(step);
        let samples = self.samples.map(|asked| Samples::open(asked, &answers, |row| keep(row.step)));
        let samples = samples.transpose()?;

        Autodiff::<B>::seed(&device, state.config.seed);
        let (tuning, precision) = (state.tuning.clone(), state.precision);
        let base = self.model.clone();
        let model = match state.step {
            0 => tuning.prepare(self.model)?,
            step => tuning.load(self.model, &checkpoints.path(step))?,
        };
        let model = FineTune { model: model.with_precision(precision) };
        let optimizer = SharedAdamW::<B>::new(&state.config);
        // It has no state before its first step.
        if state.steps_taken() > 0 {
            optimizer.load(&model, &checkpoints.path(state.step).join("optimizer.safetensors"))?;
        }

        let replicas = Replicas::new(&model, &self.further_devices);
        let rate = state.config.rate(order.total_steps());
        let launched = launch(Launch {
            learner: learner(model, optimizer.clone(), rate, state.steps_taken()),
            training: StepLoader::new(order.clone(), state.step),
            validation: ValidationLoader::new(&self.validation, state.config.batch_size)?,
            progress: Progress {
                state,
                metrics,
                samples,
                observer: self.observer,
                checkpoints: checkpoints.clone(),
                optimizer,
                replicas,
                steps_per_epoch: order.steps_per_epoch(),
            },
            interrupter: self.interrupter,
            folder: &folder,
        })?;
        let (trained, ending, Progress { state, .. }) = launched;

        let base = base.valid();
        let (model, model_step) = match state.best {
            Some(best) if best.step != state.step => {
                (tuning.load(base, &checkpoints.path(best.step))?, best.step)
            }
            _ if precision == Precision::F32 => (trained, state.step),
            _ => (tuning.in_full(trained, base), state.step),
        };
        Ok(Trained { model, model_step, state, ending })
    }
}

/// The base's own dropout is not implemented: a run without it would not be what its `config.json` asks for.
fn refuse_base_dropout<B: Backend>(model: &GptNeo<B>) -> Result<(), TrainingError> {
    let rate = model.config().base_dropout;
    if rate > 0.0 {
        return Err(TrainingError::Settings(format!(
            "the base model's config.json asks for a dropout of {rate} of its own in training, which is not \
             implemented: set attention_dropout, embed_dropout and resid_dropout to 0 there"
        )));
    }
    Ok(())
}

/// The folder that was named, or a temporary one, which stands as long as its handle.
fn open_folder(named: Option<PathBuf>, start: Start) -> Result<(PathBuf, Option<TempDir>), TrainingError> {
    let Some(folder) = named else {
        if start == Start::NewestCheckpoint {
            return Err(TrainingError::Settings(
                "a run without a folder leaves nothing to go on from: name the folder of the run to resume"
                    .into(),
            ));
        }
        let temporary =
            tempfile::tempdir().map_err(TrainingError::io("create a folder in", &std::env::temp_dir()))?;
        return Ok((temporary.path().into(), Some(temporary)));
    };
    std::fs::create_dir_all(&folder).map_err(TrainingError::io("create", &folder))?;
    Ok((folder, None))
}
