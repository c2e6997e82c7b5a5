//! Adapters that PEFT wrote, and models in several files, through the program.

use std::path::Path;

use serde_json::Value;

use super::*;

/// The ids that a model goes on with.
fn continuation(model: &[&str]) -> Value {
    let prompt = ["--prompt", "Question: Why?", "--max-new-tokens", "12", "--ignore-eos", "--json"];
    let said: Value = serde_json::from_str(&good(&[&["generate"], model, &prompt].concat())).unwrap();
    said["new_ids"].clone()
}

#[test]
fn an_adapter_with_patterns_merges_into_shards() {
    let folder = tempfile::tempdir().unwrap();
    let (window, adapter) = (fixture("window"), fixture("peft/patterns"));
    let merged = folder.path().join("merged").display().to_string();
    let merge = ["merge", "--model", &window, "--adapter", &adapter, "--output", &merged, "--max-shard-size"];
    for (size, word) in [("5", "500MB"), ("999B", "KB"), ("0.5KB", "at least 1KB")] {
        let (code, said) = bad(&[&merge[..], &[size]].concat());
        assert!(code == 2 && said.contains(word) && !Path::new(&merged).exists(), "{size}: {said}");
    }
    good(&[&merge[..], &["30KB"]].concat());
    let index = json(Path::new(&merged).join("model.safetensors.index.json"));
    let shards = index["weight_map"].as_object().unwrap().values();
    assert!(shards.clone().all(|file| Path::new(&merged).join(file.as_str().unwrap()).is_file()), "{index}");
    assert!(
        shards.filter(|file| file.as_str().unwrap().starts_with("model-00002-of-")).count() > 1,
        "{index}"
    );
    assert!(!Path::new(&merged).join("model.safetensors").exists());
    let adapted = continuation(&["--model", &window, "--adapter", &adapter]);
    assert_eq!(adapted, continuation(&["--model", &merged]));
    assert_ne!(adapted, continuation(&["--model", &window]));
}

#[test]
fn training_goes_on_from_an_adapter_with_patterns_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run").display().to_string();
    let (window, adapter, data) = (fixture("window"), fixture("peft/patterns"), fixture("records.json"));
    let train = ["train", "--model", &window, "--adapter", &adapter, "--data", &data, "--output", &output];
    let (code, said) = bad(&[&train[..], &["--target-modules", "c_proj"]].concat());
    assert!(code == 2 && said.contains("target_modules"), "{said}");
    good(&[&train[..], &["--max-steps", "2", "--max-seq-length", "64", "--learning-rate", "1e-2"]].concat());
    let written = json(Path::new(&output).join("adapter/adapter_config.json"));
    assert_eq!(written["rank_pattern"]["h.1.attn.attention.q_proj"], 1);
    assert_eq!(written["alpha_pattern"]["transformer.h.2.attn.attention.v_proj"], 20.0);
    let settings = std::fs::read_to_string(Path::new(&output).join("settings.toml")).unwrap();
    assert!(settings.contains("[lora.rank_pattern]"), "{settings}");
    // The run's own settings are those of its adapter: it goes on, and has nothing left to do.
    good(&["train", "--resume", "--output", &output]);
    let trained = Path::new(&output).join("adapter").display().to_string();
    continuation(&["--model", &window, "--adapter", &trained]);
}

#[test]
fn full_tuning_writes_shards_too() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run").display().to_string();
    let (model, data) = (fixture("half"), fixture("records.json"));
    let train = ["train", "--model", &model, "--data", &data, "--output", &output, "--tuning", "full"];
    let rest = ["--max-steps", "1", "--max-seq-length", "32", "--max-shard-size", "40KB", "--dtype", "bf16"];
    good(&[&train[..], &rest].concat());
    let merged = Path::new(&output).join("merged");
    assert!(merged.join("model.safetensors.index.json").is_file());
    continuation(&["--model", &merged.display().to_string()]);
}

#[test]
fn an_adapter_of_another_kind_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(&fixture("adapter_qv")).to_path_buf();
    let weights = "adapter_model.safetensors";
    std::fs::copy(source.join(weights), folder.path().join(weights)).unwrap();
    let mut config = json(source.join("adapter_config.json"));
    config["lora_bias"] = true.into();
    config["modules_to_save"] = serde_json::json!(["ln_f"]);
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let adapter = folder.path().display().to_string();
    let (code, said) =
        bad(&["generate", "--model", &fixture("window"), "--adapter", &adapter, "--prompt", "a"]);
    assert_eq!(code, 1, "{said}");
    for word in ["lora_bias", "modules_to_save", "merge_and_unload"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// Trained, gone on with, merged with proof, and refused beside others.
#[test]
fn dora_is_trained_and_merged_and_not_served_beside_others() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = (fixture("window"), fixture("records.json"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let train = |name: &str, more: &[&str]| {
        let flags =
            ["train", "--model", &model, "--data", &data, "--output", &path(name), "--max-seq-length", "48"];
        good(&[&flags[..], &["--max-steps", "3", "--learning-rate", "1e-2"], more].concat());
        adapter_bytes(&folder.path().join(name))
    };
    let first = train("first", &["--dora", "--lora-r", "2"]);
    // Each block computed again drops the same.
    assert_eq!(first, train("again", &["--dora", "--lora-r", "2", "--gradient-checkpointing"]));
    let adapter = path("first/adapter");
    assert_eq!(json(folder.path().join("first/adapter/adapter_config.json"))["use_dora"], true);
    train("further", &["--adapter", &adapter]);
    let said = good(&["merge", "--model", &model, "--adapter", &adapter, "--output", &path("merged")]);
    assert!(said.contains("merged equals base with adapter"), "{said}");
    assert_eq!(
        continuation(&["--model", &model, "--adapter", &adapter]),
        continuation(&["--model", &path("merged")])
    );
    // A whole run's merged model answers in its place.
    let run = path("run");
    let flags =
        ["run", "--model", &model, "--data", &data, "--output", &run, "--max-seq-length", "48", "--dora"];
    good(&[&flags[..], &["--max-steps", "1", "--questions", "1", "--max-new-tokens", "2"]].concat());
    good(&["chat", "--run", &run]);
    let named = format!("medical={adapter}");
    let (code, said) = bad(&["serve", "--model", &model, "--adapter", &named, "--port", "0"]);
    assert!(code == 2 && said.contains("DoRA") && said.contains("merge"), "{code}: {said}");
}
