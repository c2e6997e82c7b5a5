//! The network against transformers and PEFT, on the small random models of `tests/fixtures`, which
//! `tests/reference/make_fixtures.py` made.
//!
//! Logits are compared relative to the largest one, within 1e-4: float32 sums in another order round otherwise,
//! and the unscaled scores of these wide random weights magnify that (seen: up to 3e-5 on NdArray, less on
//! Flex). A wrong mask, scale or activation moves them by more than 1e-2.

mod family;
mod layouts;
mod peft;

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use serde_json::Value;

use crate::adapter::{self, count_parameters, detach, load_adapter, save_adapter};
use crate::checkpoint::{
    Dtype, INDEX_FILE, SaveFormat, WHOLE_FILE, check_loaded, load_model, load_model_for, save_model,
    weight_files,
};
use crate::generate::{GenerationConfig, generate};
use crate::{GptNeo, ModelError, NeoBackend, WeightFormat};

const TOLERANCE: f64 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn expected(name: &str) -> Value {
    let path = fixture(name).join("expected.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn load<B: NeoBackend>(name: &str) -> GptNeo<B> {
    load_model(&fixture(name), &Default::default()).unwrap()
}

fn logits<B: NeoBackend>(
    model: &GptNeo<B>,
    rows: &[Vec<u32>],
    lengths: Option<&[usize]>,
) -> Vec<Vec<Vec<f32>>> {
    let (batch, tokens) = (rows.len(), rows[0].len());
    let device = Default::default();
    let flat: Vec<i32> = rows.iter().flatten().map(|id| *id as i32).collect();
    let padding = lengths.map(|lengths| {
        let hidden: Vec<bool> = lengths.iter().flat_map(|n| (0..tokens).map(move |t| t >= *n)).collect();
        Tensor::<B, 2, Bool>::from_data(TensorData::new(hidden, [batch, tokens]), &device)
    });
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(flat, [batch, tokens]), &device);
    let hidden = model.hidden_padded(ids, padding);
    let [_, _, size] = hidden.dims();
    let logits = model.logits(hidden.reshape([batch * tokens, size]));
    let [_, vocabulary] = logits.dims();
    let flat: Vec<f32> = logits.into_data().to_vec().unwrap();
    let rows: Vec<Vec<f32>> = flat.chunks(vocabulary).map(<[f32]>::to_vec).collect();
    rows.chunks(tokens).map(<[Vec<f32>]>::to_vec).collect()
}

fn assert_close(found: &[Vec<f32>], expected: &Value, what: &str) {
    let expected: Vec<Vec<f64>> = serde_json::from_value(expected.clone()).unwrap();
    assert!(found.len() >= expected.len(), "{what}: positions");
    let largest = expected.iter().flatten().fold(0.0f64, |largest, x| largest.max(x.abs()));
    for (position, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}: vocabulary");
        for (found, expected) in found.iter().zip(expected) {
            let difference = (f64::from(*found) - expected).abs();
            assert!(difference <= TOLERANCE * largest, "{what} at {position}: {found} {expected}");
        }
    }
}

fn logits_equal_transformers<B: NeoBackend>() {
    for name in ["window", "uneven", "half", "bfloat", "sharded", "pickle", "buffers"] {
        let expected = expected(name);
        let found = logits(&load::<B>(name), &[ids(&expected["input_ids"])], None);
        assert_close(&found[0], &expected["logits"], name);
    }
}

#[test]
fn logits_equal_transformers_on_flex() {
    logits_equal_transformers::<Flex>();
}

#[test]
fn logits_equal_transformers_on_ndarray() {
    logits_equal_transformers::<NdArray>();
}

#[test]
fn pickled_shards_keep_the_numbers_of_their_layers() {
    let expected = expected("sharded");
    let found = logits(&load::<Flex>("pickled_shards"), &[ids(&expected["input_ids"])], None);
    assert_close(&found[0], &expected["logits"], "pickled_shards");
}

#[test]
fn padding_changes_no_real_position() {
    let expected = &expected("window")["right_padded"];
    let rows: Vec<Vec<u32>> = expected["input_ids"].as_array().unwrap().iter().map(ids).collect();
    let lengths: Vec<usize> = serde_json::from_value(expected["lengths"].clone()).unwrap();
    let found = logits(&load::<Flex>("window"), &rows, Some(&lengths));
    for (row, found) in found.iter().enumerate() {
        assert_close(found, &expected["logits"][row], &format!("row {row}"));
    }
}

