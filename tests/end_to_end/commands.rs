//! The other commands, each by what it promises.

use std::path::Path;

use serde_json::Value;

use super::*;

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
fn bench_products_prints_its_contract() {
    let config = format!("{}/config.json", fixture("window"));
    let common = ["bench", "products", "--config", &config, "--rows", "1,70"];
    let found: Value = serde_json::from_str(&good(&[&common[..], &["--json"]].concat())).unwrap();
    let peak = found["peak"].as_f64().unwrap();
    assert!(peak > 0.0 && found["registers"].as_u64() >= Some(32), "{found}");
    let products = found["products"].as_array().unwrap();
    assert_eq!(products.len(), 2 * 4 * 3, "rows, layers and formats: {found}");
    for product in products {
        let number = |name: &str| product[name].as_f64().unwrap();
        let (rate, share) = (number("rate"), number("share_of_peak"));
        assert!(rate > 0.0 && (share * peak / rate - 1.0).abs() < 1e-6, "{product}");
        assert!([1.0, 70.0].contains(&number("rows")) && number("terms") > 0.0 && number("columns") > 0.0);
    }
    let formats: Vec<_> =
        products.iter().take(3).map(|product| product["weights"].as_str().unwrap()).collect();
    assert_eq!(formats, ["f32", "bf16", "int8"]);
    let table = good(&common);
    assert_eq!(table.lines().count(), 3 + products.len(), "{table}");

    // Registers of 256 bits are forced where the processor has them, and otherwise said not to be there.
    let output = run(&[&common[..], &["--registers", "256"]].concat());
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert!(
        if output.status.success() { shown.contains("256 bits") } else { said.contains("--registers") },
        "{shown}{said}"
    );
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
fn prepare_measures_a_step_and_warns_of_what_is_cut() {
    let (data, model) = (fixture("records.json"), fixture("window"));
    let common =
        ["prepare", "--data", &data, "--model", &model, "--memory", "--epochs", "2", "--lora-r", "4"];
    let output = run(&[&common[..], &["--max-seq-length", "24", "--batches", "2"]].concat());
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(said.contains("of the answers") && said.contains("--max-seq-length"), "{said}");
    assert!(
        shown.contains("Batch 2: 8 texts padded to") && shown.contains("of memory for a step"),
        "{shown}"
    );
    let prepared: Value = serde_json::from_str(&good(&[&common[..], &["--json"]].concat())).unwrap();
    let found = &prepared["preflight"];
    // 54 of 60 records in batches of 8, twice; rank 4 on q and v of each layer.
    assert_eq!(found["steps"], 14, "{found}");
    let hidden = json(Path::new(&model).join("config.json"))["hidden_size"].as_u64().unwrap();
    let layers = json(Path::new(&model).join("config.json"))["num_layers"].as_u64().unwrap();
    assert_eq!(found["trainable_parameters"], layers * 2 * 2 * 4 * hidden, "{found}");
    assert!(found["largest_batch_seconds"].as_f64().unwrap() > 0.0, "{found}");
    // Four of the sixty are longer than the model's 128 positions; memory and disk are plenty.
    let warnings = found["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].to_string().contains("4 of 60"), "{found}");
    assert_eq!(prepared["batches"][0]["texts"].as_array().unwrap().len(), 8);

    let (code, message) = bad(&["prepare", "--data", &data, "--tokenizer", &model, "--memory"]);
    assert!(code == 2 && message.contains("--model DIR"), "{message}");
}

#[test]
fn devices_lists_the_backends_of_the_build() {
    let shown = good(&["devices"]);
    assert!(shown.contains("flex  (--backend auto)\n  0  ") && shown.contains("precision f32"), "{shown}");
    let report: Value = serde_json::from_str(&good(&["devices", "--json"])).unwrap();
    let flex = &report["backends"][0];
    assert!(flex["auto"] == true && flex["unusable"].is_null(), "{report}");
    assert_eq!(flex["devices"][0]["f16"], false, "no processor multiplies halves as such");
}
