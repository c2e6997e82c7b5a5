//! Training: equal to PEFT, and unharmed by what cuts it off.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::*;

/// A share that is no record would leave out what a run is watched by without a word.
#[test]
fn a_share_that_puts_nothing_aside_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let warned = |name: &str, more: &[&str]| {
        let mut arguments = train(&folder.path().join(name));
        arguments.truncate(7);
        arguments.extend(["--max-seq-length", "64", "--max-steps", "1"].map(String::from));
        let ran = run(&[&borrowed(&arguments)[..], more].concat());
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        text(&ran.stderr).contains("puts none of the 60 records aside")
    };
    assert!(warned("few", &["--validation-fraction", "0.001"]));
    assert!(!warned("none", &["--validation-fraction", "0"]) && !warned("usual", &[]));
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

/// A short training on the example model; `more` is added to its flags.
fn short(output: &Path, more: &[&str]) -> Vec<String> {
    let (model, data, output) = (fixture("window"), fixture("records.json"), output.display().to_string());
    let arguments =
        ["train", "--model", &model, "--data", &data, "--output", &output, "--max-seq-length", "64"];
    [&arguments[..], &["--max-steps", "3", "--lora-r", "4"], more]
        .concat()
        .into_iter()
        .map(String::from)
        .collect()
}

#[test]
fn half_precision_is_used_where_the_processor_has_it_and_is_f32_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let exact = folder.path().join("f32");
    good(&borrowed(&short(&exact, &[])));
    let devices: Value = serde_json::from_str(&good(&["devices", "--json"])).unwrap();
    for precision in ["f16", "bf16"] {
        let has_it = devices["backends"][0]["devices"][0][precision] == true;
        let output = folder.path().join(precision);
        let result = run(&borrowed(&short(&output, &["--precision", precision, "--quiet"])));
        let said = text(&result.stderr);
        assert!(result.status.success(), "{said}");
        let settings = std::fs::read_to_string(output.join("settings.toml")).unwrap();
        let used = if has_it { precision } else { "f32" };
        assert!(settings.contains(&format!("precision = \"{used}\"")), "{settings}");
        if has_it {
            assert_eq!(said, "");
            for (row, exact) in rows(&output).iter().zip(rows(&exact)) {
                let [loss, expected] = [row, &exact].map(|row| row["loss"].as_f64().unwrap());
                assert!(loss != expected && (loss - expected).abs() < 2e-2, "{row} {exact}");
            }
        } else {
            assert!(said.lines().count() == 1 && said.contains(precision), "{said}");
            assert!(said.contains("f32 is used"), "{said}");
            assert_eq!(
                (timeless(&output), adapter_bytes(&output)),
                (timeless(&exact), adapter_bytes(&exact))
            );
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

#[test]
#[cfg(unix)]
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

/// While the base is measured nothing waits for an interrupt; it ends the run, and says the same.
#[test]
#[cfg(unix)]
fn an_interrupt_outside_the_training_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (output, held) = (folder.path().join("run"), folder.path().join("held.json"));
    let records = json(fixture("records.json"));
    let many: Vec<_> = std::iter::repeat_n(records.as_array().unwrap(), 60).flatten().collect();
    std::fs::write(&held, serde_json::to_string(&many).unwrap()).unwrap();
    let shown = output.display().to_string();
    let held = held.display().to_string();
    let (model, data) = (fixture("window"), fixture("records.json"));
    let arguments =
        ["run", "--model", &model, "--data", &data, "--validation-data", &held, "--output", &shown];
    let mut child = program(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    while !output.join("settings.toml").is_file() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it began");
        std::thread::sleep(Duration::from_millis(2));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let result = child.wait_with_output().unwrap();
    let said = text(&result.stderr);
    assert_eq!(result.status.code(), Some(130), "{said}");
    assert!(
        said.contains(&format!("interrupted; go on with: gptneo-lora run --resume --output {shown}")),
        "{said}"
    );
    assert!(!output.join("metrics.jsonl").exists(), "the training had begun");
}

#[test]
fn gradient_checkpointing_takes_less_memory_and_learns_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let train = |name: &str, more: &[&str]| {
        let output = folder.path().join(name);
        good(&borrowed(&short(&output, &[&["--lora-dropout", "0.3"], more].concat())));
        output
    };
    let (kept, again) = (train("kept", &[]), train("again", &["--gradient-checkpointing"]));
    assert_eq!((timeless(&again), adapter_bytes(&again)), (timeless(&kept), adapter_bytes(&kept)));
    let settings = std::fs::read_to_string(again.join("settings.toml")).unwrap();
    assert!(settings.contains("gradient_checkpointing = true"), "{settings}");
    // A run may go on either way.
    good(&["train", "--resume", "--gradient-checkpointing", "--output", &kept.display().to_string()]);

    let config = folder.path().join("config.json");
    let shape = serde_json::json!({
        "hidden_size": 64, "num_layers": 8, "num_heads": 2, "vocab_size": 64, "max_position_embeddings": 256,
        "attention_types": [[["global", "local"], 4]], "window_size": 64,
    });
    std::fs::write(&config, shape.to_string()).unwrap();
    let config = config.display().to_string();
    let peak = |more: &[&str]| {
        let shape = ["--batch-size", "24", "--length", "256", "--steps", "2", "--json"];
        let bench: Value = serde_json::from_str(&good(
            &[&["bench", "train", "--config", &config], &shape[..], more].concat(),
        ))
        .unwrap();
        assert!(bench["losses"][1].as_f64() < bench["losses"][0].as_f64(), "{bench}");
        bench["peak_memory_bytes"].as_f64()
    };
    let (kept, again) = (peak(&[]), peak(&["--gradient-checkpointing"]));
    // 6,144 positions of 64 numbers are 1.6 MB: eight blocks keep eight of these instead of well over a hundred.
    if let (Some(kept), Some(again)) = (kept, again) {
        assert!(kept - again > 60e6, "{kept} {again}");
    }
}
