//! What an export is held against its model on, and how close it must be.

use gptneo_datasets::{DEFAULT_INSTRUCTION, PromptTemplate, Tokenizer};
use gptneo_model::export::GgufType;
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_training::measure::{ExportProof, ExportRule, prove_export};

use super::Export;
use crate::Result;
use crate::run::merge::QUESTIONS;

/// What an export in these numbers is held to. The perplexity of float32 is off by sums in another order, that of the
/// others by 11 bits of significand and by 8 bits with a scale for 32 values; of models that were tried they were off by
/// a tenth of what is allowed and less.
fn rule(kind: GgufType) -> ExportRule {
    let (same_logits, perplexity_tolerance) = match kind {
        GgufType::F32 => (true, 1e-4),
        GgufType::F16 => (false, 2e-3),
        GgufType::Q8_0 => (false, 1e-2),
    };
    ExportRule { same_logits, perplexity_tolerance }
}

/// Compares `read`, the network of what was written, with the model over the positions that are exact.
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
    let text = (export.text.name(), export.text.blocks(length));
    Ok(prove_export(model, read, &prompts, text, rule(export.kind()))?)
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
