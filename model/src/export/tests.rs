//! What is exported against GPT-2 itself, computed in f64 from the written files; what is read back; what is refused.

mod gpt2_in_f64;

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use gptneo_gguf::{Metadata, TensorType, Value};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

use self::gpt2_in_f64::Gpt2;
use super::*;
use crate::checkpoint::load_model;
use crate::{GptNeoConfig, LoraConfig, adapter};

type Model = GptNeo<Flex>;

fn fixture(name: &str) -> Model {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name);
    load_model(&path, &Default::default()).unwrap()
}

/// Head size 10, three layers, window 7, a head and a feed-forward size of its own: nothing of it is a power of two.
fn odd() -> Model {
    random(json!({
        "vocab_size": 83, "hidden_size": 30, "intermediate_size": 50, "num_layers": 3, "num_heads": 3,
        "max_position_embeddings": 21, "attention_types": [[["local", "global", "local"], 1]], "window_size": 7,
        "tie_word_embeddings": false
    }))
}

/// Matrices wide enough for scores to matter, the same each time: the backend's own generator is that of all tests.
fn random(config: Json) -> Model {
    struct Draw(ChaCha8Rng);
    impl ModuleMapper<Flex> for Draw {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<Flex, D>>) -> Param<Tensor<Flex, D>> {
            if D == 1 {
                return param;
            }
            param.map(|tensor| {
                let shape = tensor.shape();
                let values: Vec<f32> =
                    (0..shape.num_elements()).map(|_| self.0.random_range(-0.5..0.5)).collect();
                Tensor::from_data(TensorData::new(values, shape), &tensor.device())
            })
        }
    }
    let config = GptNeoConfig::from_json(config.as_object().unwrap().clone()).unwrap();
    Model::init(&config, &Default::default()).map(&mut Draw(ChaCha8Rng::seed_from_u64(5)))
}

fn tokens(model: &Model, count: usize) -> Vec<usize> {
    (0..count).map(|index| (index * 31 + 7) % model.config().vocab_size).collect()
}

fn logits(model: &Model, ids: &[usize]) -> Vec<Vec<f64>> {
    let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    let count = ids.len();
    let ids = Tensor::<Flex, 2, Int>::from_data(TensorData::new(ids, [1, count]), &Default::default());
    let rows = model.logits(model.hidden(ids).squeeze_dim(0)).into_data();
    let values: Vec<f64> = rows.iter::<f64>().collect();
    values.chunks(model.config().vocab_size).map(<[f64]>::to_vec).collect()
}

/// The largest difference, as a share of the largest logit.
fn off(left: &[Vec<f64>], right: &[Vec<f64>]) -> f64 {
    let pairs = left.iter().flatten().zip(right.iter().flatten());
    let difference = pairs.map(|(left, right)| (left - right).abs()).fold(0.0, f64::max);
    difference / left.iter().flatten().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

fn written(model: &Model, positions: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_folder(model, positions, folder.path()).unwrap();
    folder
}

fn gguf(model: &Model, kind: GgufType, path: &Path) -> Stored {
    let metadata: Metadata = vec![("general.architecture".into(), "gpt2".into())];
    write_gguf(model, exact_positions(model.config()), kind, metadata, path).unwrap()
}

/// Sums in float32 against sums in float64: 1e-5 of the largest logit. A scale that is not folded, queries in the place
/// of keys or a matrix that is not transposed moves logits by more than a tenth.
#[test]
fn a_gpt2_of_the_written_folder_computes_what_the_model_does_up_to_the_window() {
    for (model, positions) in
        [(fixture("window"), 8), (fixture("uneven"), 5), (fixture("wide"), 64), (odd(), 7)]
    {
        assert_eq!(exact_positions(model.config()), positions);
        let ids = tokens(&model, positions);
        let expected = logits(&model, &ids);
        let folder = written(&model, positions);
        assert!(off(&expected, &Gpt2::open(folder.path()).logits(&ids)) < 1e-5);
        let read: Model = read_folder(folder.path(), &Default::default()).unwrap();
        assert!(off(&expected, &logits(&read, &ids)) < 1e-5);
    }
}

#[test]
fn beyond_the_window_it_is_another_model_and_up_to_it_the_same() {
    for model in [fixture("window"), odd()] {
        let window = model.config().window_size;
        let ids = tokens(&model, 2 * window);
        let expected = logits(&model, &ids);
        let folder = written(&model, 2 * window);
        let longer: Model = as_gpt2(&model, 2 * window, &Default::default()).unwrap();
        for found in [Gpt2::open(folder.path()).logits(&ids), logits(&longer, &ids)] {
            assert!(off(&expected[..window], &found[..window]) < 1e-5);
            assert!(off(&expected[window..], &found[window..]) > 1e-3);
        }
    }
}

#[test]
fn a_gguf_file_holds_the_same_network_in_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    // Every row of these matrices is a multiple of 32.
    let model = random(json!({
        "vocab_size": 90, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 9,
        "attention_types": [[["global", "local"], 1]], "window_size": 6, "layer_norm_epsilon": 1e-3
    }));
    let ids = tokens(&model, 6);
    let expected = logits(&model, &ids);
    // Half a step of the type, through two layers of products: 2^-11, and 1/254 of a block's largest weight.
    for (kind, least, most) in
        [(GgufType::F32, 0.0, 1e-5), (GgufType::F16, 1e-6, 5e-3), (GgufType::Q8_0, 1e-4, 1e-1)]
    {
        assert_eq!(gguf(&model, kind, &path), Stored { matrices: 9, in_f16_instead: 0 });
        let read: Model = read_gguf(&path, &Default::default()).unwrap();
        let found = off(&expected, &logits(&read, &ids));
        assert!(found >= least && found < most, "{kind}: {found}");
    }
}

