//! The same weights in the layouts that people's folders have: names, heads, number types, and the views and forms of
//! PyTorch's pickles, on `tests/fixtures/layouts`, which `tests/reference/layouts.py` made from the model `sharded`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype as FileDtype, TensorView};

use super::*;
use crate::checkpoint::note_on_weights;
use crate::{GptNeoConfig, LoraConfig, Target};

const EMBEDDING: &str = "transformer.wte.weight";
const HEAD: &str = "lm_head.weight";

/// Tensors by name: shape and numbers.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The weights of the model `half` as float32.
fn tensors() -> Tensors {
    let model = load::<Flex>("half");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save_model(&model, &path, Dtype::F32, &[]).unwrap();
    read(&path.join(WHOLE_FILE))
}

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let tensor = |view: &TensorView<'_>| (view.shape().to_vec(), numbers(view.data()));
    file.iter().map(|(name, view)| (name.to_string(), tensor(&view))).collect()
}

fn write(path: &Path, tensors: &Tensors, dtype: FileDtype) {
    let bytes = |numbers: &[f32]| -> Vec<u8> {
        match dtype {
            FileDtype::F64 => numbers.iter().flat_map(|number| f64::from(*number).to_le_bytes()).collect(),
            FileDtype::F16 => {
                numbers.iter().flat_map(|number| half::f16::from_f32(*number).to_le_bytes()).collect()
            }
            _ => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        }
    };
    let data: Vec<_> = tensors.iter().map(|(name, (shape, numbers))| (name, shape, bytes(numbers))).collect();
    let views = data
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(dtype, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// A folder with the configuration of `half` and these weights.
fn folder(tensors: &Tensors, dtype: FileDtype) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("half").join("config.json"), folder.path().join("config.json")).unwrap();
    write(&folder.path().join(WHOLE_FILE), tensors, dtype);
    folder
}

fn loaded(folder: &tempfile::TempDir) -> Result<GptNeo<Flex>, String> {
    load_model(folder.path(), &Default::default()).map_err(|error| error.to_string())
}

fn note(folder: &tempfile::TempDir) -> Option<String> {
    note_on_weights(&GptNeoConfig::from_folder(folder.path()).unwrap(), folder.path()).unwrap()
}

fn prompt() -> Vec<Vec<u32>> {
    vec![ids(&expected("half")["input_ids"])]
}

fn assert_is_half(model: &GptNeo<Flex>, what: &str) {
    assert_close(&logits(model, &prompt(), None)[0], &expected("half")["logits"], what);
}

#[test]
fn views_of_pickles_are_read_as_they_are_seen() {
    for name in ["strided.bin", "fused-old-form.bin"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("sharded").join("config.json"), folder.path().join("config.json")).unwrap();
        std::fs::copy(fixture("layouts").join(name), folder.path().join("pytorch_model.bin")).unwrap();
        let expected = expected("sharded");
        let found = logits(&loaded(&folder).unwrap(), &[ids(&expected["input_ids"])], None);
        assert_close(&found[0], &expected["logits"], name);
    }
}

#[test]
fn a_damaged_pickle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("sharded").join("config.json"), folder.path().join("config.json")).unwrap();
    let whole = std::fs::read(fixture("layouts").join("strided.bin")).unwrap();
    let mut flipped = whole.clone();
    // Within the embedding, which is the first storage and has 25,600 bytes.
    flipped[10_000] ^= 4;
    for (bytes, word) in [(whole[..whole.len() / 2].to_vec(), "damaged"), (flipped, "checksum")] {
        std::fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
        let message = loaded(&folder).unwrap_err();
        assert!(message.contains(word) && message.contains("pytorch_model.bin"), "{word}: {message}");
    }
}

#[test]
fn gelu_in_the_form_of_the_error_function_equals_transformers() {
    let path = fixture("layouts").join("gelu.json");
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut map: serde_json::Map<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(fixture("sharded").join("config.json")).unwrap())
            .unwrap();
    map.insert("activation_function".into(), "gelu".into());
    let config = GptNeoConfig::from_json(map).unwrap();
    let model = crate::checkpoint::load_model_of::<Flex>(
        &config,
        WeightFormat::F32,
        &fixture("sharded"),
        &Default::default(),
    );
    let found = logits(&model.unwrap(), &[ids(&expected["input_ids"])], None).remove(0);
    let kept = expected["logits"].as_array().unwrap().len();
    assert_close(&found[found.len() - kept..], &expected["logits"], "gelu");
    let tanh = logits(&load::<Flex>("sharded"), &[ids(&expected["input_ids"])], None).remove(0);
    assert_ne!(tanh.last(), found.last());
}

#[test]
fn a_backbone_alone_and_wider_numbers_are_the_same_model() {
    let all = tensors();
    let bare = |name: &String| name.strip_prefix("transformer.").unwrap_or(name).to_string();
    let backbone: Tensors = all.iter().map(|(name, tensor)| (bare(name), tensor.clone())).collect();
    for (tensors, dtype) in [(&backbone, FileDtype::F32), (&all, FileDtype::F64), (&all, FileDtype::F16)] {
        let folder = folder(tensors, dtype);
        assert_is_half(&loaded(&folder).unwrap(), &format!("{dtype:?}"));
        assert_eq!(note(&folder), None);
    }
}

