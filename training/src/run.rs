//! A training run: from a base model and examples to the trained model, new or resumed.

mod files;
mod training_loop;

use std::path::PathBuf;
use std::sync::Arc;

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::train::Interrupter;
use gptneo_datasets::Example;
use gptneo_model::{GptNeo, ModelError, NeoBackend, WeightFormat};

use self::files::{RunFiles, Start};
use self::training_loop::{Progress, TrainingLoop};
use crate::batch_order::BatchOrder;
use crate::checkpoint::{Checkpoints, RunState};
use crate::fine_tune::FineTune;
use crate::learner::{Launch, StepLoader, ValidationLoader, launch, learner};
use crate::observer::{Observer, Silent};
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::precision::LossScale;
use crate::samples::SampleQuestions;
use crate::step::Steps;
use crate::threads::check_threads;
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

    /// A handle that ends the run after the step that it is at; by default nobody holds one.
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
    /// Settings that make no sense, a precision or threads that the machine lacks, examples to train on or to validate with
    /// without supervised tokens, a text that does not fit the model, a checkpoint of other settings or data, a loss that is not finite, a file that cannot be
    /// written. What was already written stands.
    pub fn train(self) -> Result<Trained<B>, TrainingError> {
        let device = device(&self.model);
        self.config.validate()?;
        self.precision.check::<B>(&device)?;
        refuse_base_dropout(&self.model)?;
        refuse_half_of_int8(&self.model, self.precision)?;
        check_threads()?;
        refuse_misfits(&self.model, &self.examples)?;
        refuse_misfits(&self.model, &self.validation)?;
        let order = Arc::new(BatchOrder::new(self.examples, &self.config)?);
        refuse_nothing_to_validate(&self.validation)?;

        let files = RunFiles::open(self.folder, self.start)?;
        let state = files.state(RunState {
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
        })?;
        let metrics = files.metrics(&state)?;
        let samples = self.samples.map(|asked| files.samples(asked, &state)).transpose()?;

        Autodiff::<B>::seed(&device, state.config.seed);
        let base = self.model.clone();
        let (model, optimizer) = model_at(&state, self.model, &files.checkpoints)?;
        let rate = state.config.rate(state.total_steps);
        let mut progress = Progress {
            steps: Steps::new(
                optimizer.clone(),
                Replicas::new(&model, &self.further_devices),
                state.loss_scale,
            ),
            steps_per_epoch: order.steps_per_epoch(),
            checkpoints: files.checkpoints.clone(),
            state: state.clone(),
            metrics,
            samples,
            observer: self.observer,
        };
        let launched = Launch {
            training: StepLoader::new(order.clone(), state.step),
            validation: ValidationLoader::new(&self.validation, state.config.batch_size)?,
            learner: learner(model, optimizer, rate, state.steps_taken()),
            interrupter: self.interrupter,
            folder: &files.folder,
        };
        let (trained, (ending, state)) = launch(launched, move |fitting| {
            let ending = TrainingLoop { fitting, progress: &mut progress }.run();
            (ending, progress.state)
        })?;
        let ending = ending?;

        let (base, tuning) = (base.valid(), &state.tuning);
        let (model, model_step) = match state.best {
            Some(best) if best.step != state.step => {
                files.checkpoints.check(best.step)?;
                (tuning.load(base, &files.checkpoints.path(best.step))?, best.step)
            }
            _ if state.precision == Precision::F32 => (trained, state.step),
            _ => (tuning.in_full(trained, base), state.step),
        };
        Ok(Trained { model, model_step, state, ending })
    }
}

/// The model and its optimizer as they are after the step of `state`, before which the backend was seeded.
fn model_at<B: NeoBackend>(
    state: &RunState,
    base: GptNeo<Autodiff<B>>,
    checkpoints: &Checkpoints,
) -> Result<(FineTune<Autodiff<B>>, SharedAdamW<B>), TrainingError> {
    let model = match state.step {
        0 => state.tuning.prepare(base)?,
        step => state.tuning.load(base, &checkpoints.path(step))?,
    };
    let model = FineTune { model: model.with_precision(state.precision) };
    let optimizer = SharedAdamW::<B>::new(&state.config);
    // It has no state before its first step.
    if state.steps_taken() > 0 {
        optimizer.load(&model, &checkpoints.path(state.step).join("optimizer.safetensors"))?;
    }
    Ok((model, optimizer))
}

/// Half precision keeps the frozen base in a half type of its own.
fn refuse_half_of_int8<B: Backend>(model: &GptNeo<B>, precision: Precision) -> Result<(), TrainingError> {
    if precision == Precision::F32 || model.base_weights() != WeightFormat::Int8 {
        return Ok(());
    }
    Err(TrainingError::Settings(format!(
        "the base is kept in int8, and a training in {precision} keeps it in {precision}: load it in f32, or train in f32"
    )))
}

/// Texts that are longer than the model has positions, or hold tokens that it does not know.
fn refuse_misfits<B: Backend>(model: &GptNeo<B>, examples: &[Example]) -> Result<(), TrainingError> {
    let (positions, vocabulary) = (model.config().max_position_embeddings, model.config().vocab_size);
    for Example { ids, record, .. } in examples {
        let fault = match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => format!("holds the token {id}, but the model's vocabulary has {vocabulary}"),
            None if ids.len() > positions => {
                format!("has {} tokens, but the model has {positions} positions", ids.len())
            }
            None => continue,
        };
        return Err(TrainingError::Settings(format!("the text of record {} {fault}", record + 1)));
    }
    Ok(())
}

/// A mean over no token is no loss: texts to validate with of which none has a supervised one are refused.
fn refuse_nothing_to_validate(examples: &[Example]) -> Result<(), TrainingError> {
    if examples.is_empty() || examples.iter().any(|example| example.supervised_tokens() > 0) {
        return Ok(());
    }
    Err(TrainingError::NoTokens { measure: "the validation loss", examples: examples.len() })
}

/// The base's own dropout is not implemented: a run without it would not be what its `config.json` asks for.
pub(crate) fn refuse_base_dropout<B: Backend>(model: &GptNeo<B>) -> Result<(), TrainingError> {
    let rate = model.config().base_dropout;
    if rate > 0.0 {
        return Err(ModelError::Config(format!(
            "the base model's config.json asks for a dropout of {rate} of its own in training, which is not \
             implemented: set attention_dropout, embed_dropout and resid_dropout to 0 there"
        ))
        .into());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