#[test]
fn greedy_continuations_equal_transformers() {
    let config =
        |new| GenerationConfig { max_new_tokens: new, sampling: Default::default(), end_tokens: Vec::new() };
    for name in ["window", "uneven", "half", "bfloat"] {
        let expected = expected(name);
        let continuation = ids(&expected["greedy_ids"]);
        let prompt = ids(&expected["input_ids"]);
        let model = load::<Flex>(name);
        let found = generate(&model, &[prompt], &config(continuation.len()), |_, _| {}).unwrap();
        assert_eq!(found[0].ids, continuation, "{name}");
    }
    let expected = &expected("window")["left_padded"];
    let prompts: Vec<Vec<u32>> = expected["prompts"].as_array().unwrap().iter().map(ids).collect();
    let continuations: Vec<Vec<u32>> = expected["greedy_ids"].as_array().unwrap().iter().map(ids).collect();
    let found =
        generate(&load::<Flex>("window"), &prompts, &config(continuations[0].len()), |_, _| {}).unwrap();
    let found: Vec<Vec<u32>> = found.into_iter().map(|generation| generation.ids).collect();
    assert_eq!(found, continuations);
}

fn adapters_equal_peft<B: NeoBackend>() {
    for name in ["adapter_qv", "adapter_all"] {
        let expected = expected(name);
        let prompt = [ids(&expected["input_ids"])];
        let base = load::<B>("window");
        let (model, config) = load_adapter(base, &fixture(name), &Default::default()).unwrap();
        let (trainable, _) = count_parameters(&model);
        assert_eq!(trainable as u64, expected["adapter_parameters"].as_u64().unwrap(), "{name}");
        assert_close(&logits(&model, &prompt, None)[0], &expected["logits"], name);

        let merged = adapter::merge(model.clone());
        assert_close(&logits(&merged, &prompt, None)[0], &expected["merged_logits"], name);

        // What is saved is what was loaded, to the bit.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        save_adapter(&model, &config, "window", &path, &[]).unwrap();
        let (again, same) = load_adapter(load::<B>("window"), &path, &Default::default()).unwrap();
        assert_eq!(config, same);
        assert_eq!(logits(&again, &prompt, None), logits(&model, &prompt, None), "{name}");
    }
}

#[test]
fn adapters_equal_peft_on_flex() {
    adapters_equal_peft::<Flex>();
}

#[test]
fn adapters_equal_peft_on_ndarray() {
    adapters_equal_peft::<NdArray>();
}

#[test]
fn a_fresh_adapter_changes_nothing_and_comes_off_again() {
    let device = Default::default();
    let base = load::<Flex>("window");
    let prompt = [ids(&expected("window")["input_ids"])];
    let before = logits(&base, &prompt, None);
    let adapted = adapter::attach(base, &Default::default(), &device).unwrap();
    assert_eq!(logits(&adapted, &prompt, None), before);
    let (model, _) = load_adapter(adapted, &fixture("adapter_qv"), &device).unwrap();
    assert_ne!(logits(&model, &prompt, None), before);
    assert_eq!(logits(&detach(model), &prompt, None), before);
}

#[test]
fn the_recipe_trains_its_known_number_of_parameters() {
    let text = include_str!("../../tests/fixtures/window/config.json");
    let mut map: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    for (field, value) in [
        ("hidden_size", 768),
        ("num_layers", 12),
        ("num_heads", 12),
        ("vocab_size", 50257),
        ("max_position_embeddings", 2048),
    ] {
        map.insert(field.into(), value.into());
    }
    map.remove("attention_layers");
    map.insert("intermediate_size".into(), Value::Null);
    map.insert("attention_types".into(), serde_json::json!([[["global", "local"], 6]]));
    let config = crate::GptNeoConfig::from_json(map).unwrap();
    let model = GptNeo::<Flex>::init(&config, &Default::default());
    assert_eq!(count_parameters(&model).1, 125_198_592);
    let adapted = adapter::attach(model, &crate::LoraConfig::default(), &Default::default()).unwrap();
    assert_eq!(count_parameters(&adapted), (589_824, 125_788_416));
}

