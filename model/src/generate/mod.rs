//! Continuing prompts: one pass over all of them, then one token a step for each, with a KV cache.
//!
//! Prompts of unequal length are padded on the left, so that all rows end at the same column. Positions count
//! from a row's first real token and padding is hidden from attention: a row's text is that of its prompt alone.

mod decoder;
mod sampling;

use serde::{Deserialize, Serialize};

use self::decoder::Decoder;
pub use self::sampling::{Sampler, SamplingConfig};
use crate::error::list_problems;
use crate::{GptNeo, GptNeoConfig, ModelError, NeoBackend};

/// Problems of a prompt list that an error names before it only counts.
pub(crate) const PROBLEMS_SHOWN: usize = 8;

/// How far and how prompts are continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationConfig {
    /// New tokens of each prompt at most.
    pub max_new_tokens: usize,
    /// How each token is chosen; by default the likeliest.
    #[serde(default)]
    pub sampling: SamplingConfig,
    /// The token that ends a text; with `None`, the default, every text gets all its new tokens.
    #[serde(default)]
    pub end_of_text: Option<u32>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// It has as many new tokens as were asked for.
    Length,
}

/// What follows a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// The new tokens, without the prompt and without the end-of-text.
    pub ids: Vec<u32>,
    /// Why there are no more.
    pub finish: FinishReason,
}

/// Continues all prompts together; the results are in their order.
///
/// `on_token` hears each new token, except the end-of-text, as soon as it is chosen: the prompt's index and the
/// token's id.
///
/// # Errors
///
/// [`ModelError::Generation`] where the sampling settings are wrong, nothing is to be generated, a prompt is
/// empty, names a token outside the vocabulary or leaves too few positions, or where the model's output is not a
/// number. `on_token` has heard of nothing then, except in the last case.
pub fn generate<B: NeoBackend>(
    model: &GptNeo<B>,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
    mut on_token: impl FnMut(usize, u32),
) -> Result<Vec<Generation>, ModelError> {
    check(model.config(), prompts, config)?;
    let mut rows = prompts
        .iter()
        .enumerate()
        .map(|(index, prompt)| Row::new(index, prompt, &config.sampling))
        .collect::<Result<Vec<_>, _>>()?;
    let mut decoder = Decoder::new(model, prompts, config.max_new_tokens);
    let vocabulary = model.config().vocab_size;
    let mut logits = decoder.prefill(prompts)?;
    for step in 1..=config.max_new_tokens {
        for ((index, row), logits) in rows.iter_mut().enumerate().zip(logits.chunks_exact_mut(vocabulary)) {
            if row.finish.is_some() {
                continue;
            }
            if let Some(id) = row.choose(index, logits, config.end_of_text)? {
                on_token(index, id);
            }
        }
        if step == config.max_new_tokens || rows.iter().all(|row| row.finish.is_some()) {
            break;
        }
        let last: Vec<u32> = rows.iter().map(|row| row.last).collect();
        logits = decoder.step(&last)?;
    }
    Ok(rows.into_iter().map(Row::into_generation).collect())
}

/// Everything that can be known to be wrong before the model runs.
fn check(model: &GptNeoConfig, prompts: &[Vec<u32>], config: &GenerationConfig) -> Result<(), ModelError> {
    config.sampling.validate()?;
    let new = config.max_new_tokens;
    if new == 0 {
        return Err(ModelError::Generation("max_new_tokens is 0, expected at least 1".to_string()));
    }
    if prompts.is_empty() {
        return Err(ModelError::Generation("there is no prompt, expected at least one".to_string()));
    }
    let (vocabulary, positions) = (model.vocab_size, model.max_position_embeddings);
    let mut problems = Vec::new();
    for (index, prompt) in prompts.iter().enumerate() {
        if prompt.is_empty() {
            problems.push(format!(
                "prompt {index} is empty, expected at least one token; the end-of-text token can start a text"
            ));
        }
        if let Some(id) = prompt.iter().find(|id| **id as usize >= vocabulary) {
            problems.push(format!(
                "prompt {index} has token {id}, but the model's vocabulary has {vocabulary} tokens: use the \
                 tokenizer of this model"
            ));
        }
        let length = prompt.len();
        if length.saturating_add(new) > positions {
            let shorter = match positions.saturating_sub(new) {
                0 => String::new(),
                room => format!("shorten the prompt to {room} tokens or "),
            };
            let fewer = match positions.saturating_sub(length) {
                0 => "give a shorter prompt".to_string(),
                room => format!("lower max_new_tokens to {room}"),
            };
            problems.push(format!(
                "prompt {index} has {length} tokens and max_new_tokens is {new}, but the model has {positions} \
                 positions: {shorter}{fewer}"
            ));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let problems = list_problems(&problems, PROBLEMS_SHOWN);
    Err(ModelError::Generation(format!("these prompts cannot be continued:\n{problems}")))
}

/// One prompt on its way to a text.
struct Row {
    sampler: Sampler,
    /// The prompt and what has been generated.
    seen: Vec<u32>,
    prompt_length: usize,
    /// The newest token; a finished row stays at its end-of-text, which fills its column and is read by nobody.
    last: u32,
    finish: Option<FinishReason>,
}

impl Row {
    fn new(index: usize, prompt: &[u32], sampling: &SamplingConfig) -> Result<Self, ModelError> {
        Ok(Self {
            sampler: Sampler::for_row(sampling, index)?,
            seen: prompt.to_vec(),
            prompt_length: prompt.len(),
            last: 0,
            finish: None,
        })
    }

    /// The next token, or nothing where it ends the text.
    fn choose(
        &mut self,
        index: usize,
        logits: &mut [f32],
        end_of_text: Option<u32>,
    ) -> Result<Option<u32>, ModelError> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(ModelError::Generation(format!(
                "the model's output for prompt {index} is not a number after {} new tokens: its weights or its \
                 adapter are damaged, or the precision is too low; try full precision",
                self.seen.len() - self.prompt_length
            )));
        }
        self.last = self.sampler.next(logits, &self.seen);
        if Some(self.last) == end_of_text {
            self.finish = Some(FinishReason::Stop);
            return Ok(None);
        }
        self.seen.push(self.last);
        Ok(Some(self.last))
    }

    fn into_generation(mut self) -> Generation {
        Generation {
            ids: self.seen.split_off(self.prompt_length),
            finish: self.finish.unwrap_or(FinishReason::Length),
        }
    }
}

#[cfg(test)]
mod tests;
