//! What is asked of the engine: a prompt's tokens, how far and how it is continued, and what is to be told of it.

use crate::error::list_problems;
use crate::{GptNeoConfig, ModelError, SamplingConfig};

/// Problems of a prompt list that an error names before it only counts.
pub(crate) const PROBLEMS_SHOWN: usize = 8;

/// How much an engine takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Sequences that are continued together.
    pub max_batch: usize,
    /// Tokens whose keys and values are kept, of all sequences together; the memory is taken at the start. A sequence
    /// takes its prompt's and all its new tokens' room when it joins, so that it never has to leave.
    pub cache_tokens: usize,
    /// Requests that may wait, beyond those that fill the batch.
    pub max_queue: usize,
    /// Tokens of long prompts that are read in a step, beside the new tokens of sequences that go on: more of them read
    /// prompts faster and make the others wait longer. It decides no number.
    pub prompt_chunk: usize,
}

impl EngineLimits {
    /// Eight sequences, with room for each as long as the model allows.
    pub fn of(model: &GptNeoConfig) -> Self {
        let max_batch = 8;
        Self {
            max_batch,
            cache_tokens: max_batch * model.max_position_embeddings,
            max_queue: 64,
            prompt_chunk: 256,
        }
    }

    /// Refuses limits under which nothing would ever be answered.
    ///
    /// # Errors
    ///
    /// [`ModelError::Generation`], which names every limit of 0.
    pub fn validate(&self) -> Result<(), ModelError> {
        let limits = [
            ("max_batch", self.max_batch),
            ("cache_tokens", self.cache_tokens),
            ("prompt_chunk", self.prompt_chunk),
        ];
        let zeros: Vec<String> = limits
            .iter()
            .filter(|(_, value)| *value == 0)
            .map(|(name, _)| format!("{name} is 0, expected at least 1"))
            .collect();
        if zeros.is_empty() { Ok(()) } else { Err(ModelError::Generation(zeros.join("; "))) }
    }
}

/// How a sequence's tokens are chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Temperature, filters, repetition penalty and seed; by default the likeliest token.
    pub config: SamplingConfig,
    /// Taken from the logit of each token that is among the new ones already; 0, the default, does nothing.
    pub presence_penalty: f32,
    /// Taken from a token's logit as often as it is among the new ones; 0, the default, does nothing.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, after all penalties.
    pub logit_bias: Vec<(u32, f32)>,
    /// Which of several texts of the same seed this is: each draws from a stream of its own.
    pub stream: usize,
}

impl From<SamplingConfig> for Sampling {
    fn from(config: SamplingConfig) -> Self {
        Self { config, ..Self::default() }
    }
}

/// A prompt, and what is to become of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The prompt's tokens, at least one.
    pub prompt: Vec<u32>,
    /// The name of the adapter that answers; the model itself where there is none.
    pub adapter: Option<String>,
    /// New tokens at most; 0 where only the prompt is to be scored.
    pub max_new_tokens: usize,
    /// How they are chosen.
    pub sampling: Sampling,
    /// Tokens that end the text; they are not told.
    pub end_tokens: Vec<u32>,
    /// Tell the log-probability of each new token, and those of so many of the likeliest at its place.
    pub log_probabilities: Option<usize>,
    /// Tell the prompt's log-probabilities before the first new token, with as many of the likeliest as
    /// `log_probabilities` says.
    pub score_prompt: bool,
}

impl Request {
    /// The likeliest continuation of a prompt.
    pub fn new(prompt: Vec<u32>, max_new_tokens: usize) -> Self {
        Self { prompt, max_new_tokens, ..Self::default() }
    }

    /// Tokens that the model reads: the last new token is chosen and never read, and so is a prompt's last where nothing
    /// follows it.
    pub(super) fn tokens_read(&self) -> usize {
        (self.prompt.len() + self.max_new_tokens).saturating_sub(1)
    }

    /// Everything that can be known to be wrong before the model runs.
    pub(super) fn check(&self, model: &GptNeoConfig) -> Result<(), ModelError> {
        self.sampling.config.validate()?;
        let mut problems: Vec<String> = problems_of_prompt(model, &self.prompt, self.max_new_tokens)
            .iter()
            .map(|problem| format!("the prompt {problem}"))
            .collect();
        let vocabulary = model.vocab_size;
        let Sampling { presence_penalty, frequency_penalty, logit_bias, .. } = &self.sampling;
        for (name, penalty) in
            [("presence_penalty", presence_penalty), ("frequency_penalty", frequency_penalty)]
        {
            if !penalty.is_finite() {
                problems.push(format!("{name} is {penalty}, expected a number; 0 does nothing"));
            }
        }
        for (id, bias) in logit_bias {
            if *id as usize >= vocabulary {
                problems.push(format!(
                    "logit_bias has token {id}, but the model's vocabulary has {vocabulary} tokens"
                ));
            }
            if bias.is_nan() || *bias == f32::INFINITY {
                problems.push(format!("logit_bias of token {id} is {bias}, expected a number"));
            }
        }
        if self.max_new_tokens == 0 && !self.score_prompt {
            problems
                .push("max_new_tokens is 0 and the prompt is not to be scored: nothing is asked for".into());
        }
        if problems.is_empty() {
            return Ok(());
        }
        let problems = list_problems(&problems, PROBLEMS_SHOWN);
        Err(ModelError::Generation(format!("this request cannot be answered:\n{problems}")))
    }
}

/// What keeps a prompt from being continued by so many tokens, each as the end of a sentence about it.
pub(crate) fn problems_of_prompt(model: &GptNeoConfig, prompt: &[u32], new: usize) -> Vec<String> {
    let (vocabulary, positions) = (model.vocab_size, model.max_position_embeddings);
    let mut problems = Vec::new();
    if prompt.is_empty() {
        problems.push(
            "is empty, expected at least one token; the end-of-text token can start a text".to_string(),
        );
    }
    if let Some(id) = prompt.iter().find(|id| **id as usize >= vocabulary) {
        problems.push(format!(
            "has token {id}, but the model's vocabulary has {vocabulary} tokens: use the tokenizer of this model"
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
            "has {length} tokens and max_new_tokens is {new}, but the model has {positions} positions: \
             {shorter}{fewer}"
        ));
    }
    problems
}
