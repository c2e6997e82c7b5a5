//! Continuing prompts on the caller's thread: the steps of the [`engine`](crate::engine), until all texts have ended.
//!
//! A row's text is that of its prompt alone, whatever the others are.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use crate::engine::{
    Batch, EngineLimits, Event, Listener, PROBLEMS_SHOWN, Reason, Request, Sampling, problems_of_prompt,
};
use crate::error::list_problems;
pub use crate::sampling::{PenaltyScope, Sampler, SamplingConfig};
use crate::{GptNeo, GptNeoConfig, ModelError, NeoBackend};

/// How far and how prompts are continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationConfig {
    /// New tokens of each prompt at most.
    pub max_new_tokens: usize,
    /// How each token is chosen; by default the likeliest.
    #[serde(default)]
    pub sampling: SamplingConfig,
    /// The tokens that end a text; without any, the default, every text gets all its new tokens.
    #[serde(default)]
    pub end_tokens: Vec<u32>,
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

/// What is told of a text while it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A new token, which is not an end-of-text.
    Token(u32),
    /// There are no more.
    End(FinishReason),
}

/// Continues all prompts together; the results are in their order.
///
/// `on_token` hears each new token, except the end-of-text, as soon as it is chosen: the prompt's index and the
/// token's id.
///
/// # Errors
///
/// [`ModelError::Generation`] where the sampling settings are wrong, nothing is to be generated, a prompt is
/// empty, names a token outside the vocabulary or leaves too few positions; [`ModelError::Unanswered`] where the model's
/// output is not a number. `on_token` has heard of nothing then, except in the last case.
pub fn generate<B: NeoBackend>(
    model: &GptNeo<B>,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
    mut on_token: impl FnMut(usize, u32),
) -> Result<Vec<Generation>, ModelError> {
    generate_queued(model, prompts, config, prompts.len(), |prompt, told| {
        if let Told::Token(id) = told {
            on_token(prompt, id);
        }
    })
}

/// As [`generate`], with at most `at_once` prompts together: when a text ends, the next prompt takes its place. `on_told`
/// hears each new token and each end. What a text says does not depend on `at_once`.
///
/// # Errors
///
/// As [`generate`]; or `at_once` is 0.
pub fn generate_queued<B: NeoBackend>(
    model: &GptNeo<B>,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
    at_once: usize,
    on_told: impl FnMut(usize, Told),
) -> Result<Vec<Generation>, ModelError> {
    check(model.config(), prompts, config)?;
    let mut waiting =
        prompts.iter().enumerate().map(|(index, prompt)| request(index, prompt, config)).peekable();
    let limits = EngineLimits {
        max_batch: at_once,
        cache_tokens: largest_need(prompts, config.max_new_tokens, at_once),
        max_queue: prompts.len(),
        prompt_chunk: PROMPT_CHUNK,
    };
    limits.validate()?;
    let no_adapters = Vec::new();
    let mut batch = Batch::new(model, no_adapters, limits);
    let texts = RefCell::new(Texts {
        told: vec![None; prompts.len()],
        ids: vec![Vec::new(); prompts.len()],
        on_told,
    });
    loop {
        while let Some((index, request)) = waiting.next_if(|(_, request)| batch.has_room(request)) {
            let no_adapter = None;
            batch.join(request, no_adapter, Ear { index, texts: &texts })?;
        }
        if batch.is_empty() {
            break;
        }
        for (mut ear, last) in batch.step(model)?.ended {
            if let Event::Failed(why) = &last {
                return Err(ModelError::Unanswered(format!("prompt {}: {why}", ear.index)));
            }
            ear.hear(last);
        }
    }
    let Texts { told, ids, .. } = texts.into_inner();
    let ends = told.into_iter().map(|end| end.unwrap_or(FinishReason::Length));
    Ok(ids.into_iter().zip(ends).map(|(ids, finish)| Generation { ids, finish }).collect())
}

/// Tokens of long prompts that are read in a step; nobody waits for the others' new tokens.
const PROMPT_CHUNK: usize = 512;

/// The most tokens that so many of the prompts and their new tokens can take together.
fn largest_need(prompts: &[Vec<u32>], new: usize, at_once: usize) -> usize {
    let mut needs: Vec<usize> = prompts.iter().map(|prompt| prompt.len() + new - 1).collect();
    needs.sort_unstable_by(|a, b| b.cmp(a));
    needs.iter().take(at_once).sum()
}

/// What is asked for a prompt.
fn request(index: usize, prompt: &[u32], config: &GenerationConfig) -> (usize, Request) {
    let request = Request {
        sampling: Sampling { stream: index, ..config.sampling.clone().into() },
        end_tokens: config.end_tokens.clone(),
        ..Request::new(prompt.to_vec(), config.max_new_tokens)
    };
    (index, request)
}

/// What has been heard of all texts.
struct Texts<F> {
    told: Vec<Option<FinishReason>>,
    ids: Vec<Vec<u32>>,
    on_told: F,
}

/// Hears of one text.
struct Ear<'a, F> {
    index: usize,
    texts: &'a RefCell<Texts<F>>,
}

impl<F: FnMut(usize, Told)> Listener for Ear<'_, F> {
    fn hear(&mut self, event: Event) {
        let mut texts = self.texts.borrow_mut();
        let told = match event {
            Event::Token { id, .. } => {
                texts.ids[self.index].push(id);
                Told::Token(id)
            }
            Event::Finished(reason) => {
                let finish =
                    if reason == Reason::EndToken { FinishReason::Stop } else { FinishReason::Length };
                texts.told[self.index] = Some(finish);
                Told::End(finish)
            }
            Event::Prompt(_) | Event::Failed(_) => return,
        };
        (texts.on_told)(self.index, told);
    }

    fn has_left(&self) -> bool {
        false
    }
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
    let problems: Vec<String> = prompts
        .iter()
        .enumerate()
        .flat_map(|(index, prompt)| {
            let problems = problems_of_prompt(model, prompt, new);
            problems.into_iter().map(move |problem| format!("prompt {index} {problem}"))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let problems = list_problems(&problems, PROBLEMS_SHOWN);
    Err(ModelError::Generation(format!("these prompts cannot be continued:\n{problems}")))
}

#[cfg(test)]
mod tests;
