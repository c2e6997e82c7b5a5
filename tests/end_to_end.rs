//! The program as a user runs it: the real binary on real files, its output and its exit codes.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn fixture(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gptneo-lora"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that must succeed; returns its standard output.
fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must fail; returns its exit code and what it said.
fn bad(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert_eq!(text(&output.stdout), "", "{arguments:?}: nothing belongs on standard output");
    (output.status.code().unwrap(), text(&output.stderr))
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows without what the clock decides.
fn timeless(run: &Path) -> Vec<Value> {
    let mut rows = rows(run);
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        row.remove("seconds");
        row.remove("tokens_per_second");
    }
    rows
}

fn adapter_bytes(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("adapter/adapter_model.safetensors")).unwrap()
}

fn training(output: &str) -> Vec<String> {
    let (model, data) = (fixture("window"), fixture("records.json"));
    let arguments = [
        "train",
        "--model",
        &model,
        "--data",
        &data,
        "--output",
        output,
        "--batch-size",
        "4",
        "--max-seq-length",
        "64",
        "--learning-rate",
        "1e-3",
        "--lora-r",
        "4",
        "--epochs",
        "3",
        "--eval-steps",
        "7",
        "--checkpoint-steps",
        "5",
        "--seed",
        "3",
    ];
    arguments.iter().map(ToString::to_string).collect()
}

