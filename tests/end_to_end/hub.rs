//! Models and data by their names on the Hub, against a server on this machine that plays it.

use std::path::Path;
use std::process::{Command, Output};

use super::hub_server::{Fault, Hub, TOKEN};
use super::*;

/// A Hub with the model `tiny/window` and the data `tiny/cards`, and an empty cache.
pub(crate) struct Scene {
    pub(crate) hub: Hub,
    pub(crate) home: tempfile::TempDir,
}

/// The files of the example model, under the names that a repository has for them, with some that nobody needs.
fn serve_model(hub: &Hub, name: &str) {
    let folder = fixture("window");
    let file = |name: &str| Path::new(&folder).join(name);
    let names =
        ["config.json", "generation_config.json", "merges.txt", "model.safetensors", "tokenizer.json"];
    let names = [&names[..], &["tokenizer_config.json", "vocab.json"]].concat();
    let mut files: Vec<(&str, std::path::PathBuf)> = names.iter().map(|name| (*name, file(name))).collect();
    files.push(("README.md", file("config.json")));
    files.push(("pytorch_model.bin", file("model.safetensors")));
    let files: Vec<(&str, &Path)> = files.iter().map(|(name, path)| (*name, path.as_path())).collect();
    hub.add(&format!("models/{name}"), 'a', &files);
}

impl Scene {
    pub(crate) fn new() -> Self {
        let hub = Hub::start();
        serve_model(&hub, "tiny/window");
        let records = fixture("records.json");
        let files = [("README.md", Path::new(&records)), ("cards/records.json", Path::new(&records))];
        hub.add("datasets/tiny/cards", 'b', &files);
        Self { hub, home: tempfile::tempdir().unwrap() }
    }

    /// The program, with the Hub at the server and the cache in a folder of its own.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("HF_") || name.ends_with("_PROXY"))
        {
            command.env_remove(name);
        }
        for name in
            ["HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_OFFLINE", "http_proxy", "https_proxy", "all_proxy"]
        {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.hub.address).env("HF_HOME", self.home.path());
        command
    }

    fn good(&self, arguments: &[&str]) -> Output {
        let output = self.program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        output
    }

    /// Runs a command that must fail with one message, which it returns.
    pub(crate) fn bad(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
        assert!(!said.contains("panicked") && !said.contains(TOKEN), "{said}");
        said
    }

    /// Every file in the cache that would be taken for a whole one.
    fn cached(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![self.home.path().join("hub")];
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let shown = path.display().to_string();
                if path.is_dir() {
                    waiting.push(path);
                } else if !shown.ends_with(".incomplete") && !shown.ends_with(".lock") {
                    found.push(shown);
                }
            }
        }
        found
    }
}

/// A short run of `model` and `data`.
fn short_run<'a>(model: &'a str, data: &'a str, output: &'a str) -> Vec<&'a str> {
    let rest = ["--max-seq-length", "64", "--max-steps", "2", "--questions", "1", "--max-new-tokens", "4"];
    [&["run", "--model", model, "--data", data, "--output", output][..], &rest].concat()
}

const LOOK: [&str; 5] = ["prepare", "--max-seq-length", "64", "--data", "tiny/cards"];

/// `prepare` on `tiny/cards`, with a local tokenizer.
fn look(scene: &Scene) -> Command {
    let mut command = scene.program(&LOOK);
    command.args(["--tokenizer", &fixture("window")]);
    command
}

