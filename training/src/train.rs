//! A training run from a model and texts to the trained model: new or resumed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::train::{Interrupter, Learner, SupervisedTraining};
use gptneo_datasets::Example;
use gptneo_model::{GptNeo, NeoBackend, adapter, checkpoint as weights};

use crate::checkpoint::{Checkpoints, RunState, Tuning};
use crate::metrics::{MetricsLog, MetricsRow};
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::plan::{Loader, Plan};
use crate::precision::LossScale;
use crate::renderer::{NoLog, NoRenderer};
use crate::samples::{SamplePlan, Samples};
use crate::schedule::Scheduler;
use crate::step::FineTune;
use crate::strategy::{Ending, Observer, Shared, StepStrategy, custom};
use crate::{Precision, TrainingConfig, TrainingError};

/// What a run works on.
pub struct TrainingRun<'a, B: NeoBackend> {
    /// The base model; or, for LoRA, a model that already carries the adapter to go on with.
    pub model: GptNeo<Autodiff<B>>,
    /// What is trained.
    pub tuning: Tuning,
    /// The texts to learn.
    pub training: Vec<Example>,
    /// The texts to measure on; may be empty.
    pub validation: &'a [Example],
    /// Fills the batches up; its value never matters.
    pub padding_id: u32,
    /// The settings.
    pub config: TrainingConfig,
    /// The numbers of the matrix products; the model comes in f32 and goes out in f32.
    pub precision: Precision,
    /// The run's folder: `metrics.jsonl` and `checkpoints/` appear in it.
    pub folder: &'a Path,
    /// Stands for the base model and the texts; a run goes on only where it is the same.
    pub fingerprint: String,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Ends the run after the current step.
    pub interrupter: Interrupter,
    /// What is asked after every evaluation; `samples.jsonl` then appears in the folder.
    pub samples: Option<SamplePlan>,
    /// Hears of the progress.
    pub observer: Box<dyn Observer>,
    /// Where the model is.
    pub device: B::Device,
    /// Other devices, each of which computes a share of every step.
    pub further_devices: Vec<B::Device>,
}

/// What came of a run.
pub struct Trained<B: NeoBackend> {
    /// The model with the weights of the best evaluation, or the last ones where nothing was evaluated; in f32, over
    /// the very base that came in, whatever the precision of the training.
    pub model: GptNeo<B>,
    /// The step those weights are of.
    pub model_step: usize,
    /// Where the run stands.
    pub state: RunState,
    /// How it ended.
    pub ending: Ending,
}

/// Trains until the planned steps are done, the validation loss stops falling, or the interrupter is pulled.
///
/// # Errors
///
/// Settings that make no sense, a precision that the device lacks, texts without supervised tokens, a checkpoint of
/// other settings or data, a loss that is not finite, a file that cannot be written. What was already written stands.
pub fn train<B: NeoBackend>(run: TrainingRun<'_, B>) -> Result<Trained<B>, TrainingError> {
    run.config.validate()?;
    run.precision.check::<B>(&run.device)?;
    if run.model.config().base_dropout > 0.0 {
        return Err(TrainingError::Settings(format!(
            "the base model's config.json asks for a dropout of {} of its own in training, which is not \
             implemented: set attention_dropout, embed_dropout and resid_dropout to 0 there",
            run.model.config().base_dropout
        )));
    }
    let plan = Arc::new(Plan::new(run.training, &run.config, run.padding_id)?);
    let checkpoints = Checkpoints::new(run.folder.join("checkpoints"));
    let fresh = RunState {
        step: 0,
        skipped_steps: 0,
        total_steps: plan.total_steps(),
        tokens: 0,
        evaluated_step: None,
        best: None,
        evaluations_without_gain: 0,
        config: run.config.clone(),
        precision: run.precision,
        loss_scale: LossScale::of(run.precision),
        tuning: run.tuning.clone(),
        fingerprint: run.fingerprint,
    };
    let state = match run.resume {
        true => resume_state(&checkpoints, fresh)?,
        false => fresh,
    };
    let metrics_file = run.folder.join("metrics.jsonl");
    let metrics = match run.resume {
        true => MetricsLog::resume(&metrics_file, |row| {
            state.keeps(row.step(), matches!(row, MetricsRow::Validation(_)))
        })?,
        false => MetricsLog::create(&metrics_file)?,
    };
    let samples_file = run.folder.join("samples.jsonl");
    let samples = run
        .samples
        .map(|plan| Samples::open(plan, &samples_file, |row| run.resume && state.keeps(row.step, true)))
        .transpose()?;

    Autodiff::<B>::seed(&run.device, run.config.seed);
    let base = run.model.clone();
    let model = match state.step {
        0 => prepare(run.model, &run.tuning, &run.device)?,
        step => load_step(run.model, &run.tuning, &checkpoints.path(step), &run.device)?,
    };
    let model = FineTune { model: model.with_precision(run.precision) };
    let optimizer = SharedAdamW::<B>::new(&run.config);
    // It has no state before its first step.
    if state.steps_taken() > 0 {
        optimizer.load(&model, &checkpoints.path(state.step).join("optimizer.safetensors"))?;
    }
    let scheduler = Scheduler::new(run.config.rate(plan.total_steps()), state.steps_taken());
    let training = Loader::training(plan.clone(), state.step);
    let validation = Loader::validation(run.validation, run.config.batch_size, run.padding_id)?;
    let strategy = Arc::new(StepStrategy {
        optimizer: optimizer.clone(),
        checkpoints: checkpoints.clone(),
        steps_per_epoch: plan.steps_per_epoch(),
        replicas: Mutex::new(Replicas::new(&model, &run.further_devices)),
        shared: Mutex::new(Shared { state, metrics, samples, observer: run.observer, outcome: None }),
    });
    let result = SupervisedTraining::new(run.folder, Arc::new(training), Arc::new(validation))
        .with_training_strategy(custom(strategy.clone()))
        .with_interrupter(run.interrupter)
        .with_application_logger(None)
        .with_metric_logger(NoLog)
        .renderer(NoRenderer)
        .num_epochs(plan.total_steps().div_ceil(plan.steps_per_epoch()))
        .launch(Learner::new(model, optimizer, scheduler));

    let mut shared = strategy.shared.lock().unwrap_or_else(PoisonError::into_inner);
    let ending = match shared.outcome.take() {
        Some(outcome) => outcome?,
        None => return Err(TrainingError::Settings("the training loop did not run".into())),
    };
    let state = shared.state.clone();
    let base = burn::module::AutodiffModule::valid(&base);
    let (model, model_step) = match state.best {
        Some(best) if best.step != state.step => {
            (load_step(base, &run.tuning, &checkpoints.path(best.step), &run.device)?, best.step)
        }
        _ if run.precision == Precision::F32 => (result.model.model, state.step),
        _ => (in_full(result.model.model, base, &run.tuning), state.step),
    };
    Ok(Trained { model, model_step, state, ending })
}