fn train(output: &Path) -> Vec<String> {
    training(&output.display().to_string())
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn the_contracts_training_command_equals_peft() {
    let folder = tempfile::tempdir().unwrap();
    for (backend, supervise) in [("flex", "text"), ("ndarray", "response")] {
        let output = folder.path().join(supervise);
        good(&[
            "train",
            "--model",
            &fixture("window"),
            "--adapter",
            &fixture("adapter_qv"),
            "--data",
            &fixture("records.json"),
            "--output",
            &output.display().to_string(),
            "--max-steps",
            "20",
            "--batch-size",
            "3",
            "--max-seq-length",
            "64",
            "--lora-dropout",
            "0",
            "--no-shuffle",
            "--validation-fraction",
            "0",
            "--supervise",
            supervise,
            "--precision",
            "f32",
            "--backend",
            backend,
            "--seed",
            "1",
            "--learning-rate",
            "1e-3",
        ]);
        let expected = json(fixture(&format!("curve_{supervise}.json")));
        let rows = rows(&output);
        assert_eq!(rows.len(), 20);
        for (row, expected) in rows.iter().zip(expected["steps"].as_array().unwrap()) {
            assert_eq!(row["split"], "train");
            assert_eq!(row["step"], expected["step"]);
            let number = |value: &Value| value.as_f64().unwrap();
            let difference = (number(&row["loss"]) - number(&expected["loss"])).abs();
            assert!(difference < 2e-4, "{backend} {supervise}: {row} {expected}");
            let ratio = number(&row["grad_norm"]) / number(&expected["grad_norm"]);
            assert!((ratio - 1.0).abs() < 0.01, "{backend} {supervise}: {row} {expected}");
            assert!((number(&row["learning_rate"]) - number(&expected["lr"])).abs() < 1e-12);
        }
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    good(&borrowed(&train(&whole)));
    let expected = (timeless(&whole), adapter_bytes(&whole));
    // Killed at whatever step these delays hit; the last comes after the end on a fast machine.
    for (attempt, delay) in [300, 900, 1500].into_iter().enumerate() {
        let killed = folder.path().join(format!("killed-{attempt}"));
        let mut child = program(&borrowed(&train(&killed))).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        if !killed.join("manifest.json").exists() || !killed.join("metrics.jsonl").exists() {
            continue; // killed before the run began
        }
        good(&["train", "--resume", "--output", &killed.display().to_string()]);
        assert_eq!((timeless(&killed), adapter_bytes(&killed)), expected, "killed after {delay} ms");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    good(&borrowed(&train(&whole)));
    let output = folder.path().join("run");
    let child = program(&borrowed(&train(&output))).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = output.join("metrics.jsonl");
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let result = child.wait_with_output().unwrap();
    let said = text(&result.stderr);
    assert_eq!(result.status.code(), Some(130), "{said}");
    assert!(said.contains("train --resume --output"), "{said}");
    assert!(!output.join("adapter").exists());
    good(&["train", "--resume", "--output", &output.display().to_string()]);
    assert_eq!((timeless(&output), adapter_bytes(&output)), (timeless(&whole), adapter_bytes(&whole)));
}

#[test]
fn train_merge_and_generate_agree() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    good(&borrowed(&train(&output)));
    for file in ["settings.toml", "manifest.json", "metrics.jsonl", "loss_chart.png", "checkpoints"] {
        assert!(output.join(file).exists(), "{file}");
    }
    let adapter = output.join("adapter").display().to_string();
    let merged = folder.path().join("merged").display().to_string();
    good(&["merge", "--model", &fixture("window"), "--adapter", &adapter, "--output", &merged]);
    let proof = json(Path::new(&merged).join("merge_proof.json"));
    assert!(proof["largest_difference"].as_f64() <= proof["tolerance"].as_f64(), "{proof}");
    let ask = |model: &[&str]| -> Value {
        let question =
            ["--question", "Why is the sky blue?", "--max-new-tokens", "12", "--ignore-eos", "--json"];
        serde_json::from_str(&good(&[&["generate"], model, &question].concat())).unwrap()
    };
    let adapted = ask(&["--model", &fixture("window"), "--adapter", &adapter]);
    assert_eq!(adapted["new_ids"].as_array().unwrap().len(), 12);
    assert_eq!(adapted["finish_reason"], "length");
    assert_eq!(adapted["new_ids"], ask(&["--model", &merged])["new_ids"]);

    let evaluate = |model: &[&str]| -> Value {
        let data = fixture("records.json");
        let rest = ["--data", &data, "--limit", "8", "--max-seq-length", "64", "--json"];
        serde_json::from_str(&good(&[&["evaluate"], model, &rest].concat())).unwrap()
    };
    let one = evaluate(&["--model", &fixture("window"), "--adapter", &adapter]);
    let two = evaluate(&["--model", &merged]);
    for protocol in ["notebook", "text", "response"] {
        let loss = |value: &Value| value["protocols"][protocol]["loss"].as_f64().unwrap();
        assert!((loss(&one) - loss(&two)).abs() < 1e-4, "{protocol}: {one} {two}");
    }
}

#[test]
fn a_model_from_nothing_learns_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let documents: String = (0..200)
        .map(|number| format!("Plant {number} stands in the garden. It wants water and light.\n\n"))
        .collect();
    std::fs::write(path("text.txt"), documents).unwrap();
    let mut config = json(Path::new(&fixture("window")).join("config.json"));
    config["vocab_size"] = 300.into();
    std::fs::write(path("config.json"), config.to_string()).unwrap();
    good(&[
        "init",
        "--config",
        &path("config.json"),
        "--train-tokenizer",
        &path("text.txt"),
        "--vocab-size",
        "300",
        "--seed",
        "1",
        "--output",
        &path("base"),
    ]);
    good(&[
        "train",
        "--model",
        &path("base"),
        "--data",
        &path("text.txt"),
        "--tuning",
        "full",
        "--output",
        &path("run"),
        "--max-steps",
        "30",
        "--batch-size",
        "4",
        "--max-seq-length",
        "32",
        "--learning-rate",
        "3e-3",
    ]);
    let rows = rows(Path::new(&path("run")));
    let losses: Vec<f64> =
        rows.iter().filter(|row| row["split"] == "train").map(|r| r["loss"].as_f64().unwrap()).collect();
    assert!(losses[29] < losses[0] - 1.0, "{losses:?}");
    good(&["generate", "--model", &path("run/merged"), "--prompt", "Plant", "--max-new-tokens", "4"]);
}

#[test]
fn bench_prints_its_contract() {
    let model = fixture("window");
    let arguments = ["--model", &model, "--batch-size", "2", "--json"];
    let train: Value = serde_json::from_str(&good(
        &[&["bench", "train"], &arguments[..], &["--length", "16", "--steps", "3"]].concat(),
    ))
    .unwrap();
    assert!(train["seconds_per_step"].as_f64().unwrap() > 0.0, "{train}");
    assert!(train["tokens_per_second"].as_f64().unwrap() > 0.0, "{train}");
    let losses: Vec<f64> = serde_json::from_value(train["losses"].clone()).unwrap();
    // The same texts each step: they are learned.
    assert!(losses.len() == 3 && losses[2] < losses[0], "{train}");
    let generate: Value = serde_json::from_str(&good(
        &[&["bench", "generate"], &arguments[..], &["--max-new-tokens", "8"]].concat(),
    ))
    .unwrap();
    assert!(generate["tokens_per_second"].as_f64().unwrap() > 0.0, "{generate}");
}

#[test]
fn prepare_counts_and_marks() {
    let data = fixture("records.json");
    let tokenizer = fixture("window");
    let common = ["prepare", "--data", &data, "--tokenizer", &tokenizer, "--max-seq-length", "64"];
    let shown = good(&common);
    assert!(shown.contains('⟦'), "{shown}");
    let report: Value = serde_json::from_str(&good(&[&common[..], &["--json"]].concat())).unwrap();
    let records = json(&data).as_array().unwrap().len();
    assert!(report.to_string().contains(&format!("\"records\":{records}")), "{report}");
}

#[test]
fn misuse_and_failure_have_one_message_and_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run").display().to_string();
    let (window, records) = (fixture("window"), fixture("records.json"));
    let empty = folder.path().join("empty.json");
    std::fs::write(
        &empty,
        r#"[{"instruction":"a","input":"b","output":"c"},{"instruction":"a","input":" ","output":"c"}]"#,
    )
    .unwrap();
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "[training]\nlearning_rat = 1.0\n").unwrap();
    let cases: [(i32, &[&str], &str); 8] = [
        (2, &["train", "--model", &window, "--output", &output], "data"),
        (
            2,
            &["train", "--model", &window, "--data", &records, "--output", &output, "--batch-size", "0"],
            "batch_size",
        ),
        (2, &["train", "--config", &settings.display().to_string(), "--output", &output], "learning_rat"),
        (
            2,
            &[
                "train",
                "--model",
                &window,
                "--data",
                &records,
                "--output",
                &output,
                "--target-modules",
                "query",
            ],
            "q_proj",
        ),
        (
            1,
            &["train", "--model", "no-such-folder", "--data", &records, "--output", &output],
            "no-such-folder",
        ),
        (1, &["train", "--model", &window, "--data", &empty.display().to_string(), "--output", &output], "2"),
        (
            1,
            &[
                "evaluate",
                "--model",
                &window,
                "--adapter",
                &fixture("adapter_wide"),
                "--data",
                &records,
                "--max-seq-length",
                "64",
            ],
            "h.3.attn.attention.v_proj.lora_B.weight: missing",
        ),
        (2, &["generate", "--model", &window, "--prompt", "a", "--max-new-tokens", "5000"], "128"),
    ];
    for (code, arguments, word) in cases {
        let (found, said) = bad(arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    assert!(!Path::new(&output).join("adapter").exists());
}
