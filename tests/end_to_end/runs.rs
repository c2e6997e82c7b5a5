//! `compare RUN RUN`: two runs told apart on the same rows, and refused on others.

use std::path::Path;

use serde_json::Value;

use super::report::hostile_run;
use super::*;

/// Copies the files that a comparison reads.
fn copied(run: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in ["settings.toml", "manifest.json", "held_out_losses.csv"] {
        std::fs::copy(run.join(file), to.join(file)).unwrap();
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn two_runs_are_compared_row_by_row() {
    let first = hostile_run();
    let folder = tempfile::tempdir().unwrap();
    let second = folder.path().join("second");
    // The first run's settings, but for one step: nearly the base itself. Quiet: only the closing is said.
    let settings = first.join("settings.toml").display().to_string();
    let output = second.display().to_string();
    let arguments = ["run", "--quiet", "--config", &settings, "--output", &output, "--max-steps", "1"];
    let done = run(&[&arguments[..], &["--repetition-penalty", "1.5", "--discriminate", "1"]].concat());
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()));
    assert!(text(&done.stdout).starts_with("\nQuestion"), "{}", text(&done.stdout));

    let first = first.display().to_string();
    let compared: Value = serde_json::from_str(&good(&["compare", &first, &output, "--json"])).unwrap();
    let loss = |at: usize| compared["runs"][at]["loss"].as_f64().unwrap();
    assert!(loss(0) < loss(1), "{compared}");
    let difference = compared["difference"].as_f64().unwrap();
    assert!((difference - (loss(1) - loss(0))).abs() < 1e-9, "{compared}");
    assert_eq!(compared["verdict"], "larger_than_twice", "{compared}");
    let said = good(&["compare", &first, &output]);
    assert!(said.contains(&format!("two standard errors: {first} is better")), "{said}");
    // Answers that were chosen otherwise say nothing of the models; how they were chosen is said where they are shown.
    assert!(
        said.contains("not compared: they were chosen otherwise (repetition penalty 1 and 1.5)"),
        "{said}"
    );
    assert!(compared["differences"][0].get("answers").is_none(), "{compared}");
    // Nor do questions with fewer answers to tell apart.
    assert!(
        said.contains("not compared: they are other tasks (wrong answers beside each: 3 and 1)"),
        "{said}"
    );
    assert!(compared["differences"][0].get("discrimination").is_none(), "{compared}");
    for file in ["README.md", "report.html"] {
        let shown = std::fs::read_to_string(second.join(file)).unwrap();
        assert!(shown.contains("with a repetition penalty of 1.5 on those that the answer has"), "{file}");
    }
    assert!(text(&done.stdout).contains("with a repetition penalty of 1.5"), "{}", text(&done.stdout));
    let said = good(&["compare", &first, &first]);
    assert!(said.contains("not larger than its standard error"), "{said}");
}

#[test]
fn runs_on_other_rows_are_refused() {
    let run = hostile_run();
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, file: &str, from: &str, to: &str, word: &str| {
        let other = folder.path().join(name);
        copied(run, &other);
        edit(&other.join(file), from, to);
        let (code, message) = bad(&["compare", &run.display().to_string(), &other.display().to_string()]);
        assert!(code == 2 && message.contains(word), "{name}: {message}");
    };
    refused("data", "manifest.json", "\"records.json\": \"", "\"records.json\": \"0", "hashes");
    refused("length", "settings.toml", "max_seq_length = 128", "max_seq_length = 127", "data.max_seq_length");
    let losses = std::fs::read_to_string(run.join("held_out_losses.csv")).unwrap();
    let record = losses.lines().nth(1).unwrap().split(',').next().unwrap();
    let (from, to) = (format!("\n{record},"), format!("\n{record}0,"));
    refused("split", "held_out_losses.csv", &from, &to, "held out other records");
    let unfinished = folder.path().join("unfinished");
    copied(run, &unfinished);
    std::fs::remove_file(unfinished.join("held_out_losses.csv")).unwrap();
    let unfinished = unfinished.display().to_string();
    let (code, message) = bad(&["compare", &unfinished, &unfinished]);
    assert!(code == 2 && message.contains("held_out_losses.csv"), "{message}");
    let (code, message) = bad(&["compare", &unfinished]);
    assert!(code == 2 && message.contains("RUN"), "{message}");
}