#[test]
fn a_run_from_names_keeps_its_commits_and_goes_on_offline() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = run.display().to_string();
    let said = text(&scene.good(&short_run("tiny/window", "tiny/cards@main", &output)).stderr);
    assert!(said.contains("downloaded tiny/window model.safetensors: 275.06 kB"), "{said}");
    assert!(said.contains("tiny/cards") && said.contains("file cards/records.json"), "{said}");
    let asked = scene.hub.requests();
    let fetched =
        |name: &str| asked.iter().filter(|path| path.starts_with("GET") && path.contains(name)).count();
    assert!(fetched("/config.json") == 1 && fetched("vocab.json") == 0, "{asked:?}");
    assert!(fetched("pytorch_model.bin") == 0 && fetched("README.md") == 0, "{asked:?}");

    let (model, data) = ("a".repeat(40), "b".repeat(40));
    let sources = json(run.join("manifest.json"))["sources"].take();
    assert_eq!(
        sources["model"],
        serde_json::json!({"repository": "tiny/window", "revision": "main", "commit": model})
    );
    assert_eq!(
        (&sources["data"]["commit"], &sources["data"]["file"]),
        (&data.into(), &"cards/records.json".into())
    );
    let settings = std::fs::read_to_string(run.join("settings.toml")).unwrap();
    assert!(
        settings.contains("path = \"tiny/window\"") && settings.contains("\"tiny/cards@main\""),
        "{settings}"
    );
    assert_eq!(json(run.join("adapter/adapter_config.json"))["base_model_name_or_path"], "tiny/window");
    let card = std::fs::read_to_string(run.join("README.md")).unwrap();
    assert!(card.starts_with("---\nbase_model: \"tiny/window\"\ndatasets:\n- \"tiny/cards\"\n"), "{card}");
    assert_eq!(card.matches("    - type: perplexity\n").count(), 3, "{card}");
    assert!(card.contains(&format!("`tiny/window` at commit `{model}`")), "{card}");

    // Python's layout: content by its hash, a link to it, and what main means.
    let cache = scene.home.path().join("hub/models--tiny--window");
    assert_eq!(std::fs::read_to_string(cache.join("refs/main")).unwrap(), model);
    let weights = cache.join("snapshots").join(&model).join("model.safetensors");
    let blob = std::fs::read_link(&weights).unwrap();
    assert!(blob.starts_with("../../blobs") && blob.file_name().unwrap().len() == 64, "{blob:?}");

    // The Hub moves on; the run stays with its commits and needs no network.
    scene.hub.state().repositories.get_mut("models/tiny/window").unwrap().commit = "d".repeat(40);
    for offline in [false, true] {
        let mut again = scene.program(&["run", "--resume", "--output", &output]);
        if offline {
            again.env("HF_HUB_OFFLINE", "1");
        }
        let result = again.output().unwrap();
        assert!(result.status.success(), "{}", text(&result.stderr));
    }
    let second = folder.path().join("second").display().to_string();
    let mut offline = scene.program(&short_run("tiny/window", "tiny/cards@main", &second));
    assert!(offline.env("HF_HUB_OFFLINE", "1").output().unwrap().status.success());
    assert_eq!(scene.hub.requests(), Vec::<String>::new());
    assert_eq!(adapter_bytes(Path::new(&second)), adapter_bytes(&run));
}

#[test]
fn without_network_only_the_cache_is_used() {
    let scene = Scene::new();
    let mut offline = look(&scene);
    let said = scene.bad({
        offline.env("HF_HUB_OFFLINE", "YES");
        offline
    });
    assert!(said.contains("tiny/cards@main") && said.contains("without HF_HUB_OFFLINE"), "{said}");
    assert!(scene.hub.requests().is_empty());

    let nowhere = "http://127.0.0.1:9";
    let mut unreachable = look(&scene);
    unreachable.env("HF_ENDPOINT", nowhere);
    let said = scene.bad(unreachable);
    assert!(
        said.contains(nowhere) && said.contains("cannot be reached") && said.contains("network"),
        "{said}"
    );
    assert!(look(&scene).output().unwrap().status.success());
    let output = look(&scene).env("HF_ENDPOINT", nowhere).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("from the cache is used"), "{said}");
}

