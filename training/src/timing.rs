//! How long training steps take, by taking some: those of a benchmark, and the one that a run's time is estimated from.
//!
//! The steps are those of a run, taken by the same function, on a copy of the model with an optimizer of its own, and
//! what they learn is thrown away. They draw random numbers, which a run does not notice: it sets the seed before it
//! makes its adapter and again in every step.

use std::time::Instant;

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::train::Learner;
use gptneo_datasets::{Example, TokenBatch};
use gptneo_model::{GptNeo, ModelError, NeoBackend};

use crate::batch_order::{BatchOrder, collate};
use crate::fine_tune::FineTune;
use crate::learner::{Components, learner};
use crate::optim::SharedAdamW;
use crate::parallel::Replicas;
use crate::precision::LossScale;
use crate::run::refuse_base_dropout;
use crate::schedule::{LearningRate, Schedule};
use crate::step::{StepOutcome, Steps};
use crate::step_input::StepInput;
use crate::tuning::device;
use crate::{Precision, TrainingConfig, TrainingError, Tuning};

/// A first step that took longer, in seconds, is not taken again: what it spent on warming up is small beside it.
const LONG: f64 = 2.0;

/// What one step took and lost.
#[derive(Clone, Copy, Debug)]
pub struct TimedStep {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Nats per token.
    pub loss: f64,
}

/// Trains for `steps` steps on the same texts (token ids, all of one length), as [`TrainingConfig`] has it by default,
/// and times each, from the end of the one before. A step ends when its loss is known: what a GPU still has to do then falls
/// into the next, and the last is waited for to its end.
///
/// # Errors
///
/// A tuning that does not fit the model, texts of fewer than two tokens, a precision that the device lacks, or as in
/// training.
pub fn time_steps<B: NeoBackend>(
    model: GptNeo<Autodiff<B>>,
    tuning: &Tuning,
    precision: Precision,
    texts: Vec<Vec<u32>>,
    steps: usize,
) -> Result<Vec<TimedStep>, TrainingError> {
    let config = TrainingConfig::default();
    let of_text =
        |(record, ids)| Example { ids, response_from: 1, supervised_from: 1, record, ..Default::default() };
    let examples: Vec<Example> = texts.into_iter().enumerate().map(of_text).collect();
    let batch = collate(&examples, &(0..examples.len()).collect::<Vec<_>>())?;
    let mut steps_on = Stopwatch::new(model, tuning, precision, &config, config.learning_rate, batch)?;
    steps_on.time((0..steps).map(|index| index as u64))
}

/// Takes a training step on the largest batch of `order` and says how many seconds it took.
///
/// `model` is what the run will be given. Short steps are taken twice and the second counts, as the first also fills
/// caches. Accumulation is left out: it repeats the batch, in the same memory.
///
/// # Errors
///
/// A base or a tuning that cannot be trained, a precision that the device lacks, or as in training.
pub fn time_largest_batch<B: NeoBackend>(
    model: &GptNeo<Autodiff<B>>,
    tuning: &Tuning,
    order: &BatchOrder,
    precision: Precision,
) -> Result<f64, TrainingError> {
    // A run would refuse it too, and this comes before anything of one stands.
    refuse_base_dropout(model)?;
    let (config, batch) = (order.config(), order.largest_batch()?);
    // At a rate of zero no weight moves, so that the second step cannot diverge where the run would not.
    let mut steps = Stopwatch::new(model.clone(), tuning, precision, config, 0.0, batch)?;
    let mut one = || steps.time([config.seed]).map(|timed| timed.iter().map(|step| step.seconds).sum());
    let first: f64 = one()?;
    if first > LONG { Ok(first) } else { one() }
}

/// Steps on one batch, timed.
struct Stopwatch<B: NeoBackend> {
    learner: Learner<Components<B>>,
    steps: Steps<B>,
    batch: TokenBatch,
    taken: usize,
    device: B::Device,
}

impl<B: NeoBackend> Stopwatch<B> {
    fn new(
        model: GptNeo<Autodiff<B>>,
        tuning: &Tuning,
        precision: Precision,
        config: &TrainingConfig,
        learning_rate: f64,
        batch: TokenBatch,
    ) -> Result<Self, TrainingError> {
        let device = device(&model);
        precision.check::<B>(&device)?;
        Autodiff::<B>::seed(&device, config.seed);
        let model = FineTune { model: tuning.prepare(model)?.with_precision(precision) };
        let rate = LearningRate {
            base: learning_rate,
            schedule: Schedule::Constant,
            warmup_steps: 0,
            total_steps: 0,
        };
        let optimizer = SharedAdamW::new(config);
        Ok(Self {
            learner: learner(model, optimizer.clone(), rate, 0),
            steps: Steps::new(optimizer, Replicas::none(), LossScale::of(precision)),
            batch,
            taken: 0,
            device,
        })
    }

    /// Takes a step for each seed, the last until the device has done all of it.
    fn time(&mut self, seeds: impl IntoIterator<Item = u64>) -> Result<Vec<TimedStep>, TrainingError> {
        let mut timed = Vec::new();
        let Self { learner, steps, batch, taken, device } = self;
        let mut hear = |outcome: StepOutcome| {
            timed.push(TimedStep { seconds: outcome.seconds, loss: outcome.loss.mean() });
            Ok(())
        };
        for seed in seeds {
            *taken += 1;
            let micro_batches = vec![batch.clone()];
            let input = StepInput { number: *taken, micro_batches, seed, loss_scale: 1.0 };
            steps.take(learner, input, |_, outcome| hear(outcome))?;
        }
        steps.settle(learner, |_, outcome| hear(outcome))?;
        let start = Instant::now();
        B::sync(device).map_err(|error| TrainingError::Model(ModelError::Device(format!("{error:?}"))))?;
        gptneo_model::device_failure::check()?;
        if let Some(last) = timed.last_mut() {
            last.seconds += start.elapsed().as_secs_f64();
        }
        Ok(timed)
    }
}
