//! Adapters as PEFT writes them in all their ways, on the fixtures of `tests/fixtures/peft`, which
//! `tests/reference/adapters.py` made for the model `window`.
//!
//! Each token's loss is compared within 1e-4: it rests on all logits of its position, of which the largest is about
//! 10, and these agree within 1e-5 of that. An alpha that is off by one moves losses by more than 1e-2.

use super::*;
use crate::{LoraConfig, ModuleName};

const VARIANTS: [&str; 7] =
    ["patterns", "patterns_rslora", "all_linear", "paths", "layers", "excluded", "pickled"];

fn folder(variant: &str) -> PathBuf {
    fixture("peft").join(variant)
}

fn losses<B: NeoBackend>(model: &GptNeo<B>, prompt: &[u32]) -> Vec<f64> {
    let logits = logits(model, &[prompt.to_vec()], None).remove(0);
    token_losses(&logits, prompt)
}

/// The negative log-likelihood of each token after the first.
pub(super) fn token_losses(logits: &[Vec<f32>], ids: &[u32]) -> Vec<f64> {
    let loss = |logits: &Vec<f32>, id: u32| {
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        sum.ln() - f64::from(logits[id as usize])
    };
    logits.iter().zip(&ids[1..]).map(|(logits, id)| loss(logits, *id)).collect()
}

/// The largest difference from the numbers in `expected`.
pub(super) fn distance(found: &[f64], expected: &Value) -> f64 {
    let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f64::max)
}

fn adapted(variant: &str) -> (GptNeo<Flex>, LoraConfig) {
    load_adapter(load::<Flex>("window"), &folder(variant), &Default::default()).unwrap()
}

#[test]
fn every_variant_computes_what_peft_does() {
    for variant in VARIANTS {
        let expected = expected(&format!("peft/{variant}"));
        let prompt = ids(&expected["input_ids"]);
        let (model, _) = adapted(variant);
        assert_eq!(expected["adapter_parameters"], count_parameters(&model).0, "{variant}");
        let off = distance(&losses(&model, &prompt), &expected["nll"]);
        assert!(off < 1e-4, "{variant}: {off}");
        let merged = distance(&losses(&adapter::merge(model.clone()), &prompt), &expected["nll"]);
        assert!(merged < 1e-4, "{variant} merged: {merged}");
        let continuation = ids(&expected["greedy_ids"]);
        let config = GenerationConfig {
            max_new_tokens: continuation.len(),
            sampling: Default::default(),
            end_tokens: Vec::new(),
        };
        let found = generate(&model, &[prompt], &config, |_, _| {}).unwrap();
        assert_eq!(found[0].ids, continuation, "{variant}");
    }
}

