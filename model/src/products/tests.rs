#![allow(clippy::unwrap_used)]
use burn::module::{AutodiffModule, Module, ModuleMapper};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::adapter::{attach, hand_over};
use crate::{GptNeoConfig, LoraConfig, NeoBackend, Target};

type Diff = Autodiff<Flex>;

/// The types, each with half a unit of its last place: the relative error of a rounding.
const HALVES: [(Precision, f64); 2] = [(Precision::F16, 1.0 / 2048.0), (Precision::Bf16, 1.0 / 256.0)];

/// A random model of f32 weights, all of them trained.
fn trained() -> GptNeo<Diff> {
    let value = serde_json::json!({
        "model_type": "gpt_neo",
        "vocab_size": 70, "hidden_size": 24, "num_layers": 2, "num_heads": 2, "max_position_embeddings": 32,
        "attention_types": [[["global", "local"], 1]], "window_size": 4, "initializer_range": 0.2,
    });
    let config = GptNeoConfig::from_json(value.as_object().unwrap().clone()).unwrap();
    GptNeo::init(&config, &Default::default()).map(&mut Fill(ChaCha8Rng::seed_from_u64(1)))
}

/// Draws every matrix anew: Burn's generator is shared by all tests, so that what it gives depends on their order.
struct Fill(ChaCha8Rng);

impl Fill {
    fn matrix<const D: usize>(&mut self, like: &Tensor<Diff, D>, largest: f32) -> Tensor<Diff, D> {
        let shape = like.shape();
        let values: Vec<f32> =
            (0..shape.num_elements()).map(|_| self.0.random_range(-largest..largest)).collect();
        Tensor::from_data(TensorData::new(values, shape), &like.device()).require_grad()
    }
}

impl ModuleMapper<Diff> for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<Diff, D>>) -> Param<Tensor<Diff, D>> {
        if D == 2 { param.map(|value| self.matrix(&value, 0.35)) } else { param }
    }
}

/// The same with a frozen base and an adapter that does something.
fn adapted() -> GptNeo<Diff> {
    let lora = LoraConfig {
        target_modules: vec![Target::VProj.into(), Target::CFc.into()],
        dropout: 0.0,
        ..LoraConfig::default()
    };
    let mut model = attach(trained(), &lora, &Default::default()).unwrap();
    let mut fill = Fill(ChaCha8Rng::seed_from_u64(2));
    for (_, _, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.a = lora.a.clone().map(|a| fill.matrix(&a, 0.2));
            lora.b = lora.b.clone().map(|b| fill.matrix(&b, 0.05));
        }
    }
    model
}

fn hidden<B: NeoBackend>(model: &GptNeo<B>) -> Tensor<B, 2> {
    let ids: Vec<i32> = (0..40).map(|index| index * 31 % 70).collect();
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [2, 20]), &Default::default());
    // [2, 20, hidden] -> [40, hidden]
    model.hidden(ids).reshape([40, 24])
}

fn loss<B: NeoBackend>(model: &GptNeo<B>) -> Tensor<B, 1> {
    let targets: Vec<i32> = (0..40).map(|index| index * 11 % 70).collect();
    let targets = Tensor::from_data(TensorData::new(targets, [40]), &Default::default());
    model.cross_entropy_sum(hidden(model), targets) / 40.0
}

/// The length of the difference over the length of what is expected.
fn distance(found: &TensorData, expected: &TensorData) -> f64 {
    assert_eq!(found.shape, expected.shape);
    let pairs = found.iter::<f64>().zip(expected.iter::<f64>());
    let (difference, size) = pairs
        .fold((0.0, 0.0), |(d, s), (found, expected)| (d + (found - expected).powi(2), s + expected.powi(2)));
    (difference / size).sqrt()
}

#[test]
fn frozen_matrices_are_kept_in_half_and_all_else_in_f32() {
    let half = adapted().with_precision(Precision::F16);
    assert_eq!(half.head_weight().dtype(), DType::F16);
    assert_eq!(half.transformer.wte.weight.val().dtype(), DType::F32);
    assert_eq!(half.transformer.ln_f.weight.val().dtype(), DType::F32);
    for (path, target, linear) in half.linears() {
        assert_eq!(linear.weight.val().dtype(), DType::F16, "{path}");
        assert!(!linear.weight.val().is_require_grad(), "{path}");
        assert!(linear.bias.iter().all(|bias| bias.val().dtype() == DType::F32), "{path}");
        assert_eq!(linear.lora.is_some(), matches!(target, Target::VProj | Target::CFc));
        for matrix in linear.lora.iter().flat_map(|lora| [lora.a.val(), lora.b.val()]) {
            assert!(matrix.dtype() == DType::F32 && matrix.is_require_grad(), "{path}");
        }
    }
    assert_eq!(hidden(&half).dtype(), DType::F32);
    assert_eq!(half.logits(hidden(&half)).dtype(), DType::F32);
    assert_eq!(loss(&half).dtype(), DType::F32);
}

#[test]
fn what_is_trained_stays_f32_and_is_rounded_for_the_products() {
    let full = trained();
    for (precision, unit) in HALVES {
        let half = full.clone().with_precision(precision);
        assert!(half.lm_head.is_none());
        for (path, _, linear) in half.linears() {
            assert_eq!(linear.weight.val().dtype(), DType::F32, "{path}");
        }
        let grads = loss(&half).backward();
        let exact = loss(&full).backward();
        let gradient =
            |model: &GptNeo<Diff>, grads| model.transformer.wte.weight.val().grad(grads).unwrap().into_data();
        let (found, expected) = (gradient(&half, &grads), gradient(&full, &exact));
        assert_eq!(found.dtype, DType::F32);
        let distance = distance(&found, &expected);
        // Dozens of roundings lie on the way to a gradient, and the scores of attention, some 4, enlarge them; a gradient
        // that lacks a part is off by a good share of itself.
        assert!(distance > 0.1 * unit && distance < 32.0 * unit, "{precision}: {distance}");
        assert_eq!(
            loss(&half.with_precision(Precision::F32)).into_data(),
            loss(&full).into_data(),
            "the weights themselves were rounded"
        );
    }
}

#[test]
fn losses_and_gradients_are_those_of_f32_but_for_rounding() {
    let full = adapted();
    let exact = loss(&full).backward();
    for (precision, unit) in HALVES {
        let half = full.clone().with_precision(precision);
        let distant = distance(&loss(&half).into_data(), &loss(&full).into_data());
        assert!(distant > 0.0 && distant < 2.0 * unit, "{precision}: {distant}");
        let grads = loss(&half).backward();
        for ((path, _, half), (_, _, full)) in half.linears().zip(full.linears()) {
            let (Some(half), Some(full)) = (&half.lora, &full.lora) else { continue };
            for (half, full) in [(&half.a, &full.a), (&half.b, &full.b)] {
                let found = half.val().grad(&grads).unwrap().into_data();
                let expected = full.val().grad(&exact).unwrap().into_data();
                assert_eq!(found.dtype, DType::F32, "{path}");
                let distance = distance(&found, &expected);
                assert!(distance > 0.1 * unit && distance < 32.0 * unit, "{precision} {path}: {distance}");
            }
        }
    }
}

#[test]
fn an_adapter_goes_back_to_the_exact_weights() {
    let full = adapted();
    let half = full.clone().with_precision(Precision::Bf16);
    let back = hand_over(half.valid(), crate::adapter::detach(full.valid()));
    assert_eq!(loss(&back).into_data(), loss(&full.valid()).into_data());
}