#[test]
fn a_saved_model_loads_the_same() {
    let model = load::<Flex>("uneven");
    let folder = tempfile::tempdir().unwrap();
    // Half the distance between neighbouring numbers of the type, relative to the number.
    for (dtype, rounding) in [(Dtype::F32, 0.0), (Dtype::F16, 2f32.powi(-11)), (Dtype::Bf16, 2f32.powi(-8))] {
        let path = folder.path().join("model");
        save_model(&model, &path, dtype, &[("extra.txt".into(), b"text".to_vec())]).unwrap();
        assert_eq!(std::fs::read(path.join("extra.txt")).unwrap(), b"text");
        let again = load_model::<Flex>(&path, &Default::default()).unwrap();
        for ((path, _, before), (_, _, after)) in model.linears().zip(again.linears()) {
            let [before, after] = [before, after].map(|linear| linear.weight.val().into_data());
            for (before, after) in before.iter::<f32>().zip(after.iter::<f32>()) {
                // Below f16's normal range the distance is fixed.
                let close = (before - after).abs() <= rounding * before.abs().max(6.2e-5);
                assert!(close, "{dtype:?} {path}: {before} {after}");
            }
        }
    }
}

#[test]
fn a_model_saved_in_shards_loads_the_same() {
    let model = load::<Flex>("uneven");
    let prompt = [ids(&expected("uneven")["input_ids"])];
    let before = logits(&model, &prompt, None);
    let folder = tempfile::tempdir().unwrap();
    // The embedding, 400 x 48, is larger than the limit in both types and has a file of its own.
    for (dtype, files) in [(Dtype::F32, 11), (Dtype::F16, 5)] {
        let path = folder.path().join(dtype.torch_name());
        let format = SaveFormat { dtype, max_shard_size: Some("30KB".parse().unwrap()) };
        save_model(&model, &path, format, &[]).unwrap();
        let index: Value =
            serde_json::from_str(&std::fs::read_to_string(path.join(INDEX_FILE)).unwrap()).unwrap();
        let weights = weight_files(&path).unwrap();
        assert_eq!(weights.len(), files, "{weights:?}");
        assert!(weights[0].ends_with(format!("model-00001-of-{files:05}.safetensors")), "{weights:?}");
        let bytes = if dtype == Dtype::F32 { 4 } else { 2 };
        assert_eq!(index["metadata"]["total_size"], model.num_params() * bytes);
        let large = &index["weight_map"]["transformer.wte.weight"];
        let names = index["weight_map"].as_object().unwrap();
        assert_eq!(names.values().filter(|file| *file == large).count(), 1, "{index}");
        for file in &weights {
            let size = std::fs::metadata(file).unwrap().len();
            // Names and shapes come before the numbers.
            let allowed = file.ends_with(large.as_str().unwrap()) || size < 30_000 + 2_000;
            assert!(allowed, "{}: {size}", file.display());
        }
        let again = logits(&load_model::<Flex>(&path, &Default::default()).unwrap(), &prompt, None);
        assert_eq!(again == before, dtype == Dtype::F32);
    }
    // One file, and no index, where everything fits.
    let path = folder.path().join("whole");
    let format = SaveFormat { dtype: Dtype::F32, max_shard_size: Some("1GB".parse().unwrap()) };
    save_model(&model, &path, format, &[]).unwrap();
    assert_eq!(weight_files(&path).unwrap(), [path.join(WHOLE_FILE)]);
    assert!(!path.join(INDEX_FILE).exists());
}

/// In half, what is rounded on the way in is what rounding afterwards gives; the check looks at what is held.
#[test]
fn half_weights_are_loaded_as_they_will_be_kept() {
    let (folder, device) = (fixture("window"), Default::default());
    let loaded = load_model_for::<Flex>(WeightFormat::F16, &folder, &device).unwrap();
    assert_eq!(loaded.transformer.wte.weight.val().dtype(), DType::F16);
    check_loaded(&loaded, &folder).unwrap();
    let loaded = loaded.with_weights(WeightFormat::F16);
    let whole = load::<Flex>("window");
    check_loaded(&whole, &folder).unwrap();
    let halved = whole.clone().with_weights(WeightFormat::F16);
    assert!(halved.linears().all(|(_, _, linear)| linear.weight.val().dtype() == DType::F16));
    assert_eq!(halved.head_weight().dtype(), DType::F16);
    let prompt = [ids(&expected("window")["input_ids"])];
    let [loaded, halved, exact] = [&loaded, &halved, &whole].map(|model| logits(model, &prompt, None));
    assert_eq!(loaded, halved);
    let pairs = || halved.iter().flatten().flatten().zip(exact.iter().flatten().flatten());
    let off = pairs().map(|(half, exact)| (half - exact).abs()).fold(0.0, f32::max);
    let largest = pairs().map(|(_, exact)| exact.abs()).fold(0.0, f32::max);
    // 11 bits, and scores that magnify what is lost.
    assert!(off > 0.0 && off < 1e-2 * largest, "{off} of {largest}");

    let mut damaged = whole;
    damaged.transformer.wpe.weight = damaged.transformer.wpe.weight.map(|table| table + 1e-3);
    let message = check_loaded(&damaged, &folder).unwrap_err().to_string();
    assert!(message.contains("transformer.wpe.weight") && message.contains("the backend flex"), "{message}");
}