#[test]
fn an_adapter_saved_again_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let prompt = ids(&expected("window")["input_ids"]);
    for variant in VARIANTS {
        let (model, config) = adapted(variant);
        let path = folder.path().join(variant);
        save_adapter(&model, &config, "window", &path, &[]).unwrap();
        let (again, same) = load_adapter(load::<Flex>("window"), &path, &Default::default()).unwrap();
        assert_eq!(same, config, "{variant}");
        assert_eq!(losses(&again, &prompt), losses(&model, &prompt), "{variant}");
    }
    let written = std::fs::read_to_string(folder.path().join("patterns/adapter_config.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["alpha_pattern"]["0.mlp.c_fc"], 1.0);
    assert_eq!(written["rank_pattern"]["h.1.attn.attention.q_proj"], 1);
}

#[test]
fn ranks_and_alphas_are_the_layers_own() {
    let (_, config) = adapted("patterns_rslora");
    let path = "transformer.h.2.attn.attention.out_proj";
    assert_eq!((config.rank(path), config.scale(path)), (5, 4.0 / 5f64.sqrt()));
    let path = "transformer.h.0.mlp.c_proj";
    assert_eq!((config.rank(path), config.scale(path)), (2, 7.0 / 2f64.sqrt()));
    let path = "transformer.h.0.mlp.c_fc";
    assert_eq!((config.rank(path), config.scale(path)), (3, 4.0 / 3f64.sqrt()));
}

#[test]
fn settings_that_name_no_layer_are_refused() {
    let name = |text: &str| text.parse::<ModuleName>().unwrap();
    let attach = |config: LoraConfig| {
        adapter::attach(load::<Flex>("window"), &config, &Default::default()).unwrap_err().to_string()
    };
    let message = attach(LoraConfig { target_modules: vec![name("h.4.mlp.c_fc")], ..Default::default() });
    assert!(message.contains("target_modules: h.4.mlp.c_fc") && message.contains("4 blocks"), "{message}");
    let rank_pattern = [(name("c_fc"), 3)].into();
    let message = attach(LoraConfig { rank_pattern, ..Default::default() });
    assert!(message.contains("rank_pattern: c_fc"), "{message}");
    let alpha_pattern = [(name("q_proj"), f64::NAN)].into();
    let message = attach(LoraConfig { alpha_pattern, ..Default::default() });
    assert!(message.contains("alpha_pattern: q_proj is NaN"), "{message}");
}

/// Losses and rows of the merged weights of an adapter with DoRA, on layers with and without a bias. A weight of about 0.1
/// is rounded by some 1e-8; a forgotten length moves it by a tenth.
#[test]
fn dora_computes_and_merges_as_peft_does() {
    let expected = expected("adapter_dora");
    let prompt = ids(&expected["input_ids"]);
    let check = |model: &GptNeo<Flex>, what: &str| {
        let off = distance(&losses(model, &prompt), &expected["nll"]);
        assert!(off < 1e-4, "{what}: {off}");
    };
    let (model, config) =
        load_adapter(load::<Flex>("window"), &fixture("adapter_dora"), &Default::default()).unwrap();
    assert!(config.use_dora);
    assert_eq!(expected["adapter_parameters"], count_parameters(&model).0);
    check(&model, "beside its base");
    let merged = adapter::merge(model.clone());
    check(&merged, "merged");
    for (path, _, linear) in merged.linears() {
        let weight = linear.weight.val();
        let [rows, _] = weight.dims();
        let row: Vec<f32> = weight.narrow(0, rows - 1, 1).into_data().to_vec().unwrap();
        let theirs: Vec<f32> =
            serde_json::from_value(expected["merged_rows"][format!("{path}.weight")].clone()).unwrap();
        for (ours, theirs) in row.iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-6, "{path}: {ours} {theirs}");
        }
    }
    // On the other backend, and saved again.
    let ndarray = load_adapter(load::<NdArray>("window"), &fixture("adapter_dora"), &Default::default());
    let off = distance(&losses(&ndarray.unwrap().0, &prompt), &expected["nll"]);
    assert!(off < 1e-4, "ndarray: {off}");
    let folder = tempfile::tempdir().unwrap();
    save_adapter(&model, &config, "window", &folder.path().join("again"), &[]).unwrap();
    let (again, same) =
        load_adapter(load::<Flex>("window"), &folder.path().join("again"), &Default::default()).unwrap();
    assert_eq!((same, losses(&again, &prompt)), (config, losses(&model, &prompt)));
}

/// A fresh adapter leaves its base as it is, with dropout as without: what dropout takes from one product it gives to the
/// other.
#[test]
fn fresh_dora_changes_nothing() {
    use burn::module::AutodiffModule;
    use burn_autodiff::Autodiff;
    let config = LoraConfig { use_dora: true, dropout: 0.5, ..LoraConfig::default() };
    let prompt = ids(&expected("window")["input_ids"]);
    let base = losses(&load::<Flex>("window"), &prompt);
    let device = Default::default();
    let fresh = adapter::attach(load::<Autodiff<Flex>>("window"), &config, &device).unwrap();
    for (fresh, base) in losses(&fresh, &prompt).iter().zip(&base) {
        assert!((fresh - base).abs() < 1e-4, "{fresh} {base}");
    }
    // Over a base in bf16 its lengths are f32 as all that is trained; rows of bf16 are as long but for rounding.
    let packed = load::<Flex>("window").with_base_weights(crate::WeightFormat::Bf16);
    let fresh =
        adapter::attach(crate::GptNeo::<Autodiff<Flex>>::from_inner(packed.clone()), &config, &device)
            .unwrap();
    for (fresh, base) in losses(&fresh, &prompt).iter().zip(&losses(&packed, &prompt)) {
        assert!((fresh - base).abs() < 1e-4, "{fresh} {base}");
    }
    let packed = load::<Flex>("window").with_base_weights(crate::WeightFormat::Int8);
    let message = adapter::attach(packed, &config, &device).unwrap_err().to_string();
    assert!(message.contains("int8") && message.contains("use_dora"), "{message}");
    let apart = adapter::Adapter::load(&load::<Flex>("window"), &fixture("adapter_dora"), &device).unwrap();
    let message = apart.check("dora", &load::<Flex>("window")).unwrap_err().to_string();
    assert!(message.contains("DoRA") && message.contains("merge"), "{message}");
}
