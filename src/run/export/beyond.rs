//! What differs behind the positions that are exact, measured: there a GPT-2 sees all earlier tokens, where the model's
//! local layers see their window.

use std::fmt;

use gptneo_model::{GptNeo, NeoBackend};
use gptneo_training::measure::{block_losses, perplexity, prove_merge};
use serde::Serialize;

use super::Export;
use super::proof::prompts;
use crate::Result;

/// How a GPT-2 with more positions than are exact differs from its model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Beyond {
    /// The positions up to which nothing differs.
    pub exact_positions: usize,
    /// All positions.
    pub positions: usize,
    /// The largest difference of two logits on sample prompts of full length.
    pub largest_difference: f64,
    /// The model's largest logit there, by size.
    pub largest_logit: f64,
    /// The perplexities of tokens that are predicted behind the exact positions, where the text is long enough.
    pub perplexity: Option<BeyondPerplexity>,
}

/// The perplexity behind the exact positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BeyondPerplexity {
    /// The text.
    pub text: String,
    /// Its tokens that were predicted there.
    pub tokens: usize,
    /// The model's.
    pub before: f64,
    /// The GPT-2's.
    pub after: f64,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exact_positions, positions, largest_difference, largest_logit, perplexity } = self;
        write!(
            f,
            "Up to {exact_positions} tokens of text it is the model. From there to {positions} it is not: the model's \
             local layers see {exact_positions} tokens, a GPT-2's see all. Logits differ by up to \
             {largest_difference:.3} there (largest logit: {largest_logit:.3})"
        )?;
        match perplexity {
            Some(BeyondPerplexity { text, tokens, before, after }) => write!(
                f,
                "; the perplexity of {tokens} tokens there, of {text}, is {before:.3} in the model and {after:.3} in \
                 the export."
            ),
            None => write!(f, "; the text was too short to measure the perplexity there."),
        }
    }
}

/// Measures `gpt2`, which has the export's positions, against the model.
///
/// # Errors
/// A device failed.
pub(super) fn measure<B: NeoBackend>(
    model: &GptNeo<B>,
    gpt2: &GptNeo<B>,
    export: &Export<'_>,
) -> Result<Beyond> {
    let (exact_positions, positions) = (export.exact(), export.positions());
    let found = prove_merge(model, gpt2, &prompts(export.model.tokenizer(), export.template, positions)?)?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for block in export.text.blocks(positions).filter(|block| block.len() > exact_positions + 1) {
        before.extend_from_slice(&block_losses(model, block)?[exact_positions..]);
        after.extend_from_slice(&block_losses(gpt2, block)?[exact_positions..]);
    }
    let perplexity = (!before.is_empty()).then(|| BeyondPerplexity {
        text: export.text.name().to_string(),
        tokens: before.len(),
        before: perplexity(&before),
        after: perplexity(&after),
    });
    let (largest_difference, largest_logit) = (found.largest_difference, found.largest_logit);
    Ok(Beyond { exact_positions, positions, largest_difference, largest_logit, perplexity })
}
