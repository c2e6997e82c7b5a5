//! The large published shapes by narrow stand-ins: as many layers, in the same turns of global and local, with two heads of
//! 128 and a narrow feed-forward layer.

use std::path::Path;

use super::*;

fn stand_in(folder: &Path, layers: usize) -> String {
    let config = folder.join("config.json");
    let shape = serde_json::json!({
        "model_type": "gpt_neo", "hidden_size": 256, "num_heads": 2, "num_layers": layers, "intermediate_size": 64,
        "attention_types": [[["global", "local"], layers / 2]], "window_size": 16, "vocab_size": 400,
        "max_position_embeddings": 64, "bos_token_id": 399, "eos_token_id": 399,
    });
    std::fs::write(&config, shape.to_string()).unwrap();
    let model = folder.join("model").display().to_string();
    let config = config.display().to_string();
    good(&["init", "--config", &config, "--tokenizer", &fixture("window"), "--output", &model]);
    model
}

/// Two steps of a model of some layers; `more` is added to the flags. Their losses.
fn train(model: &str, output: &Path, more: &[&str]) -> Vec<f64> {
    let (data, folder) = (fixture("records.json"), output.display().to_string());
    let flags = ["train", "--model", model, "--data", &data, "--output", &folder, "--lora-r", "2"];
    let rest = ["--max-seq-length", "40", "--max-steps", "2", "--batch-size", "2", "--samples", "0"];
    let fraction = ["--validation-fraction", "0", "--learning-rate", "1e-3"];
    good(&[&flags[..], &rest, &fraction, more].concat());
    rows(output).iter().map(|row| row["loss"].as_f64().unwrap()).collect()
}

/// Every way to train, merged and asked, at the depths of 1.3B and 2.7B.
#[test]
fn deep_models_with_wide_heads_train_merge_and_answer() {
    for layers in [24, 32] {
        let folder = tempfile::tempdir().unwrap();
        let model = stand_in(folder.path(), layers);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let train = |name: &str, more: &[&str]| train(&model, &folder.path().join(name), more);
        let exact = train("f32", &[]);
        assert_eq!(train("again", &["--gradient-checkpointing"]), exact, "{layers} layers");
        for (name, more, tolerance) in [
            ("bf16", &["--base-weights", "bf16"][..], 2e-3),
            ("int8", &["--base-weights", "int8", "--gradient-checkpointing"], 1e-2),
            ("dora", &["--dora"], 1e-2),
        ] {
            for (loss, exact) in train(name, more).iter().zip(&exact) {
                assert!((loss - exact).abs() < tolerance, "{layers} layers, {name}: {loss} {exact}");
            }
            let adapter = path(&format!("{name}/adapter"));
            let merged = path(&format!("{name}-merged"));
            let said = good(&["merge", "--model", &model, "--adapter", &adapter, "--output", &merged]);
            assert!(said.contains("merged equals base with adapter"), "{said}");
            let ask = ["--prompt", "Question: Why?", "--max-new-tokens", "3", "--ignore-eos", "--json"];
            let answer = good(&[&["generate", "--model", &merged][..], &ask].concat());
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["new_ids"].as_array().unwrap().len(), 3, "{answer}");
        }
    }
}

/// The backends of this build beside flex, and how far a loss on them may be from one there.
fn others() -> Vec<(String, f64)> {
    let others = [("ndarray".to_owned(), 1e-4)].into_iter();
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    let others = others.chain([(gpu::gpu(), gpu::tolerance())]);
    others.collect()
}

/// Heads of 128, DoRA and blocks computed again, from one adapter: a fresh one comes from the backend's own generator.
#[test]
fn every_backend_learns_the_same_with_all_that_large_models_take() {
    let folder = tempfile::tempdir().unwrap();
    let (model, path) = (stand_in(folder.path(), 24), |name: &str| folder.path().join(name));
    train(&model, &path("first"), &["--dora"]);
    let adapter = path("first/adapter").display().to_string();
    let further = |backend: &str| {
        let flags = ["--adapter", &adapter, "--gradient-checkpointing", "--lora-dropout", "0", "--backend"];
        train(&model, &path(backend), &[&flags[..], &[backend]].concat())
    };
    let expected = further("flex");
    for (backend, tolerance) in others() {
        let found = further(&backend);
        assert_eq!(found.len(), expected.len(), "{backend}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < tolerance, "{backend}: {found} {expected}");
        }
    }
}

/// The real shapes are drawn by their names; of these the smallest alone is small enough for a test.
#[test]
fn benchmarks_know_the_published_shapes() {
    let shape = ["bench", "train", "--shape", "125m", "--length", "2049"];
    let (code, message) = bad(&shape);
    assert!(code == 2 && message.contains("2048"), "{message}");
    let (code, message) = bad(&["bench", "train", "--shape", "6b"]);
    assert!(code == 2 && message.contains("1.3b") && message.contains("2.7b"), "{message}");
}
