//! The proof that a merged model computes what the base with its adapter does.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData, s};
use gptneo_model::{GptNeo, NeoBackend, device_failure};
use serde::{Deserialize, Serialize};

use crate::error::TrainingError;

/// Positions whose logits are compared at once; bounds the memory, 50 MB a model at 50,257 tokens in float32.
const CHUNK: usize = 256;

/// The share of the largest logit by which merged and unmerged logits may differ.
const RELATIVE_TOLERANCE: f64 = 1e-4;

/// How far the logits of two models lie apart on the same prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MergeProof {
    /// Prompts compared.
    pub prompts: usize,
    /// Positions compared, over all prompts.
    pub positions: usize,
    /// The largest difference of two logits; not a number if any logit is none.
    pub largest_difference: f64,
    /// The largest logit of the adapted model, by size.
    pub largest_logit: f64,
    /// The largest difference allowed: 1e-4 of the largest logit, and of at least 1.
    ///
    /// Merging replaces `x W + s (x A) B` by `x (W + s A B)`. In exact arithmetic these are equal; in float32 the sum
    /// of the two matrices is rounded once for each weight, a relative error of 6e-8, and the products are summed in
    /// another order. Some dozens of layers carry that on to the logits, to about 1e-5 of the largest. A forgotten
    /// scale, a transposed factor or a missed layer is off by far more than 1e-4.
    pub tolerance: f64,
}

impl MergeProof {
    /// Whether the models agree. Never true if any logit is not finite.
    pub fn holds(&self) -> bool {
        self.largest_difference.is_finite()
            && self.largest_logit.is_finite()
            && self.largest_difference <= self.tolerance
    }
}

/// Compares all logits at all positions of each prompt, both models in their own precision.
///
/// Dropout is off where the backend records no gradients, so give models on an inference backend.
///
/// # Errors
///
/// No prompt, an empty prompt, one longer than the model's positions or with ids outside the vocabulary, or models
/// of different vocabularies.
pub fn prove_merge<B: NeoBackend>(
    adapted: &GptNeo<B>,
    merged: &GptNeo<B>,
    prompts: &[Vec<u32>],
) -> Result<MergeProof, TrainingError> {
    let (one, other) = (adapted.config(), merged.config());
    if one.vocab_size != other.vocab_size {
        return Err(TrainingError::Settings(format!(
            "the adapted model has {} tokens and the merged one {}; compare two models of one vocabulary",
            one.vocab_size, other.vocab_size
        )));
    }
    if prompts.is_empty() {
        return Err(TrainingError::Settings("no prompt to compare the models on; give at least one".into()));
    }
    let longest = one.max_position_embeddings.min(other.max_position_embeddings);
    for (index, prompt) in prompts.iter().enumerate() {
        if prompt.is_empty() || prompt.len() > longest {
            return Err(TrainingError::Settings(format!(
                "prompt {index} has {} tokens; expected 1 to {longest}, the model's positions",
                prompt.len()
            )));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= one.vocab_size) {
            return Err(TrainingError::Settings(format!(
                "prompt {index} holds id {id}; expected ids below {}, the vocabulary",
                one.vocab_size
            )));
        }
    }
    let mut proof = MergeProof {
        prompts: prompts.len(),
        positions: 0,
        largest_difference: 0.0,
        largest_logit: 0.0,
        tolerance: 0.0,
    };
    for prompt in prompts {
        compare(adapted, merged, prompt, &mut proof);
        device_failure::check()?;
    }
    proof.tolerance = RELATIVE_TOLERANCE * proof.largest_logit.max(1.0);
    Ok(proof)
}

fn compare<B: NeoBackend>(adapted: &GptNeo<B>, merged: &GptNeo<B>, prompt: &[u32], proof: &mut MergeProof) {
    let adapted_hidden = hidden(adapted, prompt);
    let merged_hidden = hidden(merged, prompt);
    for start in (0..prompt.len()).step_by(CHUNK) {
        let end = (start + CHUNK).min(prompt.len());
        let left = values(adapted.logits(adapted_hidden.clone().slice(s![start..end, ..])));
        let right = values(merged.logits(merged_hidden.clone().slice(s![start..end, ..])));
        // On the host: what a device's maximum makes of NaN differs from backend to backend.
        for (left, right) in left.iter::<f64>().zip(right.iter::<f64>()) {
            proof.largest_difference = larger(proof.largest_difference, (left - right).abs());
            proof.largest_logit = larger(proof.largest_logit, left.abs());
        }
    }
    proof.positions += prompt.len();
}

