//! Training in half precision on the fixtures: near to f32, unharmed by overflows, exact in what it goes on from.

use std::path::Path;

use burn::backend::Autodiff;
use burn::optim::Optimizer;
use burn::tensor::{DType, Tensor, TensorData};
use burn::train::TrainStep;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use gptneo_datasets::{Padding, Supervise, TokenBatch};
use gptneo_model::adapter::adapter_tensors;
use serde_json::Value;

use super::*;
use crate::checkpoint::{Checkpoints, RunState};
use crate::fine_tune::FineTune;
use crate::gradient_norm::gradient_sums;
use crate::metrics::{MetricsRow, TrainRow, read_metrics};
use crate::optim::SharedAdamW;
use crate::reference_tests::{Setup, base, dropout_setup, examples, json, recipe, turn, with_adapter};
use crate::step_input::StepInput;
use crate::{Ending, Precision, Trained, TrainingConfig, TrainingError, Tuning};

fn train_rows(folder: &Path) -> Vec<TrainRow> {
    let rows = read_metrics(folder.join("metrics.jsonl")).unwrap().into_iter();
    rows.filter_map(|row| if let MetricsRow::Train(row) = row { Some(row) } else { None }).collect()
}

/// The rows of a run of `steps` without dropout.
fn follow(precision: Precision, tuning: Option<Tuning>, steps: usize) -> (Vec<TrainRow>, Trained<Flex>) {
    let folder = tempfile::tempdir().unwrap();
    let (model, tuning) = match tuning {
        Some(tuning) => (base(), tuning),
        None => {
            let (model, lora) = with_adapter();
            (model, Tuning::Lora(lora))
        }
    };
    let training = examples(Supervise::Text, 64);
    let config = recipe(3, steps);
    let setup = Setup { model, tuning, training, validation: vec![], config, precision, devices: 1 };
    let trained = setup.run(folder.path(), false, None).unwrap();
    (train_rows(folder.path()), trained)
}

fn largest_distance(one: &[TrainRow], other: &[TrainRow]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one.loss - other.loss).abs()).fold(0.0, f64::max)
}

/// Losses are 6 to 7 nats. A rounding of bf16 is eight times one of f16, and so is what 50 steps make of it.
#[test]
fn half_precision_learns_as_f32_does() {
    let _turn = turn();
    let (exact, _) = follow(Precision::F32, None, 50);
    assert!(exact.iter().all(|row| row.loss_scale.is_none() && !row.skipped));
    assert!(exact[49].loss < exact[0].loss - 0.1, "nothing was learned");
    for (precision, tolerance) in [(Precision::F16, 1e-2), (Precision::Bf16, 4e-2)] {
        let (rows, trained) = follow(precision, None, 50);
        let distance = largest_distance(&rows, &exact);
        assert!(distance > 1e-6 && distance < tolerance, "{precision:?}: {distance}");
        for (row, exact) in rows.iter().zip(&exact) {
            let ratio = row.grad_norm / exact.grad_norm;
            assert!((ratio - 1.0).abs() < 2.0 * tolerance, "{precision:?}, step {}: {ratio}", row.step);
        }
        let scaled = rows.iter().filter(|row| row.loss_scale.is_some()).count();
        assert_eq!(scaled, if precision == Precision::F16 { 50 } else { 0 });
        let before: Vec<TensorData> = base().linears().map(|(_, _, l)| l.weight.val().into_data()).collect();
        let after = trained.model.linears().map(|(_, _, l)| l.weight.val().into_data());
        assert!(after.zip(before).all(|(after, before)| after == before), "the base comes back unrounded");
        for (name, param) in adapter_tensors(&trained.model) {
            assert_eq!(param.val().dtype(), DType::F32, "{name}");
        }
    }
}

#[test]
fn full_tuning_keeps_its_weights_in_f32() {
    let _turn = turn();
    let expected = json("curve_full.json");
    let (rows, trained) = follow(Precision::F16, Some(Tuning::Full), 10);
    for (row, expected) in rows.iter().zip(expected["steps"].as_array().unwrap()) {
        let distance = (row.loss - expected["loss"].as_f64().unwrap()).abs();
        assert!(distance < 1e-2, "step {}: {distance}", row.step);
    }
    assert!(trained.model.lm_head.is_none());
    let weight = trained.model.transformer.h[0].mlp.c_fc.weight.val();
    assert_eq!(weight.dtype(), DType::F32);
    let rounded = weight.clone().cast(DType::F16).cast(DType::F32);
    assert_ne!(rounded.into_data(), weight.into_data(), "the master weights were rounded");
}

