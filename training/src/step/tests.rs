//! Steps that are launched before it is known what came of those before are the same steps.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn_flex::Flex;
use gptneo_model::adapter::adapter_tensors;

use super::*;
use crate::batch_order::BatchOrder;
use crate::fine_tune::FineTune;
use crate::learner::learner;
use crate::reference_tests::{Setup, dropout_setup, turn};
use crate::{Precision, TrainingConfig};

/// A run's steps at their loss scale: what was told of each as text (no number is not equal to itself), and how many steps
/// had been launched by then; the adapter's values and the optimizer's file.
struct Run {
    told: Vec<String>,
    launched: Vec<usize>,
    adapter: Vec<Vec<f32>>,
    optimizer: Vec<u8>,
}

const STEPS: usize = 14;

fn run(precision: Precision, scaling: Option<LossScale>, ahead: bool) -> Run {
    let Setup { model, tuning, training, config, .. } = dropout_setup();
    let config = TrainingConfig { grad_accumulation_steps: 2, max_steps: Some(STEPS), epochs: 2, ..config };
    let order = Arc::new(BatchOrder::new(training, &config).unwrap());
    <Autodiff<Flex> as burn::tensor::backend::Backend>::seed(&Default::default(), config.seed);
    let model = FineTune { model: tuning.prepare(model).unwrap().with_precision(precision) };
    let optimizer = SharedAdamW::<Flex>::new(&config);
    let mut learner = learner(model, optimizer.clone(), config.rate(STEPS), 0);
    let mut steps = Steps { ahead, ..Steps::new(optimizer, Replicas::none(), scaling) };
    let (mut told, mut launched) = (Vec::new(), Vec::new());
    let mut hear = |number: usize, outcome: StepOutcome| {
        let StepOutcome { step, loss, grad_norm, loss_scale, skipped, .. } = outcome;
        told.push(format!("{step}: {:e} {grad_norm:e} {loss_scale:?} {skipped}", loss.mean()));
        launched.push(number);
        Ok(())
    };
    for input in order.steps_after(0) {
        let input = input.unwrap();
        let number = input.number;
        steps.take(&mut learner, input, |_, outcome| hear(number, outcome)).unwrap();
    }
    steps.settle(&learner, |_, outcome| hear(STEPS, outcome)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    steps.optimizer().save(&learner.model(), file.path()).unwrap();
    let tensors = adapter_tensors(&learner.model().model);
    let adapter = tensors.into_iter().map(|(_, param)| param.val().into_data().to_vec().unwrap());
    Run { told, launched, adapter: adapter.collect(), optimizer: std::fs::read(file.path()).unwrap() }
}

#[test]
fn steps_that_are_heard_of_late_are_those_that_are_waited_for() {
    let _turn = turn();
    // A scale that overflows at once, for several steps, and then grows again and again.
    let scaling = LossScale { scale: 2f64.powi(20), good_steps: 0, growth_interval: 3 };
    for (precision, scaling) in [(Precision::F32, None), (Precision::F16, Some(scaling))] {
        let [waited, late] = [false, true].map(|ahead| run(precision, scaling, ahead));
        assert_eq!(late.told, waited.told, "{precision}");
        assert!(late.adapter == waited.adapter, "{precision}: other weights");
        assert!(late.optimizer == waited.optimizer, "{precision}: another state of the optimizer");
        let numbers: Vec<usize> = (1..=STEPS).collect();
        assert_eq!(waited.launched, numbers);
        let one_later: Vec<usize> = numbers.iter().map(|number| (number + 1).min(STEPS)).collect();
        assert_eq!(late.launched, one_later);
        let skipped = waited.told.iter().filter(|told| told.ends_with("true")).count();
        assert_eq!(skipped > 1 && skipped < STEPS - 6, scaling.is_some(), "{:?}", waited.told);
    }
}
