//! Data as people have them: their form named, files of one's own to validate and to test with, and what is wrong told
//! with record, field and flag.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

/// A file of records, an object a line.
pub(crate) fn lines(folder: &Path, name: &str, records: &[Value]) -> String {
    let path = folder.join(name);
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

pub(crate) fn asked(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers
        .map(|n| json!({"question": format!("What is {n}?"), "answer": format!("The number {n}.")}))
        .collect()
}

fn prepared(arguments: &[&str]) -> Value {
    let window = fixture("window");
    let common = ["prepare", "--tokenizer", &window, "--max-seq-length", "64", "--json"];
    serde_json::from_str(&good(&[&common, arguments].concat())).unwrap()
}

#[test]
fn a_conversation_is_named_and_its_answers_alone_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let said = |from: &str, value: &str| json!({"from": from, "value": value});
    let chat = json!({"conversations":
        [said("human", "A cold?"), said("gpt", "Tea."), said("human", "And flu?"), said("gpt", "Rest.")]});
    let file = lines(folder.path(), "chats.jsonl", &[chat.clone(), chat.clone(), chat]);
    let shown = prepared(&["--data", &file, "--supervise", "response"]);
    assert_eq!((&shown["format"], &shown["records"]), (&json!("conversations"), &json!(3)));
    let marked = shown["example"]["marked"].as_str().unwrap();
    let expected = "Question: A cold?\nResponse:⟦ Tea.<|endoftext|>⟧\nQuestion: And flu?\nResponse:⟦ Rest.<|endoftext|>⟧";
    assert!(marked.ends_with(expected), "{marked}");
    let told = good(&["prepare", "--data", &file, "--tokenizer", &fixture("window")]);
    assert!(told.starts_with("format      conversations: "), "{told}");
}

#[test]
fn text_is_cut_at_its_markers_and_prepare_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let story = |n: usize| format!("A fox number {n}.\n\nIt ran.\n\nIt slept.");
    let stories: Vec<String> = (0..12).map(story).collect();
    let file = folder.path().join("stories.txt");
    std::fs::write(&file, stories.join("\n<|endoftext|>\n")).unwrap();
    let arguments = ["--data", &file.display().to_string(), "--validation-fraction", "0"];
    let shown = prepared(&arguments);
    assert_eq!((&shown["format"], &shown["document_end"]), (&json!("text"), &json!("marker")));
    let texts =
        shown["batches"].as_array().unwrap().iter().flat_map(|batch| batch["texts"].as_array().unwrap());
    let marks: usize =
        texts.map(|text| text["marked"].as_str().unwrap().matches("<|endoftext|>").count()).sum();
    assert!(marks > 0, "{shown}");
    let text = good(&["prepare", "--tokenizer", &fixture("window"), "--data", arguments[1]]);
    assert!(text.contains("ended by end-of-text markers"), "{text}");
}