/// One step of an f16 model by hand.
#[test]
fn a_step_leaves_the_frozen_halves_alone() {
    let _turn = turn();
    let (model, _) = with_adapter();
    let mut model = FineTune { model: model.with_precision(Precision::F16) };
    let frozen = |model: &FineTune<Autodiff<Flex>>| -> Vec<TensorData> {
        let model = &model.model;
        let weights = model.linears().map(|(_, _, linear)| linear.weight.val());
        weights
            .chain([model.head_weight(), model.transformer.wte.weight.val()])
            .map(Tensor::into_data)
            .collect()
    };
    let adapter = |model: &FineTune<Autodiff<Flex>>| -> Vec<TensorData> {
        adapter_tensors(&model.model).into_iter().map(|(_, param)| param.val().into_data()).collect()
    };
    let (before, adapter_before) = (frozen(&model), adapter(&model));
    assert_eq!(before[0].dtype, DType::F16);
    let examples = examples(Supervise::Text, 64);
    let batch = TokenBatch::collate(&[&examples[0], &examples[1]], 399, Padding::Longest).unwrap();
    let scale = LossScale::default();
    let input = StepInput { number: 1, micro_batches: vec![batch], seed: 0, loss_scale: scale.scale };
    let output = TrainStep::step(&model, input);
    let sums = gradient_sums::<Flex, _>(&model, &output.grads, Some(scale.scale));
    assert_eq!(sums.clone().into_data().iter::<f64>().last(), Some(0.0), "not finite");
    let mut optimizer = SharedAdamW::<Flex>::new(&TrainingConfig::default());
    optimizer.prepare(sums, Some(scale.scale));
    model = optimizer.step(1e-3, model, output.grads);
    assert_eq!(frozen(&model), before);
    assert!(adapter(&model).iter().zip(&adapter_before).all(|(after, before)| after != before));
}

/// What a bad step and many good ones make of the scale; the numbers are those of `torch._amp_update_scale_`.
#[test]
fn the_scale_moves_as_pytorchs() {
    let mut scaling = LossScale { good_steps: 1998, ..LossScale::default() };
    let mut after = |finite| {
        scaling.update(finite);
        (scaling.scale, scaling.good_steps)
    };
    assert_eq!(after(true), (65536.0, 1999));
    assert_eq!(after(true), (131072.0, 0));
    assert_eq!(after(true), (131072.0, 1));
    assert_eq!(after(false), (65536.0, 0));
    let mut largest = LossScale { scale: 2f64.powi(127), good_steps: 2, growth_interval: 3 };
    largest.update(true);
    assert_eq!((largest.scale, largest.good_steps), (2f64.powi(127), 0));
    let mut smallest = LossScale { scale: 1.0, ..LossScale::default() };
    assert!(!smallest.is_exhausted());
    smallest.update(false);
    assert!(smallest.is_exhausted());
}

fn half_setup() -> Setup {
    let setup = dropout_setup();
    let config = TrainingConfig { epochs: 2, ..setup.config };
    Setup { config, precision: Precision::F16, ..setup }
}

fn state_file(folder: &Path, step: usize) -> std::path::PathBuf {
    Checkpoints::new(folder.join("checkpoints")).path(step).join("state.json")
}

fn state(folder: &Path, step: usize) -> Value {
    serde_json::from_slice(&std::fs::read(state_file(folder, step)).unwrap()).unwrap()
}

/// A run that stopped after its first step, with a scale that overflows and grows soon.
fn begin_too_high(folder: &Path) {
    half_setup().run(folder, false, Some(1)).unwrap();
    let mut changed = state(folder, 1);
    changed["loss_scale"] =
        serde_json::json!({"scale": 2f64.powi(28), "good_steps": 0, "growth_interval": 3});
    write_state(folder, 1, &changed);
}

/// Changes a checkpoint's state, which its hashes would not let pass.
fn write_state(folder: &Path, step: usize, state: &serde_json::Value) {
    let path = state_file(folder, step);
    std::fs::write(&path, state.to_string()).unwrap();
    std::fs::remove_file(path.with_file_name("SHA256SUMS")).unwrap();
}

/// The rows without the time, as text (NaN is not equal to itself), and the adapter.
fn result_of(folder: &Path, trained: &Trained<Flex>) -> (Vec<String>, Vec<TensorData>) {
    let mut rows = read_metrics(folder.join("metrics.jsonl")).unwrap();
    for row in &mut rows {
        if let MetricsRow::Train(row) = row {
            (row.seconds, row.tokens_per_second) = (None, None);
        }
    }
    let rows = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    let tensors = adapter_tensors(&trained.model).into_iter().map(|(_, param)| param.val().into_data());
    (rows, tensors.collect())
}