#[test]
fn every_failure_says_what_to_do_and_leaves_nothing_half() {
    let cases: [(&[Fault], &[&str]); 5] = [
        (&[Fault::Cut, Fault::Cut, Fault::Cut], &["cards/records.json was not downloaded", "broke", "again"]),
        (&[Fault::Damaged], &["its hash is", "was removed", "again"]),
        (&[Fault::WrongSize], &["bytes", "was removed", "again"]),
        (&[Fault::Stalled], &["does not answer", "again"]),
        (&[const { Fault::Status(429) }; 5], &["status 429", "again in 7 s"]),
    ];
    for (faults, words) in cases {
        let scene = Scene::new();
        scene.hub.state().faults.extend(faults.iter().cloned());
        let mut command = look(&scene);
        command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1.5");
        let said = scene.bad(command);
        for word in words {
            assert!(said.contains(word), "{faults:?}: {word}: {said}");
        }
        assert!(scene.hub.state().faults.is_empty(), "{faults:?}");
        assert_eq!(scene.cached(), Vec::<String>::new(), "{faults:?}");
        let again = look(&scene).output().unwrap();
        assert!(again.status.success(), "{faults:?}: {}", text(&again.stderr));
    }
}

#[test]
fn what_passes_is_waited_for() {
    let once = [&[Fault::Status(429), Fault::Status(503)][..], &[Fault::Cut], &[Fault::Slow]];
    for faults in once {
        let scene = Scene::new();
        scene.hub.state().faults.extend(faults.iter().cloned());
        let output = look(&scene).output().unwrap();
        assert!(output.status.success(), "{faults:?}: {}", text(&output.stderr));
        assert!(scene.hub.state().faults.is_empty(), "{faults:?}");
    }
}

#[test]
fn names_that_lead_nowhere_are_told_apart() {
    let scene = Scene::new();
    scene.hub.state().repositories.get_mut("models/tiny/window").unwrap().gated = true;
    let generate = |model: &str| scene.program(&["generate", "--prompt", "a", "--model", model]);
    let said = scene.bad(generate("tiny/windows"));
    assert!(said.contains("no model tiny/windows") && said.contains("check the name"), "{said}");
    assert!(said.contains("hf auth login"), "{said}");
    let said = scene.bad(generate("tiny/window@v9"));
    assert!(said.contains("no revision v9"), "{said}");
    let said = scene.bad(generate("tiny/window"));
    let page = format!("{}/tiny/window", scene.hub.address);
    assert!(said.contains("gated") && said.contains(&page) && said.contains("HF_TOKEN"), "{said}");
    let mut known = generate("tiny/window");
    known.env("HF_TOKEN", TOKEN);
    let said = scene.bad(known);
    assert!(said.contains("gated") && said.contains("authorized list"), "{said}");

    let window = fixture("window");
    let prepare = |data: &str| scene.program(&["prepare", "--tokenizer", &window, "--data", data]);
    let said = scene.bad(prepare("tiny/cards:none.json"));
    assert!(said.contains("no file none.json"), "{said}");
    let said = scene.bad(generate("no-such-folder"));
    assert!(said.contains("there is no folder no-such-folder"), "{said}");
    let mut state = scene.hub.state();
    let files = &mut state.repositories.get_mut("datasets/tiny/cards").unwrap().files;
    files.insert("cards/more.json".into(), b"[]".to_vec());
    drop(state);
    let said = scene.bad(prepare("tiny/cards"));
    assert!(said.contains("cards/more.json, cards/records.json; say tiny/cards:FILE"), "{said}");
    scene.good(&[
        "prepare",
        "--tokenizer",
        &window,
        "--max-seq-length",
        "64",
        "--data",
        "tiny/cards:cards/records.json",
    ]);
}

