//! Folders as people have them: what a merge keeps, where texts end, and what is refused in one line.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

/// A copy of a fixture that may be changed.
pub(crate) fn copy(name: &str, to: &Path) -> String {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    to.display().to_string()
}

pub(crate) fn write(folder: &str, name: &str, content: impl ToString) {
    std::fs::write(Path::new(folder).join(name), content.to_string()).unwrap();
}

#[test]
fn a_merge_keeps_settings_and_files_and_refuses_what_f16_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let base = copy("window", &folder.path().join("base"));
    let generation = "{\"temperature\": 0.7,  \"eos_token_id\": [399, 7]}";
    write(&base, "generation_config.json", generation);
    for name in ["chat_template.jinja", "LICENSE", "training_args.bin", "README.md"] {
        write(&base, name, name);
    }
    let merged = folder.path().join("merged").display().to_string();
    let (adapter, half) = (fixture("adapter_qv"), folder.path().join("half").display().to_string());
    let merge = |output: &str, dtype: &str| {
        run(&["merge", "--model", &base, "--adapter", &adapter, "--output", output, "--dtype", dtype])
    };
    assert!(merge(&merged, "f16").status.success());
    let kept = |name: &str| std::fs::read_to_string(Path::new(&merged).join(name));
    assert_eq!(kept("generation_config.json").unwrap(), generation);
    assert_eq!(
        kept("chat_template.jinja").unwrap() + &kept("LICENSE").unwrap(),
        "chat_template.jinjaLICENSE"
    );
    assert!(kept("training_args.bin").is_err() && kept("README.md").is_err());
    let proof = json(Path::new(&merged).join("merge_proof.json"));
    let [exact, written] =
        ["largest_difference", "written_difference"].map(|name| proof[name].as_f64().unwrap());
    assert!(written > 10.0 * exact, "{proof}");

    // A position that no prompt reaches, too large for half.
    let path = Path::new(&base).join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let end = header["transformer.wpe.weight"]["data_offsets"][1].as_u64().unwrap() as usize + 8 + length;
    let mut huge = bytes.clone();
    huge[end - 4..end].copy_from_slice(&1e6f32.to_le_bytes());
    std::fs::write(&path, huge).unwrap();
    let refused = merge(&half, "f16");
    let said = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("transformer.wpe.weight holds 1e6"), "{said}");
    assert!(!Path::new(&half).exists());
}

#[test]
fn texts_end_where_the_folder_says() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy("window", &folder.path().join("model"));
    let ask =
        ["generate", "--model", &model, "--prompt", "Question: Why?", "--max-new-tokens", "8", "--json"];
    let new = |arguments: &[&str]| {
        let said: Value = serde_json::from_str(&good(arguments)).unwrap();
        (said["new_ids"].as_array().unwrap().clone(), said["finish_reason"].clone())
    };
    let (all, _) = new(&[&ask[..], &["--ignore-eos"]].concat());
    let third = &all[2];
    let before = all.iter().position(|id| id == third).unwrap();
    for ends in [third.clone(), json!([398, third])] {
        write(&model, "generation_config.json", json!({ "eos_token_id": ends }));
        assert_eq!(new(&ask), (all[..before].to_vec(), "stop".into()), "{ends}");
    }
}

#[test]
fn a_merged_model_ends_its_texts_as_its_training_did_and_is_asked_as_its_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let base = copy("window", &folder.path().join("base"));
    write(&base, "generation_config.json", r#"{"eos_token_id": 7}"#);
    // The settings of an adapter would send transformers to another base.
    write(&base, "adapter_config.json", r#"{"base_model_name_or_path": "elsewhere"}"#);
    write(&base, "prompt_template.txt", "Base: {input} {output}");
    write(&base, "chat_template.jinja", "of the base");
    let adapter = copy("adapter_qv", &folder.path().join("run/adapter"));
    write(&adapter, "prompt_template.txt", "Q: {input}\nA: {output}");
    let run = folder.path().join("run").display().to_string();
    let merged = folder.path().join("merged").display().to_string();
    good(&["merge", "--model", &base, "--adapter", &run, "--output", &merged]);
    let kept = |name: &str| std::fs::read_to_string(Path::new(&merged).join(name));
    assert_eq!(json(Path::new(&merged).join("generation_config.json"))["eos_token_id"], json!([7, 399]));
    assert_eq!(kept("prompt_template.txt").unwrap(), "Q: {input}\nA: {output}");
    assert!(kept("chat_template.jinja").is_err() && kept("adapter_config.json").is_err());
}

#[test]
fn a_runs_folder_stands_for_its_adapter_and_other_folders_are_told_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let window = fixture("window");
    copy("adapter_qv", &folder.path().join("run/adapter"));
    let of_run = folder.path().join("run").display().to_string();
    let ask = |adapter: &str| {
        let options = ["--prompt", "Why?", "--max-new-tokens", "4", "--json"];
        run(&[&["generate", "--model", &window, "--adapter", adapter], &options[..]].concat())
    };
    let ids = |adapter: &str| {
        let said: Value = serde_json::from_slice(&ask(adapter).stdout).unwrap();
        said["new_ids"].clone()
    };
    assert_eq!(ids(&of_run), ids(&fixture("adapter_qv")));
    let other = ask(&window);
    let said = text(&other.stderr);
    assert!(other.status.code() == Some(1) && said.contains("give it as the model"), "{said}");
}

#[test]
fn what_no_machine_holds_and_pointers_of_git_lfs_are_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let model = copy("window", &folder.path().join("model"));
    let config: Value = json(Path::new(&model).join("config.json"));
    let ask = ["generate", "--model", &model, "--prompt", "Why?", "--max-new-tokens", "2"];
    for (field, value, word) in [
        ("num_layers", json!(4_000_000_000u64), "num_layers is 4000000000"),
        ("vocab_size", json!(2_000_000_000), "GB"),
        ("max_position_embeddings", json!(2_000_000_000), "GB"),
        ("hidden_size", json!("\u{1b}[2Jwide"), "hidden_size is \"\\u001b[2Jwide\""),
    ] {
        let mut changed = config.clone();
        changed[field] = value;
        write(&model, "config.json", changed);
        let (code, said) = bad(&ask);
        assert!(code == 1 && said.contains(word) && said.trim_end().lines().count() == 1, "{field}: {said}");
        assert!(!said.contains('\u{1b}') && !said.contains("usize"), "{said}");
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        write(&model, "config.json", &config);
        let content = std::fs::read(Path::new(&model).join(name)).unwrap();
        write(&model, name, pointer);
        let (code, said) = bad(&ask);
        assert!(code == 1 && said.contains("git lfs pull") && said.contains(name), "{name}: {said}");
        std::fs::write(Path::new(&model).join(name), content).unwrap();
    }
    let data = fixture("records.json");
    let output = folder.path().join("run").display().to_string();
    let train = ["train", "--model", &model, "--data", &data, "--output", &output, "--max-steps", "1"];
    for (rank, word) in [("16000000", "--lora-r"), ("999999999999", "at most")] {
        let (code, said) = bad(&[&train[..], &["--lora-r", rank]].concat());
        assert!(code == 2 && said.contains(word), "{rank}: {said}");
    }
}