#[test]
fn of_a_tied_pair_either_is_enough_and_a_head_that_differs_is_kept() {
    let mut all = tensors();
    let table = all.remove(EMBEDDING).unwrap();
    all.insert(HEAD.into(), table.clone());
    assert_is_half(&loaded(&folder(&all, FileDtype::F32)).unwrap(), "the head alone");
    all.insert(EMBEDDING.into(), table);
    let both = loaded(&folder(&all, FileDtype::F32)).unwrap();
    assert!(both.lm_head.is_none());
    assert_is_half(&both, "both");

    all.get_mut(HEAD).unwrap().1.iter_mut().for_each(|number| *number *= 2.0);
    let differing = folder(&all, FileDtype::F32);
    assert!(note(&differing).unwrap().contains("tie_word_embeddings"));
    let model = loaded(&differing).unwrap();
    check_loaded(&model, differing.path()).unwrap();
    let [doubled, plain] = [&model, &both].map(|model| logits(model, &prompt(), None)[0].concat());
    assert!(
        doubled.iter().zip(plain).all(|(doubled, plain)| (doubled - 2.0 * plain).abs() < 1e-4),
        "the head is used"
    );
    // And it is in what is saved.
    let again = tempfile::tempdir().unwrap();
    let path = again.path().join("model");
    save_model(&model, &path, Dtype::F32, &[]).unwrap();
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(path.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["tie_word_embeddings"], false);
    assert_eq!(read(&path.join(WHOLE_FILE)), all);
}

#[test]
fn other_heads_are_noted_and_whatever_belongs_to_the_network_is_not_dropped() {
    let mut all = tensors();
    all.insert("v_head.summary.weight".into(), (vec![1, 2], vec![1.0, 2.0]));
    all.insert("score.weight".into(), (vec![1], vec![1.0]));
    let with_others = folder(&all, FileDtype::F32);
    let note = note(&with_others).unwrap();
    assert!(note.contains("score.weight, v_head.summary.weight"), "{note}");
    assert_is_half(&loaded(&with_others).unwrap(), "with other heads");
    for name in ["transformer.h.7.ln_1.weight", "lm_head.bias", "transformer.h.0.mlp.c_fc.lora_A.weight"] {
        let mut more = all.clone();
        more.insert(name.into(), (vec![1], vec![1.0]));
        let message = loaded(&folder(&more, FileDtype::F32)).unwrap_err();
        assert!(message.contains(&format!("{name}: unexpected")), "{message}");
    }
    let strange = "x\u{1b}[31m".repeat(50);
    all.insert(format!("transformer.{strange}"), (vec![1], vec![1.0]));
    let message = loaded(&folder(&all, FileDtype::F32)).unwrap_err();
    assert!(!message.contains('\u{1b}') && message.len() < 400, "{message}");
}

/// An adapter of `half` on one layer, its matrices under these keys.
fn adapter(keys: [&str; 2], more: Option<&str>, dtype: FileDtype) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = serde_json::json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4,
        "target_modules": r".*\.h\.1\..*\.q_proj"});
    std::fs::write(folder.path().join(adapter::CONFIG_FILE), settings.to_string()).unwrap();
    let numbers = |count: usize| (0..count).map(|index| index as f32 / 64.0 - 0.5).collect();
    let mut tensors = Tensors::from([
        (keys[0].to_string(), (vec![2, 32], numbers(64))),
        (keys[1].to_string(), (vec![32, 2], numbers(64))),
    ]);
    tensors.extend(more.map(|name| (name.to_string(), (vec![1], vec![1.0]))));
    write(&folder.path().join(adapter::WEIGHTS_FILE), &tensors, dtype);
    folder
}

#[test]
fn an_adapters_matrices_are_read_under_each_of_their_keys_and_types() {
    let path = Target::QProj.path(1);
    let peft = ['A', 'B'].map(|matrix| format!("base_model.model.{path}.lora_{matrix}.weight"));
    let load = |folder: &tempfile::TempDir| -> Result<(GptNeo<Flex>, LoraConfig), String> {
        load_adapter(load::<Flex>("half"), folder.path(), &Default::default())
            .map_err(|error| error.to_string())
    };
    let (model, config) = load(&adapter([&peft[0], &peft[1]], None, FileDtype::F32)).unwrap();
    assert_eq!(config.target_modules, [path.parse().unwrap()]);
    let before = logits(&model, &prompt(), None);
    assert_ne!(before, logits(&super::load::<Flex>("half"), &prompt(), None));
    let named = peft.clone().map(|key| key.replace(".weight", ".default.weight"));
    let bare = peft.clone().map(|key| key.replace("base_model.model.transformer.", ""));
    for (keys, dtype) in [(&named, FileDtype::F32), (&bare, FileDtype::F64), (&peft, FileDtype::F16)] {
        let (model, _) = load(&adapter([&keys[0], &keys[1]], None, dtype)).unwrap();
        assert_eq!(logits(&model, &prompt(), None), before, "{keys:?} {dtype:?}");
    }
    for (name, word) in [
        ("base_model.model.lm_head.weight", "merge_and_unload"),
        ("base_model.model.transformer.wte.weight", "merge_and_unload"),
        ("base_model.model.model.embed_tokens.weight", "merge_and_unload"),
        (named[0].as_str(), "as well"),
        ("something.else", "unexpected"),
    ] {
        let message = load(&adapter([&peft[0], &peft[1]], Some(name), FileDtype::F32)).unwrap_err();
        assert!(message.contains(word) && message.contains(name), "{name}: {message}");
    }
}