#[test]
fn files_of_ones_own_guide_the_training_and_are_what_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let train = lines(folder.path(), "train.jsonl", &asked(0..24));
    let validation = lines(folder.path(), "own.jsonl", &asked(22..26));
    let test = lines(folder.path(), "last.jsonl", &asked(30..35));
    let output = folder.path().join("run");
    let (model, run) = (fixture("window"), output.display().to_string());
    let data = ["--data", &train, "--validation-data", &validation, "--test-data", &test];
    let rest = ["--max-seq-length", "64", "--max-steps", "2", "--questions", "9", "--max-new-tokens", "4"];
    let arguments = [&["run", "--model", &model, "--output", &run][..], &data, &rest].concat();
    let finished = super::run(&arguments);
    let said = text(&finished.stderr);
    assert!(finished.status.success(), "{said}");
    assert!(said.contains("2 of the validation data are in the training data too"), "{said}");
    let manifest = super::json(output.join("manifest.json"));
    let counts = &manifest["counts"];
    let found =
        ["train_examples", "validation_examples", "test_examples"].map(|name| counts[name].as_u64().unwrap());
    assert_eq!(found, [24, 4, 5]);
    let inputs: Vec<&String> = manifest["inputs"]["data"].as_object().unwrap().keys().collect();
    assert_eq!(inputs, ["test/last.jsonl", "train.jsonl", "validation/own.jsonl"]);
    // The table is of the test data, whose records stand behind all others.
    let table = std::fs::read_to_string(output.join("held_out_losses.csv")).unwrap();
    let records: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(records, ["29", "30", "31", "32", "33"]);
    let answers = std::fs::read_to_string(output.join("generation_comparison.csv")).unwrap();
    assert!(answers.contains("What is 34?") && !answers.contains("What is 24?"), "{answers}");
    let samples = std::fs::read_to_string(output.join("samples.jsonl")).unwrap();
    assert!(samples.contains("What is 2") && !samples.contains("What is 3"), "{samples}");
    let card = std::fs::read_to_string(output.join("README.md")).unwrap();
    assert!(card.contains("Results are those of 5 test examples"), "{card}");
    good(&["run", "--resume", "--output", &run]);

    let (code, message) = bad(&[&["prepare", "--tokenizer", &model, "--deny-leaks"][..], &data].concat());
    assert!(code == 1 && message.contains("leave --deny-leaks out"), "{message}");
    let both = [&["prepare", "--tokenizer", &model, "--validation-fraction", "0.2"][..], &data].concat();
    assert_eq!(bad(&both).0, 2);
}

#[test]
fn texts_to_measure_on_whose_answers_are_all_cut_away_are_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let train = lines(folder.path(), "train.jsonl", &asked(0..12));
    let long = |n: usize| json!({"question": format!("What is {n}? {}", "and ".repeat(99)), "answer": "It."});
    let long = lines(folder.path(), "long.jsonl", &[long(20), long(21)]);
    let output = folder.path().join("run");
    let (window, run) = (fixture("window"), output.display().to_string());
    let common = ["--model", &window, "--data", &train, "--max-seq-length", "64", "--output", &run];
    for (command, part, purpose) in
        [("train", "--validation-data", "validate with"), ("run", "--test-data", "measure on")]
    {
        let arguments = [&[command, part, &long, "--supervise", "response"][..], &common].concat();
        let refused = super::run(&arguments);
        let (code, message) = (refused.status.code(), text(&refused.stderr));
        let expected =
            format!("none of the 2 texts to {purpose} has a token of its answer within the first 64");
        assert!(code == Some(2) && message.contains(&expected), "{code:?} {message}");
        assert!(message.contains("--max-seq-length") && !output.exists(), "{message}");
    }
}

#[test]
fn what_cannot_be_used_is_told_with_record_field_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    let mut records = asked(0..9);
    records[4]["answer"] = json!(" ");
    records[7] = json!({"question": 7});
    let file = lines(folder.path(), "a.jsonl", &records);
    let window = fixture("window");
    let prepare = |more: &[&str]| -> Vec<String> {
        let arguments = [&["prepare", "--tokenizer", &window, "--data", &file][..], more].concat();
        arguments.into_iter().map(String::from).collect()
    };
    let (code, message) = bad(&borrowed(&prepare(&[])));
    assert!(code == 1 && message.contains("(question-answer): 2 of 9 records cannot be used"), "{message}");
    assert!(message.contains("record 5 (line 5): `answer` is empty"), "{message}");
    assert!(
        message.contains("record 8 (line 8): `question` is a number, expected a string; `answer` is missing")
    );
    assert!(message.contains("leave them out with --bad-records skip"), "{message}");
    let shown = prepared(&["--data", &file, "--bad-records", "skip"]);
    assert_eq!((&shown["records"], &shown["skipped"]), (&json!(7), &json!(2)));

    for (code, arguments, words) in [
        (1, &["--max-data-size", "1KB"][..], "raise --max-data-size"),
        (2, &["--max-data-size", "much"], "--max-data-size"),
        (2, &["--format", "chat"], "question-answer"),
        (1, &["--format", "alpaca"], "--format"),
        (2, &["--format", "alpaca", "--question-column", "question"], "leave --format out"),
    ] {
        let (found, message) = bad(&borrowed(&prepare(arguments)));
        assert!(found == code && message.contains(words), "{arguments:?}: {found} {message}");
    }
}
