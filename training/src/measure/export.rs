//! The proof that an exported model computes what its model does: logits on prompts, and the perplexity on text.

use std::fmt;

use burn::tensor::{Int, Tensor, TensorData};
use gptneo_model::{GptNeo, NeoBackend, device_failure};
use serde::Serialize;

use super::merge::prove_merge;
use crate::error::TrainingError;

/// How far the logits of an export lie from the model's.
#[derive(Clone, Debug, Serialize)]
pub struct LogitsProof {
    /// Prompts compared.
    pub prompts: usize,
    /// Positions compared, over all prompts.
    pub positions: usize,
    /// The largest difference of two logits.
    pub largest_difference: f64,
    /// The model's largest logit, by size.
    pub largest_logit: f64,
    /// The largest difference allowed; none where the weights were rounded, which changes logits by more than an error in
    /// the arithmetic might.
    pub tolerance: Option<f64>,
}

/// A perplexity before and after.
#[derive(Clone, Debug, Serialize)]
pub struct PerplexityProof {
    /// The text.
    pub text: String,
    /// Its tokens that were predicted.
    pub tokens: usize,
    /// The model's.
    pub before: f64,
    /// The export's.
    pub after: f64,
    /// The share by which it may be off.
    pub tolerance: f64,
}

/// What was found of an export, over the positions that are exact.
#[derive(Clone, Debug, Serialize)]
pub struct ExportProof {
    /// Whether all of it is within its tolerance.
    pub holds: bool,
    /// All logits on sample prompts.
    pub logits: LogitsProof,
    /// The perplexity on text.
    pub perplexity: PerplexityProof,
}

impl fmt::Display for ExportProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogitsProof { prompts, positions, largest_difference, largest_logit, tolerance } = &self.logits;
        write!(
            f,
            "on {prompts} prompts of {} tokens its logits differ from the model's by at most {largest_difference:.3e} \
             (",
            positions / prompts.max(&1)
        )?;
        if let Some(tolerance) = tolerance {
            write!(f, "allowed: {tolerance:.3e}; ")?;
        }
        let PerplexityProof { text, tokens, before, after, tolerance } = &self.perplexity;
        write!(
            f,
            "largest logit: {largest_logit:.3}); perplexity on {tokens} tokens of {text}: {before:.4} before, \
             {after:.4} after (allowed: {} %)",
            tolerance * 100.0
        )
    }
}

/// What an export is held to.
#[derive(Clone, Copy, Debug)]
pub struct ExportRule {
    /// Whether the logits are to be the model's; else they are told, and the perplexity decides.
    pub same_logits: bool,
    /// The share by which the perplexity may be off.
    pub perplexity_tolerance: f64,
}

/// Compares an exported model, read back, with its model: all logits on each prompt, and the loss on each block of the
/// text that `text` names.
///
/// # Errors
///
/// Prompts that [`prove_merge`] refuses, no block of two tokens, or a device that failed.
pub fn prove_export<'a, B: NeoBackend>(
    model: &GptNeo<B>,
    exported: &GptNeo<B>,
    prompts: &[Vec<u32>],
    (text, blocks): (&str, impl Iterator<Item = &'a [u32]>),
    rule: ExportRule,
) -> Result<ExportProof, TrainingError> {
    let found = prove_merge(model, exported, prompts)?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for block in blocks {
        before.extend(block_losses(model, block)?);
        after.extend(block_losses(exported, block)?);
    }
    if before.is_empty() {
        return Err(TrainingError::Settings(format!(
            "{text} has no token to measure on; give a longer text"
        )));
    }
    let perplexity = PerplexityProof {
        text: text.to_string(),
        tokens: before.len(),
        before: perplexity(&before),
        after: perplexity(&after),
        tolerance: rule.perplexity_tolerance,
    };
    let off = (perplexity.after / perplexity.before - 1.0).abs();
    let logits = LogitsProof {
        prompts: found.prompts,
        positions: found.positions,
        largest_difference: found.largest_difference,
        largest_logit: found.largest_logit,
        tolerance: rule.same_logits.then_some(found.tolerance),
    };
    // What is no number is within no tolerance.
    let told = found.largest_difference.is_finite() && found.largest_logit.is_finite();
    let holds = (found.holds() || told && !rule.same_logits) && off <= perplexity.tolerance;
    Ok(ExportProof { holds, logits, perplexity })
}

/// What each token of a text but the first loses, in nats; the first of them is predicted at position 0.
///
/// # Errors
///
/// The text has no second token or is longer than the model's positions, or a device failed.
pub fn block_losses<B: NeoBackend>(model: &GptNeo<B>, text: &[u32]) -> Result<Vec<f64>, TrainingError> {
    let most = model.config().max_position_embeddings + 1;
    if text.len() < 2 || text.len() > most {
        return Err(TrainingError::Settings(format!(
            "the text has {} tokens; expected 2 to {most}, one more than the model's positions",
            text.len()
        )));
    }
    let device = model.transformer.wte.weight.val().device();
    let ids: Vec<i32> = text.iter().map(|&id| id as i32).collect();
    let predicted = ids.len() - 1;
    let inputs = TensorData::new(ids[..predicted].to_vec(), [1, predicted]);
    let targets = TensorData::new(ids[1..].to_vec(), [predicted]);
    let hidden = model.hidden(Tensor::<B, 2, Int>::from_data(inputs, &device)).squeeze_dim(0);
    let losses = model.token_nll(hidden, Tensor::<B, 1, Int>::from_data(targets, &device)).into_data();
    device_failure::check()?;
    Ok(losses.iter::<f64>().collect())
}

/// The exponential of the mean loss.
pub fn perplexity(losses: &[f64]) -> f64 {
    (losses.iter().sum::<f64>() / losses.len() as f64).exp()
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

    /// An adapter is far more than rounding: its model is no export of the base by any rule, and each is one of itself.
    #[test]
    fn the_same_model_holds_and_another_does_not() {
        let device = Default::default();
        let base: GptNeo<Flex> = checkpoint::load_model(&fixture("window"), &device).unwrap();
        let adapted = adapter::load_adapter(base.clone(), &fixture("adapter_qv"), &device).unwrap().0;
        let ids: Vec<u32> = (0..48).map(|index| index * 31 % 400).collect();
        for (same_logits, perplexity_tolerance) in [(true, 1e-4), (false, 1e-2)] {
            let rule = ExportRule { same_logits, perplexity_tolerance };
            let prove = |one, other| {
                prove_export(one, other, &[ids[..8].to_vec()], ("words", ids.chunks(16)), rule).unwrap()
            };
            let same = prove(&base, &base);
            assert!(same.holds && same.perplexity.tokens == 45, "{same:?}");
            assert!(!prove(&base, &adapted).holds);
        }
        let rule = ExportRule { same_logits: true, perplexity_tolerance: 1e-4 };
        let error = prove_export(&base, &base, &[vec![1]], ("nothing", [].into_iter()), rule).unwrap_err();
        assert!(error.to_string().contains("nothing has no token"), "{error}");
    }
}
