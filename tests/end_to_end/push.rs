//! `push`, against a server on this machine that plays the Hub.

use std::path::Path;

use super::hub::Scene;
use super::hub_server::TOKEN;
use super::*;

/// The bytes of a Base64 text.
fn decoded(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits =
            four.iter().fold(0_u32, |bits, c| (bits << 6) | u32::from(value(*c))) << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

/// A finished run of the example model.
fn finished_run(folder: &Path) -> String {
    let (model, data, output) = (fixture("window"), fixture("records.json"), folder.display().to_string());
    let short = ["--max-seq-length", "64", "--max-steps", "2", "--questions", "1", "--max-new-tokens", "4"];
    let run = ["run", "--model", &model, "--data", &data, "--output", &output, "--export", "gguf"];
    good(&[&run[..], &short[..]].concat());
    output
}

#[test]
fn a_run_is_published_in_one_commit_and_the_token_stays_secret() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let run = finished_run(&folder.path().join("run"));
    let push = |more: &[&str]| {
        let mut command = scene.program(&[&["push", &run, "--repo", "me/cards"], more].concat());
        command.env("HF_TOKEN", TOKEN);
        command
    };
    let mut stranger = scene.program(&["push", &run, "--repo", "me/cards", "--yes"]);
    let said = scene.bad({
        stranger.env_remove("HF_TOKEN");
        stranger
    });
    assert!(said.contains("HF_TOKEN") && said.contains("hf auth login"), "{said}");
    let asked = push(&[]).output().unwrap();
    assert!(asked.status.code() == Some(2) && text(&asked.stderr).contains("--yes"));
    assert!(scene.hub.requests().is_empty());
    let mut wrong = push(&["--yes"]);
    wrong.env("HF_TOKEN", "hf_wrong");
    let said = scene.bad(wrong);
    assert!(said.contains("does not accept the token") && !said.contains("hf_wrong"), "{said}");

    let weights = [
        ("--adapter", "adapter", "adapter_model.safetensors"),
        ("--merged", "merged", "model.safetensors"),
        ("--exported", "export", "model.gguf"),
    ];
    for (flag, inside, needed) in weights {
        scene.hub.requests();
        let output = push(&[flag, "--private", "--yes", "--license", "mit"]).output().unwrap();
        let (address, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert_eq!(address.trim(), format!("{}/me/cards", scene.hub.address));
        assert!(!said.contains(TOKEN) && said.contains(needed), "{said}");
        let mut state = scene.hub.state();
        assert!(state.repositories["models/me/cards"].private);
        assert_eq!(state.commits.len(), 1);
        let commit = state.commits.pop().unwrap();
        assert_eq!(commit[0]["key"], "header");
        let mut names = Vec::new();
        for line in &commit[1..] {
            assert_eq!(line["key"], "file");
            let name = line["value"]["path"].as_str().unwrap();
            let content = decoded(line["value"]["content"].as_str().unwrap());
            let places =
                [Path::new(&run).join(inside), Path::new(&run).join("merged"), Path::new(&run).into()];
            let mut there =
                places.iter().map(|place| place.join(name)).filter_map(|path| std::fs::read(path).ok());
            match name {
                "README.md" => {
                    let card = String::from_utf8(content).unwrap();
                    assert_eq!(card.contains("library_name: transformers"), flag == "--merged");
                    assert_eq!(card.contains("library_name: gguf"), flag == "--exported");
                    assert_eq!(card.contains("## The export: run\n"), flag == "--exported", "{card}");
                    assert!(card.starts_with("---\nlicense: mit\n"), "{card}");
                }
                _ => assert_eq!(Some(content), there.next(), "{name}"),
            }
            names.push(name.to_string());
        }
        let common = ["README.md", "report.html", "model_performance_comparison.csv", "loss_chart.png"];
        let tokenizer = if flag == "--exported" { "Modelfile" } else { "tokenizer.json" };
        let rest = [needed, tokenizer, "generation_comparison.csv", "perplexity_chart.png"];
        for name in common.into_iter().chain(rest) {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
        for name in
            ["settings.toml", "manifest.json", "merge_proof.json", "export_proof.json", "metrics.jsonl"]
        {
            assert!(!names.iter().any(|found| found == name), "{name}: {names:?}");
        }
    }

    scene.hub.state().repositories.get_mut("models/me/cards").unwrap().private = false;
    let said = scene.bad(push(&["--private", "--yes"]));
    assert!(said.contains("everybody sees it") && scene.hub.state().commits.is_empty(), "{said}");
}
