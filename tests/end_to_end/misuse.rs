//! What goes wrong is said once, with the right exit code.

use std::path::Path;

use super::*;

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
    let cases: [(i32, &[&str], &str); 15] = [
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
    ];
    for (code, arguments, word) in cases {
        let (found, said) = bad(arguments);
        assert_eq!(found, code, "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    assert!(!Path::new(&output).join("adapter").exists());
}
