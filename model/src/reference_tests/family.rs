//! The other models of the family, by their shapes, on `tests/fixtures/family`, which `tests/reference/family.py` made.
//!
//! Each fixture holds the configuration at its full size, of which only the shape is looked at, and a small model
//! with its peculiarities: heads of 128 or 4, an odd number of them, a window of 256 in a longer text. The weights of
//! the small model come from a formula; the file the program loads is written here.

use safetensors::tensor::{Dtype as FileDtype, TensorView};
use serde_json::Map;

use super::peft::{distance, token_losses};
use super::*;
use crate::{AttentionKind, GptNeoConfig};

/// transformers in float32 differs from itself in float64 by up to 4e-5, at losses of about 50.
const TOLERANCE: f64 = 3e-4;

const MEMBERS: [&str; 4] = ["gpt-neo-1.3b", "gpt-neo-2.7b", "tinystories-1m", "tinystories-33m"];

fn member(name: &str) -> Value {
    let path = fixture("family").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn config(map: &Value) -> GptNeoConfig {
    GptNeoConfig::from_json(map.as_object().unwrap().clone()).unwrap()
}

/// `hashed` of `family.py`: weight `index` of tensor `number`, in [-1, 1).
fn hashed(number: u64, index: u64) -> f32 {
    let mut x = index + ((number + 1) << 40);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    ((x >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
}

/// The weights as `fill` of `family.py` makes them, as the bytes of a file.
fn weights(number: u64, name: &str, shape: &[usize]) -> Vec<u8> {
    let scale = |value: f32| match shape {
        [_] if name.contains(".ln_") && name.ends_with("weight") => 1.0 + 0.25 * value,
        [_] => 0.125 * value,
        _ if name.contains(".wte.") || name.contains(".wpe.") => 0.5 * value,
        _ => (f64::from(value) * (1.0 / (shape[1] as f64).sqrt())) as f32,
    };
    let count = shape.iter().product::<usize>() as u64;
    (0..count).flat_map(|index| scale(hashed(number, index)).to_le_bytes()).collect()
}

fn small_model(small: &Value, change: impl FnOnce(&mut Map<String, Value>)) -> GptNeo<Flex> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small["config"].as_object().unwrap().clone();
    change(&mut config);
    std::fs::write(folder.path().join("config.json"), Value::Object(config).to_string()).unwrap();
    let tensors: Vec<(String, Vec<usize>)> = serde_json::from_value(small["tensors"].clone()).unwrap();
    let bytes: Vec<Vec<u8>> =
        tensors.iter().zip(0..).map(|((name, shape), number)| weights(number, name, shape)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(FileDtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    load_model(folder.path(), &Default::default()).unwrap()
}

fn losses(model: &GptNeo<Flex>, small: &Value) -> (Vec<Vec<f32>>, Vec<f64>) {
    let prompt = ids(&small["input_ids"]);
    let logits = logits(model, std::slice::from_ref(&prompt), None).remove(0);
    let losses = token_losses(&logits, &prompt);
    (logits, losses)
}

#[test]
fn the_shapes_of_the_family_are_read_as_transformers_reads_them() {
    for name in MEMBERS {
        let member = member(name);
        let config = config(&member["config"]);
        let layers: Vec<AttentionKind> = serde_json::from_value(member["attention_layers"].clone()).unwrap();
        assert_eq!(config.attention_layers, layers, "{name}");
        assert_eq!(
            (config.window_size, config.vocab_size, config.max_position_embeddings),
            (256, 50257, 2048)
        );
        // Weights are drawn when they are first used; counting by their shapes makes none.
        let model = GptNeo::<Flex>::init(&config, &Default::default());
        assert_eq!(member["parameters"], count_parameters(&model).1, "{name}");
    }
    // Early files name the attention of each layer only by its types.
    let mut map = member("gpt-neo-2.7b")["config"].as_object().unwrap().clone();
    map.remove("attention_layers");
    assert_eq!(GptNeoConfig::from_json(map).unwrap().num_layers(), 32);
}

#[test]
fn small_models_of_the_family_compute_what_transformers_does() {
    for name in MEMBERS {
        let small = &member(name)["small"];
        let model = small_model(small, |_| ());
        let (logits, found) = losses(&model, small);
        let off = distance(&found, &small["nll"]);
        assert!(off < TOLERANCE, "{name}: {off}");
        let last: Vec<f64> = logits[logits.len() - 1].iter().take(8).map(|x| f64::from(*x)).collect();
        let off = distance(&last, &small["last_logits"]);
        assert!(off < TOLERANCE, "{name}: {off}");
    }
}

#[test]
fn the_prompt_reaches_beyond_the_window() {
    let small = &member("gpt-neo-1.3b")["small"];
    for window in [255, 257] {
        let model = small_model(small, |config| drop(config.insert("window_size".into(), window.into())));
        let (_, found) = losses(&model, small);
        let off = distance(&found, &small["nll"]);
        assert!(off > 1e-2, "a window of {window} is not seen: {off}");
    }
}