#[test]
fn an_overflow_is_skipped_and_recovered_from_also_across_a_resume() {
    let _turn = turn();
    let whole = tempfile::tempdir().unwrap();
    begin_too_high(whole.path());
    let trained = half_setup().run(whole.path(), true, None).unwrap();
    let rows = train_rows(whole.path());
    assert_eq!(rows.len(), 20);
    let skipped = rows.iter().filter(|row| row.skipped).count();
    assert_eq!(trained.state.skipped_steps, skipped);
    assert!(rows[1].skipped && skipped < 15, "{rows:?}");
    let grown = rows.windows(2).filter(|pair| pair[0].loss_scale < pair[1].loss_scale);
    assert!(grown.count() > 1, "the scale never grew");
    let rate = half_setup().config.rate(20);
    let mut taken = 0;
    for (index, row) in rows.iter().enumerate() {
        assert!(row.loss.is_finite());
        assert_eq!(row.grad_norm.is_nan(), row.skipped);
        assert_eq!(row.learning_rate, rate.at(taken), "step {}", row.step);
        taken += usize::from(!row.skipped);
        if let Some(next) = rows.get(index + 1).filter(|_| index > 0) {
            let [scale, next] = [row, next].map(|row| row.loss_scale.unwrap());
            assert!(if row.skipped { next == scale / 2.0 } else { next >= scale }, "step {}", row.step);
        }
    }
    let expected = result_of(whole.path(), &trained);

    // At the first skipped step, and far behind the last.
    for stop in [2, 13] {
        let folder = tempfile::tempdir().unwrap();
        begin_too_high(folder.path());
        let files = |step| {
            let folder = Checkpoints::new(folder.path().join("checkpoints")).path(step);
            ["adapter_model.safetensors", "optimizer.safetensors"]
                .map(|file| std::fs::read(folder.join(file)).unwrap())
        };
        let before = files(1);
        let stopped = half_setup().run(folder.path(), true, Some(stop)).unwrap();
        assert_eq!((stopped.ending, stopped.state.step), (Ending::Interrupted, stop));
        if stop == 2 {
            assert_eq!(files(2), before, "a skipped step changed something");
        }
        let resumed = half_setup().run(folder.path(), true, None).unwrap();
        assert_eq!(result_of(folder.path(), &resumed), expected, "stopped after step {stop}");
        assert_eq!(resumed.state, trained.state);
    }
}

#[test]
fn a_run_whose_first_step_was_skipped_goes_on() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    half_setup().run(folder.path(), false, Some(1)).unwrap();
    // As if the first step had been skipped: no optimizer state, and the scale halved.
    let mut changed = state(folder.path(), 1);
    changed["skipped_steps"] = 1.into();
    write_state(folder.path(), 1, &changed);
    std::fs::remove_file(state_file(folder.path(), 1).with_file_name("optimizer.safetensors")).unwrap();
    half_setup().run(folder.path(), true, Some(2)).unwrap();
    let rows = train_rows(folder.path());
    assert_eq!(rows[1].learning_rate, half_setup().config.learning_rate);
}

#[test]
fn a_scale_that_never_recovers_ends_the_run() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let mut setup = half_setup();
    // The first step throws the weights out of f16's range: every forward pass after it overflows.
    setup.config = TrainingConfig { learning_rate: 1e30, max_grad_norm: 0.0, ..recipe(2, 40) };
    let error = setup.run(folder.path(), false, None).map(|_| ()).unwrap_err();
    let TrainingError::LossScaleExhausted { step, records } = &error else { panic!("{error}") };
    // From 2^16 to 2^-1.
    assert_eq!((*step, records.len()), (18, 2), "{error}");
    assert!(error.to_string().contains("bf16 or f32"), "{error}");
}

#[test]
fn a_run_goes_on_only_in_its_precision_and_older_states_are_of_f32() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    half_setup().run(folder.path(), false, Some(1)).unwrap();
    let other = Setup { precision: Precision::Bf16, ..half_setup() };
    let message = other.run(folder.path(), true, None).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("precision was \"f16\" and is now \"bf16\""), "{message}");
    let mut older = state(folder.path(), 1);
    for key in ["precision", "loss_scale", "skipped_steps"] {
        assert!(older.as_object_mut().unwrap().remove(key).is_some(), "{key}");
    }
    let read: RunState = serde_json::from_value(older).unwrap();
    assert_eq!((read.precision, read.loss_scale, read.skipped_steps), (Precision::F32, None, 0));
}

#[test]
fn a_precision_that_the_backend_lacks_is_refused_by_name() {
    let device = Default::default();
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        precision.check::<Flex>(&device).unwrap();
    }
    let device = Default::default();
    Precision::F32.check::<NdArray>(&device).unwrap();
    let message = Precision::Bf16.check::<NdArray>(&device).unwrap_err().to_string();
    assert!(message.contains("bf16") && message.contains("ndarray"), "{message}");
}
