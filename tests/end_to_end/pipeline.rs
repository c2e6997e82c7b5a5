//! `run`, the whole way in one folder, and `compare`.

use std::path::Path;

use serde_json::Value;

use super::*;

/// A short run on the example model; `more` is added to its flags.
pub(crate) fn whole_way(output: &Path, more: &[&str]) -> Vec<String> {
    let (model, data, output) = (fixture("window"), fixture("records.json"), output.display().to_string());
    let arguments =
        ["run", "--model", &model, "--data", &data, "--output", &output, "--max-seq-length", "64"];
    let rest = ["--learning-rate", "3e-3", "--max-steps", "12", "--questions", "3", "--max-new-tokens", "8"];
    [&arguments[..], &rest[..], more].concat().into_iter().map(String::from).collect()
}

/// A CSV file's records, the header first.
pub(crate) fn table(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
    reader.records().map(|record| record.unwrap().iter().map(String::from).collect()).collect()
}

#[test]
fn a_run_leaves_everything_in_its_folder_and_shows_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let said = good(&borrowed(&whole_way(&run, &[])));
    for file in [
        "settings.toml",
        "manifest.json",
        "metrics.jsonl",
        "checkpoints",
        "adapter/adapter_config.json",
        "merged/merge_proof.json",
        "loss_chart.png",
        "perplexity_chart.png",
        "generation_comparison.csv",
        "answer_metrics.csv",
        "what_it_knows.csv",
        "held_out_scores.csv",
        "knowledge_chart.png",
        "held_out_losses.csv",
        "samples.jsonl",
        "report.html",
        "README.md",
    ] {
        assert!(run.join(file).exists(), "{file}");
    }
    let performance = table(&run.join("model_performance_comparison.csv"));
    assert_eq!(performance[0][..4], ["Model", "Loss", "Perplexity", "Protocol"]);
    let names: Vec<[&str; 2]> = performance[1..].iter().map(|row| [&*row[0], &*row[3]]).collect();
    let models = ["Base Model", "LoRA Model", "Merged Model"];
    let expected: Vec<[&str; 2]> =
        models.iter().flat_map(|model| ["notebook", "text", "response"].map(|p| [*model, p])).collect();
    assert_eq!(names, expected);
    let losses: Vec<f64> = performance[1..].iter().map(|row| row[1].parse().unwrap()).collect();
    for protocol in 0..3 {
        assert!(losses[3 + protocol] < losses[protocol] - 0.05, "{performance:?}");
        assert!((losses[6 + protocol] - losses[3 + protocol]).abs() < 1e-5, "{performance:?}");
    }

    let manifest = json(run.join("manifest.json"));
    let answers = table(&run.join("generation_comparison.csv"));
    assert_eq!(answers[0], ["Question", "Base Model", "LoRA Model"]);
    assert_eq!(answers.len(), 4);
    let held_out = manifest["counts"]["validation_examples"].as_u64().unwrap();
    let card = std::fs::read_to_string(run.join("README.md")).unwrap();
    assert!(card.contains(&format!("on {held_out} held-out examples")), "{card}");
    let shown = format!("{:.3}", losses[2].exp());
    assert!(card.contains(&shown) && said.contains(&shown), "{shown}: {said}");

    let adapter = run.join("adapter").display().to_string();
    let asked = answers[1][0].as_str();
    let arguments = ["--question", asked, "--max-new-tokens", "8", "--json"];
    let compare = ["compare", "--model", &fixture("window"), "--adapter", &adapter];
    let compared: Value = serde_json::from_str(&good(&[&compare[..], &arguments[..]].concat())).unwrap();
    assert_eq!(compared["comparisons"][0]["tuned"], answers[1][2].as_str());
    assert_eq!(compared["comparisons"][0]["base"], answers[1][1].as_str());
    // A question without data has no expected answer.
    assert!(
        compared["metrics"]["LoRA Model"]["token_f1"].is_null()
            && compared["metrics"]["LoRA Model"]["mean_tokens"].is_number()
    );
}

#[test]
fn compare_writes_its_table_once_and_takes_a_merged_model() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("answers.csv").display().to_string();
    let (window, data) = (fixture("window"), fixture("records.json"));
    let arguments = ["compare", "--model", &window, "--tuned", &fixture("half"), "--data", &data];
    let arguments =
        [&arguments[..], &["--limit", "2", "--max-new-tokens", "4", "--output", &output]].concat();
    let said = good(&arguments);
    let written = table(Path::new(&output));
    assert_eq!(written.len(), 3, "{written:?}");
    assert!(said.contains(&written[1][0]), "{said}");
    assert!(said.contains("token F1") && said.contains("Tuned Model"), "{said}");
    let (code, message) = bad(&arguments);
    assert!(code == 2 && message.contains("exists already"), "{message}");
    let nowhere = folder.path().join("none/answers.csv").display().to_string();
    let tuned = fixture("half");
    let arguments =
        ["compare", "--model", &window, "--tuned", &tuned, "--question", "Why?", "--output", &nowhere];
    let (code, message) = bad(&arguments);
    assert!(code == 2 && message.contains("there is no folder"), "{message}");
}

#[test]
fn a_run_needs_something_to_measure_on_and_can_tune_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let (code, message) = bad(&borrowed(&whole_way(&output, &["--validation-fraction", "0"])));
    assert!(code == 2 && message.contains("validation_fraction"), "{message}");
    assert!(!output.exists());
    good(&borrowed(&whole_way(&output, &["--tuning", "full", "--validation-limit", "3"])));
    assert!(output.join("merged/model.safetensors").exists() && !output.join("adapter").exists());
    let performance = table(&output.join("model_performance_comparison.csv"));
    assert_eq!(performance[4][0], "Tuned Model");
    assert_eq!(json(output.join("manifest.json"))["counts"]["validation_examples"], 3);
}

/// Model and data come with the program: another folder, no network, no argument that names a file.
#[test]
fn the_quick_run_needs_the_program_alone_and_repeats_itself() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let short = ["run", "--max-steps", "2", "--validation-limit", "3", "--questions", "1"];
        let output = program(&[&short[..], &["--max-new-tokens", "4"]].concat())
            .current_dir(folder.path())
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let run = folder.path().join("runs").join(name);
        for file in [
            "base/small-medical/model.safetensors",
            "base/small-medical/README.md",
            "data/medical_flashcards.json",
            "merged/config.json",
        ] {
            assert!(run.join(file).exists(), "{file}");
        }
        (timeless(&run), adapter_bytes(&run), table(&run.join("model_performance_comparison.csv")))
    };
    assert!(run("quick") == run("quick-2"), "the same seed gives the same figures");
    let refused = program(&["run", "--max-seq-length", "9999"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(!folder.path().join("runs/quick-3").exists(), "a refused run leaves nothing behind");
}
