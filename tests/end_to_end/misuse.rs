//! What goes wrong is said once, with the right exit code.

use std::path::Path;

use super::*;

/// A copy of a model whose last weights are not numbers.
fn not_numbers(model: &str, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|end| end == "safetensors") {
            let len = bytes.len();
            bytes[len - 1024..].fill(0xff);
        }
        std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
    }
}

#[test]
fn misuse_and_failure_have_one_message_and_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run").display().to_string();
    let (window, records) = (fixture("window"), fixture("records.json"));
    let empty = folder.path().join("empty.json");
    std::fs::write(
        &empty,
        r#"[{"instruction":"a","input":"b","output":"c"},{"instruction":"a","input":" ","output":"c"}]"#,
    )
    .unwrap();
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "[training]\nlearning_rat = 1.0\n").unwrap();
    let damaged = folder.path().join("damaged").display().to_string();
    not_numbers(&window, Path::new(&damaged));
    let config = format!("{window}/config.json");
    let cases: [(i32, &[&str], &str); 27] = [
        (2, &["train", "--model", &window, "--output", &output], "data"),
        (
            2,
            &["train", "--model", &window, "--data", &records, "--output", &output, "--batch-size", "0"],
            "batch_size",
        ),
        (2, &["train", "--config", &settings.display().to_string(), "--output", &output], "learning_rat"),
        (
            2,
            &[
                "train",
                "--model",
                &window,
                "--data",
                &records,
                "--output",
                &output,
                "--target-modules",
                "query",
            ],
            "q_proj",
        ),
        (
            1,
            &["train", "--model", "no-such-folder", "--data", &records, "--output", &output],
            "no-such-folder",
        ),
        (1, &["train", "--model", &window, "--data", &empty.display().to_string(), "--output", &output], "2"),
        (
            1,
            &[
                "evaluate",
                "--model",
                &window,
                "--adapter",
                &fixture("adapter_wide"),
                "--data",
                &records,
                "--max-seq-length",
                "64",
            ],
            "h.3.attn.attention.v_proj.lora_B.weight: missing",
        ),
        (2, &["generate", "--model", &window, "--prompt", "a", "--max-new-tokens", "5000"], "128"),
        (2, &["generate", "--model", "embedded:small-medical", "--prompt", "a"], "RUN/base"),
        (2, &["compare", &output, &output], "held_out_losses.csv"),
        (2, &["generate", "--model", "nowhere", "--prompt", "a", "--device", "1"], "no device 1"),
        (2, &["run", "--output", &output, "--gguf-type", "q8_0"], "give --export too"),
        (2, &["run", "--output", &output, "--export", "gpt2", "--gguf-type", "q8_0"], "for --export gguf"),
        (
            2,
            &["train", "--model", &window, "--data", &records, "--output", &output, "--devices", "0,1"],
            "on the backend cuda alone",
        ),
        (
            2,
            &["train", "--model", &window, "--data", &records, "--output", &output, "--devices", "0,0"],
            "names device 0 twice",
        ),
        // Nobody asked for damaged weights.
        (1, &["generate", "--model", &damaged, "--prompt", "a"], "its weights or its adapter are damaged"),
        (2, &["bench", "train", "--model", &window, "--length", "1"], "give 2 or more"),
        (
            2,
            &[
                "train", "--model", &window, "--data", &records, "--output", &output, "--tuning", "full",
                "--dora",
            ],
            "some are given (use_dora)",
        ),
        (
            2,
            &["run", "--output", &output, "--discriminate", "9223372036854775807"],
            "give another --discriminate",
        ),
        (
            2,
            &["run", "--output", &output, "--scored-questions", "99999999999999999999"],
            "--scored-questions",
        ),
        (2, &["run", "--output", &output, "--max-positions", "99999999999999999999"], "--max-positions"),
        (2, &["evaluate", "--model", &window, "--data", &records, "--max-new-tokens", "5"], "--questions"),
        (2, &["train", "--output", &output, "--seeds", "2"], "--data is missing"),
        (
            2,
            &[
                "init",
                "--config",
                &config,
                "--tokenizer",
                &window,
                "--vocab-size",
                "300",
                "--output",
                &output,
            ],
            "--vocab-size",
        ),
        (2, &["push", &window, "--repo", "a/b"], "give the folder of a run"),
        (
            2,
            &["evaluate", "--model", &window, "--data", &records, "--max-seq-length", "2"],
            "records that have some",
        ),
        // No exam is held for the first of two models if the second has too few positions.
        (
            2,
            &[
                "evaluate",
                "--model",
                &window,
                "--data",
                &records,
                "--max-seq-length",
                "100",
                "--against",
                &fixture("half"),
            ],
            "has 64 positions",
        ),
    ];
    for (code, arguments, word) in cases {
        let (found, said) = bad(arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    assert!(!Path::new(&output).exists());
}
