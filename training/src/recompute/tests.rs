//! The walk over the blocks against one graph: every loss and gradient the same, to the last bit.

use burn::tensor::TensorData;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use gptneo_datasets::{Padding, Supervise, TokenBatch};
use gptneo_model::adapter::attach;
use gptneo_model::checkpoint::load_model;
use gptneo_model::{Activations, LoraConfig, ModuleName, Precision, Target};

use super::*;
use crate::gradients::gradients;
use crate::reference_tests::{examples, fixture, turn};
use crate::step_input::{StepInput, number};

/// The example model, as it is or with an adapter whose B is no longer zero.
fn model<B: NeoBackend>(adapter: Option<&LoraConfig>) -> FineTune<Autodiff<B>> {
    let device = Default::default();
    let mut model = load_model::<Autodiff<B>>(&fixture("window"), &device).unwrap();
    if let Some(config) = adapter {
        Autodiff::<B>::seed(&device, 5);
        model = attach(model, config, &device).unwrap();
        for (_, _, linear) in model.linears_mut() {
            if let Some(lora) = &mut linear.lora {
                lora.a = lora.a.clone().map(|a| a);
                lora.b = lora.b.clone().map(|b| Tensor::from_inner(b.inner() + 0.02).require_grad());
            }
        }
    }
    FineTune { model }
}

fn adapter_of(target_modules: Vec<ModuleName>) -> LoraConfig {
    LoraConfig { r: 2, dropout: 0.3, target_modules, ..LoraConfig::default() }
}

/// Two batches of other lengths, longer than the local window.
fn input() -> StepInput {
    let examples = examples(Supervise::Text, 48);
    let batch = |rows: &[usize]| {
        let rows: Vec<_> = rows.iter().map(|row| &examples[*row]).collect();
        TokenBatch::collate(&rows, 399, Padding::Longest).unwrap()
    };
    StepInput { number: 1, micro_batches: vec![batch(&[0, 1, 2]), batch(&[3, 4])], seed: 9, loss_scale: 2.0 }
}

/// The loss and the gradient of each parameter that has one.
fn step<B: NeoBackend>(
    model: &FineTune<Autodiff<B>>,
    activations: Activations,
) -> (f64, Vec<(String, TensorData)>) {
    struct All<'a> {
        path: Vec<String>,
        gradients: &'a GradientsParams,
        found: Vec<(String, TensorData)>,
    }
    impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for All<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
            if let Some(gradient) = self.gradients.get::<B, D>(param.id) {
                self.found.push((self.path.join("."), gradient.into_data()));
            }
        }
    }
    let model = FineTune { model: model.model.clone().with_activations(activations) };
    let input = input();
    let (gradients, sums) = gradients(&model, &input, input.supervised_tokens());
    let loss = sums.into_iter().map(number).sum();
    let mut all = All { path: Vec::new(), gradients: &gradients, found: Vec::new() };
    model.visit(&mut all);
    (loss, all.found)
}

fn assert_same<B: NeoBackend>(model: &FineTune<Autodiff<B>>, with_gradients: usize, what: &str) {
    let (loss, expected) = step(model, Activations::Kept);
    let (again, found) = step(model, Activations::Recomputed);
    assert!(loss.is_finite() && loss == again, "{what}: {loss} {again}");
    let names: Vec<&String> = expected.iter().map(|(name, _)| name).collect();
    assert_eq!(expected.len(), with_gradients, "{what}: {names:?}");
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert!(found == expected, "{what}: the gradient of {name}");
        assert!(expected.iter::<f64>().any(|value| value != 0.0), "{what}: no gradient of {name}");
    }
}

/// Flex drops by a seed, NdArray by a mask.
#[test]
fn an_adapter_gets_the_gradients_of_one_graph() {
    let _turn = turn();
    let everywhere = adapter_of(Target::ALL.map(Into::into).to_vec());
    let flex = model::<Flex>(Some(&everywhere));
    let layers = flex.model.transformer.h.len();
    assert!(layers > 1);
    assert_same(&flex, 12 * layers, "flex");
    assert_same(&model::<NdArray>(Some(&everywhere)), 12 * layers, "ndarray");
    for precision in [Precision::F16, Precision::Bf16] {
        let half = FineTune { model: flex.model.clone().with_precision(precision) };
        assert_same(&half, 12 * layers, precision.name());
    }
    // Below the last layer nothing asks for a gradient.
    let last = format!("h.{}.attn.attention.v_proj", layers - 1).parse().unwrap();
    assert_same(&model::<Flex>(Some(&adapter_of(vec![last]))), 2, "one layer");
}

/// Embedding and head are one matrix here, whose gradients come from both ends.
#[test]
fn all_weights_get_the_gradients_of_one_graph() {
    let _turn = turn();
    let flex = model::<Flex>(None);
    let layers = flex.model.transformer.h.len();
    assert!(flex.model.lm_head.is_none());
    assert_same(&flex, 4 + 13 * layers, "flex");
    assert_same(&model::<NdArray>(None), 4 + 13 * layers, "ndarray");
}