/// The larger of two; NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Final hidden states of one prompt, `[tokens, hidden]`.
fn hidden<B: NeoBackend>(model: &GptNeo<B>, prompt: &[u32]) -> Tensor<B, 2> {
    let ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
    let device = model.transformer.wte.weight.val().device();
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [1, prompt.len()]), &device);
    model.hidden(ids).squeeze_dim(0)
}

fn values<B: Backend>(tensor: Tensor<B, 2>) -> TensorData {
    tensor.into_data()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use burn_flex::Flex;
    use gptneo_model::{adapter, checkpoint};

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
    }

    fn adapted() -> GptNeo<Flex> {
        let device = Default::default();
        let base = checkpoint::load_model(&fixture("window"), &device).unwrap();
        adapter::load_adapter(base, &fixture("adapter_qv"), &device).unwrap().0
    }

    fn prompts() -> Vec<Vec<u32>> {
        vec![(0..40).collect(), vec![399], (100..121).rev().collect()]
    }

    /// The same weights with one of the first layer's query matrix replaced by `change` of it.
    fn altered(change: impl FnOnce(f32) -> f32) -> GptNeo<Flex> {
        let mut model = adapted();
        let layer = &mut model.transformer.h[0].attn.attention.q_proj;
        layer.weight = layer.weight.clone().map(|weight| {
            let mut data = weight.to_data();
            let value = &mut data.as_mut_slice::<f32>().unwrap()[5];
            *value = change(*value);
            Tensor::from_data(data, &weight.device())
        });
        model
    }

    #[test]
    fn a_merged_adapter_and_the_model_itself_hold() {
        let model = adapted();
        let same = prove_merge(&model, &model, &prompts()).unwrap();
        assert_eq!((same.prompts, same.positions, same.largest_difference), (3, 62, 0.0));
        assert!(same.holds() && same.largest_logit > 1.0, "{same:?}");

        let merged = adapter::merge(adapted());
        let proof = prove_merge(&model, &merged, &prompts()).unwrap();
        assert!(proof.holds() && proof.largest_difference > 0.0, "{proof:?}");
        assert_eq!(proof.tolerance, 1e-4 * proof.largest_logit);
    }

    #[test]
    fn a_missing_update_or_an_altered_weight_does_not_hold() {
        let model = adapted();
        let without = prove_merge(&model, &adapter::detach(adapted()), &prompts()).unwrap();
        assert!(!without.holds(), "{without:?}");
        let altered = prove_merge(&model, &altered(|value| value + 0.05), &prompts()).unwrap();
        assert!(!altered.holds(), "{altered:?}");
    }

    #[test]
    fn what_is_no_number_does_not_hold() {
        let broken = altered(|_| f32::NAN);
        for (left, right) in [(&broken, &adapted()), (&adapted(), &broken), (&broken, &broken)] {
            let proof = prove_merge(left, right, &prompts()).unwrap();
            assert!(!proof.holds() && proof.largest_difference.is_nan(), "{proof:?}");
        }
        let infinite = MergeProof {
            prompts: 1,
            positions: 1,
            largest_difference: 1.0,
            largest_logit: f64::INFINITY,
            tolerance: f64::INFINITY,
        };
        assert!(!infinite.holds());
    }

    #[test]
    fn prompts_that_cannot_be_compared_are_refused() {
        let model = adapted();
        let fault = |prompts: &[Vec<u32>]| prove_merge(&model, &model, prompts).unwrap_err().to_string();
        assert!(fault(&[]).contains("at least one"));
        assert!(fault(&[vec![1], vec![]]).contains("prompt 1 has 0 tokens"));
        assert!(fault(&[vec![0; 5000]]).contains("5000 tokens"));
        assert!(fault(&[vec![3, 400]]).contains("id 400"));
    }
}
