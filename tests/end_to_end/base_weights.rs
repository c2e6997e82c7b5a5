//! A frozen base that is kept in bf16 or int8 while an adapter is trained over it.

use std::path::Path;

use serde_json::Value;

use super::*;

/// A training of 50 steps on the example model with `more` flags.
fn train(output: &Path, more: &[&str]) -> Vec<f64> {
    let (model, data, output) = (fixture("window"), fixture("records.json"), output.display().to_string());
    let flags = ["train", "--model", &model, "--data", &data, "--output", &output, "--max-seq-length", "64"];
    let rest =
        ["--max-steps", "50", "--batch-size", "3", "--learning-rate", "1e-3", "--validation-fraction", "0"];
    good(&[&flags[..], &rest, more].concat());
    rows(Path::new(&output)).iter().map(|row| row["loss"].as_f64().unwrap()).collect()
}

/// Losses of 6 to 7 nats. Sums over the 32 numbers of a row here average roundings out less than the hundreds of a published
/// model do.
#[test]
fn fifty_steps_over_a_rounded_base_follow_those_over_the_exact_one() {
    let folder = tempfile::tempdir().unwrap();
    let exact = train(&folder.path().join("f32"), &[]);
    assert!(exact[49] < exact[0] - 0.1, "nothing was learned: {exact:?}");
    assert!(!folder.path().join("f32/adapter/base_weights.json").exists());
    for (format, tolerance) in [("bf16", 5e-3), ("int8", 1e-2)] {
        let output = folder.path().join(format);
        let losses = train(&output, &["--base-weights", format]);
        let distances = losses.iter().zip(&exact).map(|(loss, exact)| (loss - exact).abs());
        let largest = distances.fold(0.0, f64::max);
        assert!(largest > 1e-7 && largest < tolerance, "{format}: {largest}");
        assert_eq!(json(output.join("adapter/base_weights.json"))["base_weights"], format);
        assert_eq!(json(output.join("manifest.json"))["base_weights"], format);
        // The same with every block computed again.
        let again = folder.path().join(format!("{format}-again"));
        assert_eq!(train(&again, &["--base-weights", format, "--gradient-checkpointing"]), losses);
        assert_eq!(adapter_bytes(&again), adapter_bytes(&output));
        // A run goes on over the base that it began with.
        let (code, message) =
            bad(&["train", "--resume", "--base-weights", "f32", "--output", &output.display().to_string()]);
        assert!(code == 2 && message.contains("base"), "{message}");
    }
}

#[test]
fn a_merge_goes_into_the_base_as_it_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (fixture("window"), fixture("records.json"));
    let output = folder.path().join("run");
    let path = |name: &str| output.join(name).display().to_string();
    let folder_of_run = output.display().to_string();
    let run =
        ["run", "--model", &model, "--data", &data, "--output", &folder_of_run, "--max-seq-length", "64"];
    let rest = ["--max-steps", "4", "--learning-rate", "1e-2", "--questions", "1", "--max-new-tokens", "2"];
    let more = ["--scored-questions", "1", "--discriminate", "0", "--base-weights", "int8"];
    let said = good(&[&run[..], &rest, &more].concat());
    let proof = json(output.join("merged/merge_proof.json"));
    assert!(proof["holds"] == true && proof["base_weights"] == "int8", "{proof} {said}");
    let [merged, trained] =
        ["largest_difference", "trained_difference"].map(|key| proof[key].as_f64().unwrap());
    assert!(merged < trained && trained < 1.0, "{proof}");
    // By hand, from the files.
    let by_hand = folder.path().join("by-hand").display().to_string();
    good(&["merge", "--model", &model, "--adapter", &path("adapter"), "--output", &by_hand]);
    let weights = |folder: &str| std::fs::read(Path::new(folder).join("model.safetensors")).unwrap();
    assert!(weights(&by_hand) == weights(&path("merged")), "another base was merged into");
    let proof = json(Path::new(&by_hand).join("merge_proof.json"));
    assert_eq!(proof["base_weights"], "int8", "{proof}");
    assert!((proof["trained_difference"].as_f64().unwrap() - trained).abs() < 1e-4 * trained, "{proof}");
}

#[test]
fn what_a_small_base_does_not_go_with_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (fixture("window"), fixture("records.json"));
    let output = folder.path().join("run");
    let path = output.display().to_string();
    let train = ["train", "--model", &model, "--data", &data, "--output", &path, "--base-weights"];
    for (flags, word) in [
        (&["int8", "--backend", "ndarray"][..], "the backend flex"),
        (&["int8", "--tuning", "full"], "--base-weights"),
        (&["bf16", "--precision", "f16"], "--precision"),
        (&["int4"], "int8"),
        (&["f16"], "int8"),
    ] {
        let (code, message) = bad(&[&train[..], flags].concat());
        assert!(code == 2 && message.contains(word), "{flags:?}: {message}");
        assert!(!output.exists(), "{flags:?}");
    }
    let config = format!("{model}/config.json");
    let bench =
        ["bench", "train", "--config", &config, "--length", "16", "--batch-size", "1", "--steps", "1"];
    let (code, message) = bad(&[&bench[..], &["--base-weights", "int8", "--backend", "ndarray"]].concat());
    assert!(code == 2 && message.contains("--base-weights"), "{message}");
    for format in ["bf16", "int8"] {
        good(&[&bench[..], &["--base-weights", format]].concat());
    }
    let shown = good(&[
        "prepare",
        "--model",
        &model,
        "--data",
        &data,
        "--max-seq-length",
        "64",
        "--memory",
        "--json",
        "--base-weights",
        "int8",
        "--gradient-checkpointing",
    ]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["preflight"]["largest_batch_seconds"].as_f64().unwrap() > 0.0, "{shown}");
}
