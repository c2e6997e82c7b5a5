//! The time of training steps, on random tokens: what `train` does in a step and nothing else.

use std::time::Instant;

use burn::backend::Autodiff;
use burn::optim::Optimizer;
use burn::tensor::backend::Backend;
use burn::train::TrainStep;
use gptneo_datasets::{Example, Padding, TokenBatch};
use gptneo_model::{GptNeo, LoraConfig, NeoBackend, adapter, device_failure};

use crate::optim::{SharedAdamW, clip_global_norm};
use crate::plan::StepInput;
use crate::precision::LossScale;
use crate::step::FineTune;
use crate::{Precision, TrainingConfig, TrainingError};

/// What one step took and lost.
#[derive(Clone, Copy, Debug)]
pub struct TimedStep {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Nats per token.
    pub loss: f64,
}

/// Trains an adapter for `steps` steps on the same texts (token ids, all of one length) and times each.
///
/// # Errors
///
/// LoRA settings that make no sense, texts of fewer than two tokens, or a precision that the device lacks.
pub fn time_steps<B: NeoBackend>(
    model: GptNeo<Autodiff<B>>,
    lora: &LoraConfig,
    precision: Precision,
    texts: Vec<Vec<u32>>,
    steps: usize,
    device: &B::Device,
) -> Result<Vec<TimedStep>, TrainingError> {
    precision.check::<B>(device)?;
    let config = TrainingConfig::default();
    Autodiff::<B>::seed(device, config.seed);
    let mut model = FineTune { model: adapter::attach(model, lora, device)?.with_precision(precision) };
    let mut scale = LossScale::of(precision);
    let mut optimizer = SharedAdamW::<B>::new(&config);
    let examples: Vec<Example> = texts
        .into_iter()
        .enumerate()
        .map(|(record, ids)| Example { ids, response_from: 1, supervised_from: 1, record })
        .collect();
    let batch = TokenBatch::collate(&examples.iter().collect::<Vec<_>>(), 0, Padding::Longest)?;
    let mut timed = Vec::with_capacity(steps);
    for step in 0..steps {
        let start = Instant::now();
        let loss_scale = scale.map_or(1.0, |scale| scale.scale);
        let input = StepInput { micro_batches: vec![batch.clone()], seed: step as u64, loss_scale };
        let mut output = TrainStep::step(&model, input);
        if scale.as_mut().is_none_or(|scale| scale.unscale(&model, &mut output.grads)) {
            clip_global_norm(&model, &mut output.grads, config.max_grad_norm);
            model = optimizer.step(config.learning_rate, model, output.grads);
        }
        B::sync(device).map_err(|error| TrainingError::Settings(format!("the device failed: {error:?}")))?;
        device_failure::check()?;
        timed.push(TimedStep { seconds: start.elapsed().as_secs_f64(), loss: output.item.mean() });
    }
    Ok(timed)
}