/// Copies a fixture and lets `change` spoil it; returns what loading it says.
fn spoiled(name: &str, change: impl FnOnce(&std::path::Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    change(folder.path());
    let error: ModelError = load_model::<Flex>(folder.path(), &Default::default()).unwrap_err();
    error.to_string()
}

#[test]
fn bad_folders_are_refused_with_every_reason() {
    let edit = |field: &'static str, value: Value| {
        move |folder: &std::path::Path| {
            let path = folder.join("config.json");
            let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            config[field] = value;
            std::fs::write(path, config.to_string()).unwrap();
        }
    };
    let message = spoiled("half", |folder| std::fs::remove_file(folder.join("model.safetensors")).unwrap());
    assert!(message.contains("no weights"), "{message}");
    let message = spoiled("half", |folder| {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(message.contains("model.safetensors") && message.contains("cut short"), "{message}");
    let message = spoiled("half", edit("intermediate_size", 100.into()));
    for key in ["h.0.mlp.c_fc.weight", "h.1.mlp.c_proj.weight", "h.1.mlp.c_fc.bias"] {
        assert!(message.contains(key) && message.contains("expected shape"), "{key}: {message}");
    }
    let message = spoiled("half", |folder| {
        edit("num_layers", 3.into())(folder);
        edit("attention_types", serde_json::json!([[["global"], 3]]))(folder);
        edit("attention_layers", serde_json::json!(["global", "global", "global"]))(folder);
    });
    assert!(message.contains("transformer.h.2.ln_1.weight: missing"), "{message}");
    let message = spoiled("half", |folder| {
        edit("num_layers", 1.into())(folder);
        edit("attention_types", serde_json::json!([[["global"], 1]]))(folder);
        edit("attention_layers", serde_json::json!(["global"]))(folder);
    });
    assert!(message.contains("transformer.h.1.ln_1.weight: unexpected"), "{message}");
    let message = spoiled("half", edit("tie_word_embeddings", false.into()));
    assert!(message.contains("lm_head.weight"), "{message}");
    let message = spoiled("sharded", |folder| {
        let shard = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        let shard = shard.filter(|path| path.to_string_lossy().contains("-of-")).min().unwrap();
        std::fs::remove_file(shard).unwrap();
    });
    assert!(message.contains("00001-of-"), "{message}");
}

#[test]
fn adapters_of_unknown_kinds_are_refused_by_name() {
    for (field, value) in [
        ("lora_bias", Value::Bool(true)),
        ("bias", "all".into()),
        ("rank_pattern", serde_json::json!({"(q|v_proj": 8})),
        ("modules_to_save", serde_json::json!(["wte"])),
        ("peft_type", "IA3".into()),
        ("target_modules", serde_json::json!(["q_proj", "wte"])),
        ("r", 0.into()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter_config.json");
        let text = std::fs::read_to_string(fixture("adapter_qv").join("adapter_config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config[field] = value;
        std::fs::write(path, config.to_string()).unwrap();
        let model = load::<Flex>("window");
        let error = load_adapter(model, folder.path(), &Default::default()).unwrap_err().to_string();
        let word = if field == "target_modules" { "wte" } else { field };
        assert!(error.contains(word), "{field}: {error}");
    }
    // The adapter of another base: every tensor is named.
    let error = load_adapter(load::<Flex>("uneven"), &fixture("adapter_qv"), &Default::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("h.0.attn.attention.q_proj.lora_A.weight: expected shape"), "{error}");
    assert!(error.contains("h.3.attn.attention.v_proj.lora_B.weight: unexpected"), "{error}");
}