/// The newest checkpoint's state, if it is of the same run.
fn resume_state(checkpoints: &Checkpoints, fresh: RunState) -> Result<RunState, TrainingError> {
    let Some(found) = checkpoints.newest()? else { return Ok(fresh) };
    let comparable = RunState {
        step: 0,
        skipped_steps: 0,
        tokens: 0,
        evaluated_step: None,
        best: None,
        evaluations_without_gain: 0,
        loss_scale: fresh.loss_scale,
        ..found.clone()
    };
    if comparable == fresh {
        return Ok(found);
    }
    let path = checkpoints.path(found.step);
    let (expected, found) = (serde_json::to_value(&comparable), serde_json::to_value(&fresh));
    let differences = match (expected, found) {
        (Ok(before), Ok(now)) => differences("", &before, &now).join("; "),
        _ => "its settings cannot be compared".into(),
    };
    Err(TrainingError::Checkpoint {
        path,
        reason: format!(
            "the run was started with other settings or data ({differences}); \
             resume it with the same ones, or choose another output folder"
        ),
    })
}

fn differences(path: &str, before: &serde_json::Value, now: &serde_json::Value) -> Vec<String> {
    match (before, now) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = serde_json::Value::Null;
            keys.into_iter()
                .flat_map(|key| differences(key, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null)))
                .collect()
        }
        _ if before == now => Vec::new(),
        _ => vec![format!("{path} was {before} and is now {now}")],
    }
}

/// A model ready for its first step.
pub(crate) fn prepare<B: Backend>(
    model: GptNeo<B>,
    tuning: &Tuning,
    device: &B::Device,
) -> Result<GptNeo<B>, TrainingError> {
    let carries_adapter = model.linears().any(|(_, _, linear)| linear.lora.is_some());
    Ok(match tuning {
        Tuning::Lora(_) if carries_adapter => model,
        Tuning::Lora(config) => adapter::attach(model, config, device)?,
        Tuning::Full => model,
    })
}

/// The trained model without the rounding that its training was done with.
fn in_full<B: Backend>(trained: GptNeo<B>, base: GptNeo<B>, tuning: &Tuning) -> GptNeo<B> {
    match tuning {
        Tuning::Lora(_) => adapter::hand_over(trained, base),
        Tuning::Full => trained.with_precision(Precision::F32),
    }
}

/// The model of a checkpoint, over the base it was trained from.
fn load_step<B: Backend>(
    base: GptNeo<B>,
    tuning: &Tuning,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>, TrainingError> {
    Ok(match tuning {
        Tuning::Lora(_) => adapter::load_adapter(base, folder, device)?.0,
        Tuning::Full => weights::load_weights(base, folder)?,
    })
}