#[test]
fn the_splits_of_a_data_set_are_used_as_they_are_meant() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, numbers: std::ops::Range<usize>| {
        let path = folder.path().join(name);
        let row = |n| format!("{{\"question\": \"What is {n}?\", \"answer\": \"The number {n}.\"}}\n");
        std::fs::write(&path, numbers.map(row).collect::<String>()).unwrap();
        path
    };
    let parts = [
        ("data/train-00000-of-00002.jsonl", part("a", 0..8)),
        ("data/train-00001-of-00002.jsonl", part("b", 8..12)),
        ("data/validation.jsonl", part("c", 20..23)),
        ("data/test.jsonl", part("d", 30..35)),
    ];
    let files: Vec<(&str, &Path)> = parts.iter().map(|(name, path)| (*name, path.as_path())).collect();
    scene.hub.add("datasets/tiny/splits", 'c', &files);
    let window = fixture("window");
    let prepare = ["prepare", "--tokenizer", &window, "--max-seq-length", "64", "--json", "--data"];
    let counts = |name: &str| {
        let shown = text(&scene.good(&[&prepare[..], &[name, "--validation-fraction", "0"]].concat()).stdout);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        [shown["train"].clone(), shown["test"].clone()]
    };
    // What a commit has is more than what the cache has of it.
    scene.hub.add("datasets/tiny/pair", 'd', &[("train.jsonl", files[0].1), ("test.jsonl", files[3].1)]);
    let commit = format!("tiny/pair@{}", "d".repeat(40));
    assert_eq!(counts(&format!("{commit}:train.jsonl")), [8, 0]);
    assert_eq!(counts(&commit), [8, 5]);
    let run = folder.path().join("run");
    let output = run.display().to_string();
    scene.good(&short_run("tiny/window", "tiny/splits", &output));
    let manifest = json(run.join("manifest.json"));
    let found = ["train_examples", "validation_examples", "test_examples"]
        .map(|name| manifest["counts"][name].as_u64().unwrap());
    assert_eq!(found, [12, 3, 5]);
    assert_eq!(manifest["sources"]["data"]["files"].as_array().unwrap().len(), 4);
    let mut again = scene.program(&["run", "--resume", "--output", &output]);
    let again = again.env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(again.status.success(), "{}", text(&again.stderr));
    for (name, found) in [("tiny/splits:data", [12, 5]), ("tiny/splits:data/test.jsonl", [5, 0])] {
        assert_eq!(counts(name), found, "{name}");
    }
}

#[test]
fn a_private_model_in_shards_comes_with_the_token_file() {
    let scene = Scene::new();
    let folder = fixture("sharded");
    let names = ["config.json", "vocab.json", "merges.txt", "model.safetensors.index.json"];
    let shards = [1, 2, 3].map(|number| format!("model-0000{number}-of-00003.safetensors"));
    let names: Vec<&str> = names.into_iter().chain(shards.iter().map(String::as_str)).collect();
    let paths: Vec<_> = names.iter().map(|name| Path::new(&folder).join(name)).collect();
    let files: Vec<(&str, &Path)> =
        names.iter().copied().zip(paths.iter().map(|path| path.as_path())).collect();
    scene.hub.add("models/me/sharded", 'e', &files);
    scene.hub.state().repositories.get_mut("models/me/sharded").unwrap().private = true;
    let arguments = ["generate", "--prompt", "a", "--max-new-tokens", "2", "--json", "--model", "me/sharded"];
    scene.bad(scene.program(&arguments));
    std::fs::write(scene.home.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let from_the_hub = text(&scene.good(&arguments).stdout);
    let local = good(&[&arguments[..7], &[&folder]].concat());
    let ids = |text: &str| serde_json::from_str::<Value>(text).unwrap()["new_ids"].take();
    assert_eq!(ids(&from_the_hub), ids(&local));
}

#[test]
fn the_medical_preset_runs_from_its_names() {
    let scene = Scene::new();
    serve_model(&scene.hub, "EleutherAI/gpt-neo-125m");
    let records = fixture("records.json");
    let file = ("medical_meadow_wikidoc_medical_flashcards.json", Path::new(&records));
    scene.hub.add("datasets/medalpaca/medical_meadow_medical_flashcards", 'f', &[file]);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run").display().to_string();
    let short = ["--max-steps", "2", "--max-seq-length", "64", "--questions", "1", "--max-new-tokens", "4"];
    scene.good(&[&["run", "--preset", "medical", "--output", &output], &short[..]].concat());
    let config = json(Path::new(&output).join("adapter/adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], "EleutherAI/gpt-neo-125m");
}
