//! What a run will take, found out before it starts: one real step on its largest batch, timed.
//!
//! The step is taken on a copy with an optimiser of its own and thrown away. It draws random numbers, which a run does
//! not notice: it sets the seed before it makes its adapter and again in every step.

use std::time::Instant;

use burn::backend::Autodiff;
use burn::optim::Optimizer;
use burn::tensor::backend::Backend;
use burn::train::TrainStep;
use gptneo_model::{GptNeo, NeoBackend, device_failure};

use crate::checkpoint::Tuning;
use crate::optim::{SharedAdamW, clip_global_norm};
use crate::plan::{Plan, StepInput};
use crate::step::FineTune;
use crate::train::prepare;
use crate::{Precision, TrainingConfig, TrainingError};

/// A first step that took longer, in seconds, is not taken again: what it spent on warming up is small beside it.
const LONG: f64 = 2.0;

/// Takes a training step on the largest batch of `plan` and says how many seconds it took.
///
/// `model` is what [`crate::train::TrainingRun::model`] will be. Short steps are taken twice and the second counts, as
/// the first also fills caches. Accumulation is left out: it repeats the batch, in the same memory.
///
/// # Errors
///
/// LoRA settings that make no sense, a precision that the device lacks, or a device that fails.
pub fn time_largest_batch<B: NeoBackend>(
    model: &GptNeo<Autodiff<B>>,
    tuning: &Tuning,
    plan: &Plan,
    config: &TrainingConfig,
    precision: Precision,
    device: &B::Device,
) -> Result<f64, TrainingError> {
    precision.check::<B>(device)?;
    // The loss is not scaled: what the gradients are does not matter to the time.
    let input = StepInput { micro_batches: vec![plan.largest_batch()?], seed: config.seed, loss_scale: 1.0 };
    Autodiff::<B>::seed(device, config.seed);
    let mut model = FineTune { model: prepare(model.clone(), tuning, device)?.with_precision(precision) };
    let mut optimizer = SharedAdamW::<B>::new(config);
    let mut seconds = 0.0;
    for _ in 0..2 {
        let start = Instant::now();
        let mut output = TrainStep::step(&model, input.clone());
        clip_global_norm(&model, &mut output.grads, config.max_grad_norm);
        model = optimizer.step(config.learning_rate, model, output.grads);
        B::sync(device).map_err(|error| TrainingError::Settings(format!("the device failed: {error:?}")))?;
        device_failure::check()?;
        seconds = start.elapsed().as_secs_f64();
        if seconds > LONG {
            break;
        }
    }
    Ok(seconds)
}