#[test]
fn the_file_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let stored = gguf(&odd(), GgufType::Q8_0, &path);
    // No row of 30 or 50 is a multiple of 32: token embedding, head and four matrices in each of three layers.
    assert_eq!(stored, Stored { matrices: 0, in_f16_instead: 14 });
    let reader = gptneo_gguf::Reader::new(std::fs::File::open(&path).unwrap()).unwrap();
    for (name, value) in [
        ("general.architecture", Value::from("gpt2")),
        ("gpt2.context_length", 7_u32.into()),
        ("gpt2.embedding_length", 30_u32.into()),
        ("gpt2.block_count", 3_u32.into()),
        ("gpt2.feed_forward_length", 50_u32.into()),
        ("gpt2.attention.head_count", 3_u32.into()),
        ("gpt2.attention.layer_norm_epsilon", Value::F32(1e-5)),
        ("general.file_type", 7_u32.into()),
        ("general.quantization_version", 2_u32.into()),
    ] {
        assert_eq!(reader.value(name), Some(&value), "{name}");
    }
    let tensor = |name: &str| reader.tensors().find(|tensor| tensor.name == name).unwrap();
    for (name, shape, kind) in [
        ("token_embd.weight", vec![83, 30], TensorType::F16),
        ("position_embd.weight", vec![7, 30], TensorType::F32),
        ("blk.2.attn_norm.bias", vec![30], TensorType::F32),
        ("blk.0.attn_qkv.weight", vec![90, 30], TensorType::F16),
        ("blk.0.attn_qkv.bias", vec![90], TensorType::F32),
        ("blk.1.attn_output.weight", vec![30, 30], TensorType::F16),
        ("blk.1.ffn_up.weight", vec![50, 30], TensorType::F16),
        ("blk.1.ffn_down.weight", vec![30, 50], TensorType::F16),
        ("output_norm.weight", vec![30], TensorType::F32),
        ("output.weight", vec![83, 30], TensorType::F16),
    ] {
        assert_eq!((&tensor(name).shape, tensor(name).kind), (&shape, kind), "{name}");
    }
    // Three of the whole network, twelve a block, and the head.
    assert_eq!(reader.tensors().count(), 2 + 3 * 12 + 2 + 1);
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("window");
    for positions in [0, 1, 129] {
        let said = write_folder(&model, positions, folder.path()).unwrap_err().to_string();
        assert!(said.contains(&format!("{positions} positions; expected 2 to 128")), "{said}");
    }
    let adapted = adapter::attach(fixture("window"), &LoraConfig::default(), &Default::default()).unwrap();
    let said = write_folder(&adapted, 8, folder.path()).unwrap_err().to_string();
    assert!(said.contains("merge it before"), "{said}");
    let gelu = random(json!({
        "vocab_size": 20, "hidden_size": 8, "num_layers": 1, "num_heads": 2, "max_position_embeddings": 9,
        "attention_types": [[["global"], 1]], "activation_function": "gelu"
    }));
    let said = write_folder(&gelu, 8, folder.path()).unwrap_err().to_string();
    assert!(said.contains("activation_function is \"gelu\"") && said.contains("gelu_new"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn files_of_another_shape_than_they_say_are_refused() {
    let model = fixture("window");
    let folder = written(&model, 8);
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"n_positions\": 8", "\"n_positions\": 9")).unwrap();
    let said = read_folder::<Flex>(folder.path(), &Default::default()).unwrap_err().to_string();
    assert!(said.contains("wpe.weight: expected shape [9, 32], found [8, 32]"), "{said}");
    std::fs::write(&config, text.replace("gelu_new", "relu")).unwrap();
    let said = read_folder::<Flex>(folder.path(), &Default::default()).unwrap_err().to_string();
    assert!(said.contains("gpt2 with relu"), "{said}");

    let path = folder.path().join("model.gguf");
    gguf(&model, GgufType::F32, &path);
    let bytes = std::fs::read(&path).unwrap();
    let at = |text: &[u8]| bytes.windows(text.len()).position(|found| found == text).unwrap() + text.len();
    let mut longer = bytes.clone();
    // The value stands behind the kind.
    longer[at(b"gpt2.context_length") + 4] = 9;
    std::fs::write(&path, longer).unwrap();
    let said = read_gguf::<Flex>(&path, &Default::default()).unwrap_err().to_string();
    assert!(said.contains("position_embd.weight: expected shape [9, 32], found [8, 32]"), "{said}");
    std::fs::write(&path, &bytes[..bytes.len() - 32]).unwrap();
    let said = read_gguf::<Flex>(&path, &Default::default()).unwrap_err().to_string();
    assert!(said.contains("not a whole GGUF file"), "{said}");
}

#[test]
fn names_are_those_of_the_settings_and_an_unknown_one_is_refused_with_the_list() {
    for one in GgufType::ALL {
        assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
        assert_eq!(one.to_string().parse::<GgufType>().unwrap(), one);
    }
    let message = "q4_0".parse::<GgufType>().unwrap_err().to_string();
    assert_eq!(message, "type of a GGUF file is \"q4_0\"; expected f32 or f16 or q8_0");
}
