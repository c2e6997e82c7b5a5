//! Training against PyTorch and PEFT, step by step, and what a run promises: exact resume, nothing lost.
//!
//! The curves are of `tests/fixtures`, made by `tests/reference/make_fixtures.py`. Losses are compared within
//! 2e-4 and gradient norms within 1 %: float32 rounding grows over the steps, a wrong label, decay or
//! normalisation moves the first of them by far more (seen: below 1e-5).

mod dora;

use std::path::{Path, PathBuf};

use burn::backend::Autodiff;
use burn::train::Interrupter;
use burn_flex::Flex;
use gptneo_datasets::{
    Columns, Example, Overlong, PromptTemplate, Supervise, Tokenizer, encode_examples, read_records,
};
use gptneo_model::adapter::{adapter_tensors, load_adapter, set_dropout};
use gptneo_model::checkpoint::load_model;
use gptneo_model::{GptNeo, LoraConfig, SamplingConfig};
use serde_json::Value;

use crate::checkpoint::Checkpoints;
use crate::metrics::{MetricsRow, read_metrics};
use crate::samples::{SampleQuestion, SampleQuestions, SampleRow, read_samples};
use crate::timing::time_largest_batch;
use crate::{
    BatchOrder, Ending, Event, Precision, Trained, TrainingConfig, TrainingError, TrainingRun, Tuning,
};

type Diff = Autodiff<Flex>;

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

pub(crate) fn examples(supervise: Supervise, max_length: usize) -> Vec<Example> {
    let template = PromptTemplate::default();
    let records = read_records(&fixture("records.json"), &Columns::default(), &template).unwrap();
    let tokenizer = Tokenizer::from_folder(&fixture("window")).unwrap();
    encode_examples(&records, &template, &tokenizer, max_length, supervise, Overlong::Cut).unwrap().examples
}

pub(crate) fn base() -> GptNeo<Diff> {
    load_model(&fixture("window"), &Default::default()).unwrap()
}

pub(crate) fn with_adapter() -> (GptNeo<Diff>, LoraConfig) {
    let (mut model, config) = load_adapter(base(), &fixture("adapter_qv"), &Default::default()).unwrap();
    set_dropout(&mut model, 0.0);
    (model, LoraConfig { dropout: 0.0, ..config })
}

pub(crate) fn recipe(batch_size: usize, steps: usize) -> TrainingConfig {
    TrainingConfig {
        learning_rate: 1e-3,
        max_steps: Some(steps),
        batch_size,
        shuffle: false,
        ..Default::default()
    }
}

pub(crate) struct Setup {
    pub(crate) model: GptNeo<Diff>,
    pub(crate) tuning: Tuning,
    pub(crate) training: Vec<Example>,
    pub(crate) validation: Vec<Example>,
    pub(crate) config: TrainingConfig,
    pub(crate) precision: Precision,
    /// How many devices share each step; the CPU plays them all.
    pub(crate) devices: usize,
}

impl Setup {
    pub(crate) fn run(
        self,
        folder: &Path,
        resume: bool,
        stop_after: Option<usize>,
    ) -> Result<Trained<Flex>, TrainingError> {
        self.run_asking(folder, resume, stop_after, None)
    }

    fn run_asking(
        self,
        folder: &Path,
        resume: bool,
        stop_after: Option<usize>,
        samples: Option<SampleQuestions>,
    ) -> Result<Trained<Flex>, TrainingError> {
        let interrupter = Interrupter::new();
        let run = TrainingRun::new(self.model, self.training)
            .tuning(self.tuning)
            .validation(self.validation)
            .config(self.config)
            .precision(self.precision)
            .folder(folder)
            .fingerprint("test")
            .interrupter(interrupter.clone())
            .samples(samples)
            .observer(move |event: Event<'_>| {
                if let Event::Row(row) = event
                    && Some(row.step()) == stop_after
                {
                    interrupter.stop(None);
                }
            })
            .further_devices(vec![Default::default(); self.devices - 1]);
        if resume { run.resume() } else { run }.train()
    }
}

/// Burn's generators are global: tests that draw from them take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn assert_curve(folder: &Path, name: &str) {
    let rows = read_metrics(folder.join("metrics.jsonl")).unwrap();
    let expected = json(name);
    let steps = expected["steps"].as_array().unwrap();
    assert_eq!(rows.len(), steps.len());
    for (row, expected) in rows.iter().zip(steps) {
        let MetricsRow::Train(row) = row else { panic!("a validation row without validation texts") };
        let number = |field: &str| expected[field].as_f64().unwrap();
        assert!(
            (row.loss - number("loss")).abs() < 2e-4,
            "{name} step {}: {} {expected}",
            row.step,
            row.loss
        );
        let norm = number("grad_norm");
        assert!(
            (row.grad_norm - norm).abs() < 0.01 * norm,
            "{name} step {}: {} {norm}",
            row.step,
            row.grad_norm
        );
        assert!((row.learning_rate - number("lr")).abs() < 1e-12, "{name} step {}", row.step);
        assert_eq!(row.tokens as f64, number("supervised_tokens"), "{name} step {}", row.step);
    }
}

