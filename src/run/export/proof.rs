//! The proof that an export computes what its model does: logits on prompts of full length, and the perplexity on text.

use std::fmt;

use burn::tensor::{Int, Tensor, TensorData};
use gptneo_datasets::{DEFAULT_INSTRUCTION, PromptTemplate, Tokenizer};
use gptneo_model::export::GgufType;
use gptneo_model::{GptNeo, NeoBackend, device_failure};
use gptneo_training::measure::prove_merge;
use serde::Serialize;

use super::Export;
use crate::error::{Error, Remedy, Result};
use crate::run::merge::QUESTIONS;

/// How far the logits of an export lie from the model's.
#[derive(Clone, Debug, Serialize)]
pub struct LogitsProof {
    /// Prompts compared, each as long as is exact.
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

/// The share by which a perplexity may be off: float32 sums in another order; 11 bits of significand; 8 bits with a scale
/// for 32 values. Of models that were tried the first two were off by a tenth of it and less, q8_0 by a fifth.
fn tolerance(kind: GgufType) -> f64 {
    match kind {
        GgufType::F32 => 1e-4,
        GgufType::F16 => 2e-3,
        GgufType::Q8_0 => 1e-2,
    }
}

/// Compares `read`, the network of what was written, with the model.
///
/// # Errors
/// There is no text to measure on, or a device failed.
pub(super) fn prove<B: NeoBackend>(
    model: &GptNeo<B>,
    read: &GptNeo<B>,
    export: &Export<'_>,
) -> Result<ExportProof> {
    let length = export.exact().min(export.positions());
    let prompts = prompts(export.model.tokenizer(), export.template, length)?;
    let found = prove_merge(model, read, &prompts)?;
    let kind = export.kind();
    let exact = kind == GgufType::F32;
    let logits = LogitsProof {
        prompts: found.prompts,
        positions: found.positions,
        largest_difference: found.largest_difference,
        largest_logit: found.largest_logit,
        tolerance: exact.then_some(found.tolerance),
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for block in export.text.blocks(length) {
        before.extend(losses(model, block)?);
        after.extend(losses(read, block)?);
    }
    if before.is_empty() {
        let what = format!("{} has no token to measure on", export.text.name());
        return Err(Error::input(what, Remedy::say("give other data")));
    }
    let perplexity = PerplexityProof {
        text: export.text.name().to_string(),
        tokens: before.len(),
        before: perplexity(&before),
        after: perplexity(&after),
        tolerance: tolerance(kind),
    };
    let off = (perplexity.after / perplexity.before - 1.0).abs();
    // What is no number is within no tolerance.
    let holds =
        (found.holds() || !exact) && found.largest_difference.is_finite() && off <= perplexity.tolerance;
    Ok(ExportProof { holds, logits, perplexity })
}

/// The questions as a model is asked them, one behind the other, from each of them on, until they are `length` tokens.
pub(super) fn prompts(
    tokenizer: &Tokenizer,
    template: &PromptTemplate,
    length: usize,
) -> Result<Vec<Vec<u32>>> {
    let ids = QUESTIONS
        .iter()
        .map(|question| Ok(tokenizer.encode(&template.question_prompt(question, DEFAULT_INSTRUCTION))?))
        .collect::<Result<Vec<_>>>()?;
    let from = |first: usize| ids.iter().cycle().skip(first).flatten().copied().take(length).collect();
    Ok((0..ids.len()).map(from).collect())
}

/// What each token of a text but the first loses, in nats; the first of them is predicted at position 0.
///
/// # Errors
/// A device failed.
pub(super) fn losses<B: NeoBackend>(model: &GptNeo<B>, text: &[u32]) -> Result<Vec<f64>> {
    let device = model.transformer.wte.weight.val().device();
    let ids: Vec<i32> = text.iter().map(|&id| id as i32).collect();
    let predicted = ids.len() - 1;
    let inputs = TensorData::new(ids[..predicted].to_vec(), [1, predicted]);
    let targets = TensorData::new(ids[1..].to_vec(), [predicted]);
    let hidden = model.hidden(Tensor::<B, 2, Int>::from_data(inputs, &device)).squeeze_dim(0);
    let losses = model.token_nll(hidden, Tensor::<B, 1, Int>::from_data(targets, &device)).into_data();
    device_failure::check().map_err(Error::from)?;
    Ok(losses.iter::<f64>().collect())
}

/// The exponential of the mean loss.
pub(super) fn perplexity(losses: &[f64]) -> f64 {
    (losses.iter().sum::<f64>() / losses.len() as f64).exp()
}
