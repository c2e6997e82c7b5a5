//! `evaluate` as an exam: its contract, its mistakes, and two models on the same rows.

use serde_json::{Value, json};

use super::*;

fn evaluated(arguments: &[&str]) -> Value {
    serde_json::from_str(&good(&[&["evaluate"], arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn an_exam_alone_needs_no_data_and_keeps_its_contract() {
    let (window, choices) = (fixture("window"), fixture("exams/choices.jsonl"));
    let found = evaluated(&["--model", &window, "--choices", &choices, "--limit", "9", "--per-item"]);
    let exam = &found["choices"];
    for key in ["accuracy", "accuracy_normalised", "standard_error", "chance", "majority", "choices_only"] {
        assert!(exam[key].is_number(), "{key}: {found}");
    }
    assert_eq!((exam["count"].as_u64(), found["protocols"].is_null()), (Some(9), true));
    let items = found["items"].as_array().unwrap();
    let expected = &json(fixture("exams/loglikelihoods.json"))["models"][0]["loglikelihoods"];
    assert_eq!(items.len(), 9);
    let right = items.iter().enumerate().filter(|(at, item)| {
        let values: Vec<f64> = serde_json::from_value(item["loglikelihoods"].clone()).unwrap();
        let expected: Vec<f64> = serde_json::from_value(expected[*at].clone()).unwrap();
        assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{item} {expected:?}");
        let best = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        values.iter().position(|value| *value == best).unwrap() as u64 == item["label"].as_u64().unwrap()
    });
    assert!((exam["accuracy"].as_f64().unwrap() - right.count() as f64 / 9.0).abs() < 1e-12);
    let said = good(&["evaluate", "--model", &window, "--choices", &choices, "--limit", "9"]);
    assert!(said.contains("multiple choice: ") && said.contains("without the question"), "{said}");
}

#[test]
fn two_models_are_examined_on_the_same_rows() {
    let (window, data, adapter) = (fixture("window"), fixture("records.json"), fixture("adapter_qv"));
    let choices = fixture("exams/choices.jsonl");
    let rows = ["--data", &data, "--limit", "20", "--max-seq-length", "64", "--choices", &choices];
    let parts = ["--discriminate", "3", "--questions", "4", "--max-new-tokens", "5"];
    let model = ["--model", &window, "--adapter", &adapter, "--against", &window];
    let found = evaluated(&[&model[..], &rows, &parts].concat());
    assert_eq!(
        (found["discrimination"]["count"].as_u64(), &found["discrimination"]["chance"]),
        (Some(19), &json!(0.25))
    );
    for protocol in ["text", "response"] {
        assert!(found["protocols"][protocol]["bits_per_byte"].as_f64().unwrap() > 0.5, "{found}");
    }
    // Padding stands for no text.
    assert!(found["protocols"]["notebook"]["bits_per_byte"].is_null(), "{found}");
    // The same loss in other units: bits over all of a text's scored tokens, for each byte of them.
    let alone = evaluated(&[&["--model", &window][..], &rows].concat());
    let text = &alone["protocols"]["text"];
    let bits = text["loss"].as_f64().unwrap() * text["tokens"].as_f64().unwrap() / 2f64.ln();
    let bytes = bits / text["bits_per_byte"].as_f64().unwrap();
    assert!((bytes - bytes.round()).abs() < 1e-6 && bytes > 20.0 * 60.0, "{bytes}");

    let against = &found["against"];
    assert_eq!(against["protocols"]["response"]["loss"], alone["protocols"]["response"]["loss"]);
    let paired = &against["paired"];
    let difference = paired["response"]["difference"].as_f64().unwrap();
    let loss = |value: &Value| value["protocols"]["response"]["loss"].as_f64().unwrap();
    assert!((difference - (loss(&found) - loss(&alone))).abs() < 1e-9, "{found}");
    for test in ["choices", "discrimination"] {
        let (gained, lost) =
            (paired[test]["gained"].as_f64().unwrap(), paired[test]["lost"].as_f64().unwrap());
        let count = found[test]["count"].as_f64().unwrap();
        let change = found[test]["accuracy"].as_f64().unwrap() - against[test]["accuracy"].as_f64().unwrap();
        assert!((change - (gained - lost) / count).abs() < 1e-9, "{test}: {found}");
        assert!((0.0..=1.0).contains(&paired[test]["p_value"].as_f64().unwrap()));
    }
    for (score, key) in [("token_f1", "token_f1"), ("rouge_l", "rouge_l"), ("chrf", "chrf")] {
        let change = found["answers"][key].as_f64().unwrap() - against["answers"][key].as_f64().unwrap();
        assert!((paired["answers"][score]["difference"].as_f64().unwrap() - change).abs() < 1e-9, "{found}");
    }
    // The adapter's folder stands for the adapter over the same base: the same the other way round.
    let back = evaluated(&[&["--model", &window, "--against", &adapter][..], &rows].concat());
    let other = back["against"]["paired"]["response"]["difference"].as_f64().unwrap();
    assert!((other + difference).abs() < 1e-12, "{other} {difference}");
}

#[test]
fn mistakes_are_told_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.jsonl");
    std::fs::write(&wrong, "{\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":7}\n").unwrap();
    let (window, records, wrong) = (fixture("window"), fixture("records.json"), wrong.display().to_string());
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "Some words.\n\nOthers.\n").unwrap();
    let text = text.display().to_string();
    let choices = fixture("exams/choices.jsonl");
    let cases: [(i32, &[&str], &str); 7] = [
        (1, &["--choices", &wrong], "record 1 (line 1): `answer` is 7, expected the right choice's number"),
        (1, &["--choices", &records], "no multiple-choice questions"),
        (2, &["--data", &records, "--per-item"], "--choices"),
        (2, &["--choices", &choices, "--discriminate", "3"], "--data is missing"),
        (2, &["--data", &records, "--limit", "3", "--discriminate", "500"], "is 500; expected 1 to"),
        (2, &["--data", &text, "--discriminate", "1"], "plain text, which has no questions"),
        (2, &["--data", &records, "--questions", "1", "--max-new-tokens", "128"], "lower --max-new-tokens"),
    ];
    for (code, more, word) in cases {
        let (found, said) =
            bad(&[&["evaluate", "--model", &window, "--max-seq-length", "64"], more].concat());
        assert_eq!(found, code, "{more:?}: {said}");
        assert!(said.contains(word), "{more:?}: {said}");
    }
}

#[test]
fn answers_are_measured_by_the_contracts_names() {
    let (window, data) = (fixture("window"), fixture("records.json"));
    let arguments = ["compare", "--model", &window, "--adapter", &fixture("adapter_qv"), "--data", &data];
    let more = ["--limit", "3", "--max-new-tokens", "6", "--json"];
    let found: Value = serde_json::from_str(&good(&[&arguments[..], &more].concat())).unwrap();
    for model in ["Base Model", "LoRA Model"] {
        for key in ["token_f1", "rouge_l", "chrf", "ended", "repeating"] {
            assert!(found["metrics"][model][key].is_number(), "{model} {key}: {found}");
        }
        assert!(found["metrics"][model].get("distinct_2").is_some(), "{found}");
    }
}

#[test]
fn a_folder_of_packed_exams_is_one_and_what_is_left_out_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, rows: &[Value]| {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        std::fs::write(folder.path().join(name), packed).unwrap();
    };
    let row =
        |cop: i32| json!({"question": "Which?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": cop});
    write("validation-00000-of-00002.jsonl.zst", &[row(0), row(3)]);
    write("validation-00001-of-00002.jsonl.zst", &[row(2), row(-1)]);
    let (window, exam) = (fixture("window"), folder.path().display().to_string());
    let arguments = ["evaluate", "--model", &window, "--choices", &exam, "--json"];
    let (code, said) = bad(&arguments);
    assert!(code == 1 && said.contains("(MedMCQA): 1 of 2 records cannot be used"), "{said}");
    assert!(said.contains("leave them out with --bad-records skip"), "{said}");
    let ran = super::run(&[&arguments[..], &["--bad-records", "skip"]].concat());
    let found: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((&found["choices"]["count"], &found["skipped"]), (&json!(3), &json!(1)), "{found}");
    assert!(text(&ran.stderr).contains("1 of 2 records were left out; record 2: `cop` is -1"));
    let (code, said) = bad(&[&arguments[..5], &["--max-data-size", "300"]].concat());
    assert!(code == 1 && said.contains("raise --max-data-size"), "{said}");
}