fn follow(name: &str, supervise: Supervise, config: TrainingConfig, trained: Option<&str>) {
    follow_on(1, name, supervise, config, trained);
}

fn follow_on(
    devices: usize,
    name: &str,
    supervise: Supervise,
    config: TrainingConfig,
    trained: Option<&str>,
) {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let (model, lora) = with_adapter();
    let before = model.head_weight().into_data();
    let (tuning, training) = (Tuning::Lora(lora), examples(supervise, 64));
    let precision = Precision::F32;
    let setup = Setup { model, tuning, training, validation: vec![], config, precision, devices };
    let result = setup.run(folder.path(), false, None).unwrap();
    assert_eq!(result.ending, Ending::Finished);
    assert_curve(folder.path(), name);
    assert_eq!(result.model.head_weight().into_data(), before, "the base is frozen");
    let Some(trained) = trained else { return };
    let base = load_model::<Flex>(&fixture("window"), &Default::default()).unwrap();
    let (peft, _) = load_adapter(base, &fixture(trained), &Default::default()).unwrap();
    for ((name, ours), (_, theirs)) in adapter_tensors(&result.model).iter().zip(adapter_tensors(&peft)) {
        let difference = (ours.val() - theirs.val()).abs().max().into_scalar();
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn the_text_curve_and_adapter_equal_peft() {
    follow("curve_text.json", Supervise::Text, recipe(3, 20), Some("adapter_qv_text_trained"));
}

#[test]
fn the_response_curve_and_adapter_equal_peft() {
    follow("curve_response.json", Supervise::Response, recipe(3, 20), Some("adapter_qv_response_trained"));
}

#[test]
fn accumulated_batches_weigh_by_tokens() {
    let settings = &json("curve_accumulate.json")["steps"];
    let steps = settings.as_array().unwrap().len();
    let config = TrainingConfig { grad_accumulation_steps: 2, ..recipe(3, steps) };
    follow("curve_accumulate.json", Supervise::Text, config, None);
}

/// Batches of three records over two and over four devices: shares are unequal, and one device gets nothing.
#[test]
fn several_devices_follow_the_same_curves() {
    let adapter = Some("adapter_qv_response_trained");
    follow_on(2, "curve_response.json", Supervise::Response, recipe(3, 20), adapter);
    follow_on(4, "curve_text.json", Supervise::Text, recipe(3, 20), Some("adapter_qv_text_trained"));
    full_curve(2);
}

#[test]
fn full_tuning_equals_pytorch() {
    full_curve(1);
}

fn full_curve(devices: usize) {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        model: base(),
        tuning: Tuning::Full,
        training: examples(Supervise::Text, 64),
        validation: vec![],
        config: recipe(3, 10),
        precision: Precision::F32,
        devices,
    };
    setup.run(folder.path(), false, None).unwrap();
    assert_curve(folder.path(), "curve_full.json");
}

pub(crate) fn dropout_setup() -> Setup {
    let (_, mut lora) = with_adapter();
    lora.dropout = 0.1;
    let all = examples(Supervise::Text, 64);
    let (training, validation) = all.split_at(40);
    let config = TrainingConfig {
        shuffle: true,
        eval_steps: Some(4),
        checkpoint_steps: Some(3),
        max_steps: None,
        epochs: 1,
        grad_accumulation_steps: 2,
        ..recipe(2, 0)
    };
    Setup {
        model: base(),
        tuning: Tuning::Lora(lora),
        training: training.to_vec(),
        validation: validation.to_vec(),
        config,
        precision: Precision::F32,
        devices: 1,
    }
}

/// Everything in the metrics but the time, and the adapter, to the bit.
fn result_of(folder: &Path, trained: &Trained<Flex>) -> (Vec<MetricsRow>, Vec<burn::tensor::TensorData>) {
    let mut rows = read_metrics(folder.join("metrics.jsonl")).unwrap();
    for row in &mut rows {
        if let MetricsRow::Train(row) = row {
            (row.seconds, row.tokens_per_second) = (None, None);
        }
    }
    let tensors = adapter_tensors(&trained.model).into_iter().map(|(_, param)| param.val().into_data());
    (rows, tensors.collect())
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_to_the_bit() {
    let _turn = turn();
    let whole = tempfile::tempdir().unwrap();
    let expected = dropout_setup().run(whole.path(), false, None).unwrap();
    assert_eq!(expected.state.step, 10);
    let expected = result_of(whole.path(), &expected);
    // At a step of its own, at an evaluation, at a checkpoint.
    for stop in [1, 4, 6] {
        let folder = tempfile::tempdir().unwrap();
        let stopped = dropout_setup().run(folder.path(), false, Some(stop)).unwrap();
        assert_eq!((stopped.ending, stopped.state.step), (Ending::Interrupted, stop));
        let resumed = dropout_setup().run(folder.path(), true, None).unwrap();
        assert_eq!(resumed.ending, Ending::Finished);
        assert_eq!(result_of(folder.path(), &resumed), expected, "stopped after step {stop}");
    }
    // Killed between checkpoints: rows after the last one are taken back and written again.
    let folder = tempfile::tempdir().unwrap();
    dropout_setup().run(folder.path(), false, Some(5)).unwrap();
    std::fs::remove_dir_all(Checkpoints::new(folder.path().join("checkpoints")).path(5)).unwrap();
    let resumed = dropout_setup().run(folder.path(), true, None).unwrap();
    assert_eq!(result_of(folder.path(), &resumed), expected, "killed after step 5");
}

fn questions() -> SampleQuestions {
    let tokenizer = Tokenizer::from_folder(&fixture("window")).unwrap();
    let question = |text: &str| {
        let prompt = format!("Question: {text}\nResponse:");
        SampleQuestion { text: text.into(), prompt: tokenizer.encode(&prompt).unwrap() }
    };
    let questions = vec![question("When do I sow peas?"), question("How hot is a simmer?")];
    SampleQuestions { questions, max_new_tokens: 6, sampling: SamplingConfig::default(), tokenizer }
}

#[test]
fn a_measured_step_and_samples_change_no_bit_and_a_resumed_run_has_each_sample_once() {
    let _turn = turn();
    let plain = tempfile::tempdir().unwrap();
    let expected = dropout_setup().run(plain.path(), false, None).unwrap();
    let expected = result_of(plain.path(), &expected);
    assert!(!plain.path().join("samples.jsonl").exists());

    let whole = tempfile::tempdir().unwrap();
    let setup = dropout_setup();
    let order = BatchOrder::new(setup.training.clone(), &setup.config).unwrap();
    let seconds = time_largest_batch::<Flex>(&setup.model, &setup.tuning, &order, Precision::F32).unwrap();
    assert!(seconds > 0.0);
    let trained = setup.run_asking(whole.path(), false, None, Some(questions())).unwrap();
    assert_eq!(result_of(whole.path(), &trained), expected, "with a measured step before and samples");
    let samples = |folder: &Path| read_samples(folder.join("samples.jsonl")).unwrap();
    let all: Vec<SampleRow> = samples(whole.path());
    let asked: Vec<(usize, &str)> = all.iter().map(|row| (row.step, &*row.question)).collect();
    let [first, second] = ["When do I sow peas?", "How hot is a simmer?"];
    assert_eq!(asked, [4, 8, 10].map(|step| [(step, first), (step, second)]).concat());

    for stop in [4, 5, 8] {
        let folder = tempfile::tempdir().unwrap();
        dropout_setup().run_asking(folder.path(), false, Some(stop), Some(questions())).unwrap();
        let resumed = dropout_setup().run_asking(folder.path(), true, None, Some(questions())).unwrap();
        assert_eq!(result_of(folder.path(), &resumed), expected, "stopped after step {stop}");
        assert_eq!(samples(folder.path()), all, "stopped after step {stop}");
    }
    // Killed after the evaluation of step 8 was written and before the checkpoint that knows of it.
    let folder = tempfile::tempdir().unwrap();
    dropout_setup().run_asking(folder.path(), false, Some(9), Some(questions())).unwrap();
    for step in [8, 9] {
        let _ = std::fs::remove_dir_all(Checkpoints::new(folder.path().join("checkpoints")).path(step));
    }
    let resumed = dropout_setup().run_asking(folder.path(), true, None, Some(questions())).unwrap();
    assert_eq!(result_of(folder.path(), &resumed), expected, "killed after step 8");
    assert_eq!(samples(folder.path()), all, "killed after step 8");
}

#[test]
fn only_the_newest_and_the_best_checkpoint_are_kept() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let trained = dropout_setup().run(folder.path(), false, None).unwrap();
    let best = trained.state.best.unwrap().step;
    let mut expected = vec![best, 10];
    expected.dedup();
    assert_eq!(Checkpoints::new(folder.path().join("checkpoints")).steps(), expected);
    assert_eq!(trained.model_step, best);
}

#[test]
fn a_run_goes_on_only_with_the_same_settings() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    dropout_setup().run(folder.path(), false, Some(3)).unwrap();
    let mut other = dropout_setup();
    other.config.learning_rate = 5e-4;
    let message = other.run(folder.path(), true, None).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("learning_rate was 0.001 and is now 0.0005"), "{message}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_the_records() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let mut setup = dropout_setup();
    setup.config = TrainingConfig { learning_rate: 1e30, max_grad_norm: 0.0, ..recipe(2, 10) };
    let error = setup.run(folder.path(), false, None).map(|_| ()).unwrap_err();
    let TrainingError::NonFinite { step, records, .. } = &error else { panic!("{error}") };
    assert_eq!(records[..], [2 * step - 1, 2 * step], "{error}");
}
