//! What both kinds of requests say: which model answers, how each token is chosen, where an answer ends, how it is sent.

use std::collections::BTreeMap;

use gptneo_files::excerpt;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::fields::within;
use super::schemas::{any_of, list, text};
use crate::error::ApiError;
use crate::limits::Limits;

/// The fields that completions and chats have in common.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct GenerationFields {
    /// The model that answers, by a name that `/v1/models` lists; without one, the base. A server without adapters
    /// answers to any name.
    pub(crate) model: Option<String>,
    /// The most tokens to add. A completion has 16 without it, a chat as many as the model has room for.
    #[schema(minimum = 0, maximum = 1_000_000)]
    max_tokens: Option<u32>,
    /// Randomness of the choice; 0 always takes the likeliest token. 1 without it.
    #[schema(minimum = 0.0, maximum = 2.0)]
    temperature: Option<f64>,
    /// Choose among the likeliest tokens that together have this probability.
    #[schema(exclusive_minimum = 0.0, maximum = 1.0)]
    top_p: Option<f64>,
    /// Choose among this many of the likeliest tokens; -1 and 0 are for all.
    #[schema(minimum = -1, maximum = 1_000_000)]
    top_k: Option<i64>,
    /// Answers to each prompt; how many a server gives at once is its own to say.
    #[schema(minimum = 1)]
    n: Option<usize>,
    /// The same seed, prompt and settings give the same answer. Answers to the same prompt
    /// draw apart.
    seed: Option<i64>,
    /// Texts that end an answer; they are not part of it.
    stop: Option<Stop>,
    /// What to add to the logits of tokens, by their ids.
    logit_bias: Option<BTreeMap<String, f64>>,
    /// What to take from the logits of tokens that the answer has.
    #[schema(minimum = -2.0, maximum = 2.0)]
    presence_penalty: Option<f64>,
    /// What to take from the logits of tokens for each time that the answer has them.
    #[schema(minimum = -2.0, maximum = 2.0)]
    frequency_penalty: Option<f64>,
    /// Makes tokens less likely that prompt or answer have; 1 does nothing.
    #[schema(minimum = 0.01, maximum = 100.0)]
    repetition_penalty: Option<f64>,
    /// Whether to go on after end-of-text.
    ignore_eos: Option<bool>,
    /// Whether to send the answer in pieces, as events.
    stream: Option<bool>,
    /// What else to send, where the answer is sent in pieces.
    stream_options: Option<StreamOptions>,
    /// Who asks; it is not used.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// A text that ends an answer, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum Stop {
    One(String),
    Several(Vec<String>),
}

impl PartialSchema for Stop {
    fn schema() -> RefOr<Schema> {
        any_of([text(), list(text(), 0..=16)])
    }
}

impl ToSchema for Stop {}

/// What else is sent with an answer in pieces.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    /// Whether a last piece counts the tokens.
    include_usage: Option<bool>,
    /// Whether pieces are filled up so that their lengths tell nothing, which is not done here: `false` alone.
    include_obfuscation: Option<bool>,
}

/// The fields, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Generation {
    /// New tokens of an answer at most, where the request says it.
    pub(crate) max_tokens: Option<usize>,
    /// Answers to each prompt.
    pub(crate) answers: usize,
    /// How tokens are chosen.
    pub(crate) choice: Choice,
    /// Texts that end an answer.
    pub(crate) stops: Vec<String>,
    /// Whether the request says by which seed.
    pub(crate) is_seeded: bool,
    /// Whether end-of-text ends nothing.
    pub(crate) ignore_end: bool,
    /// How the answer is sent.
    pub(crate) delivery: Delivery,
}

/// How each token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    pub(crate) temperature: f64,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<usize>,
    pub(crate) repetition_penalty: f64,
    pub(crate) presence_penalty: f64,
    pub(crate) frequency_penalty: f64,
    pub(crate) logit_bias: Vec<(u32, f32)>,
    pub(crate) seed: u64,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At once.
    Whole,
    /// In pieces, the last with the tokens' counts where `usage` says so.
    Pieces { usage: bool },
}

impl GenerationFields {
    /// Checks every field; `vocabulary` is the number of the model's tokens.
    pub(crate) fn check(self, limits: &Limits, vocabulary: usize) -> Result<Generation, ApiError> {
        let above_0 = |name: &'static str, value: Option<f64>| match value {
            Some(value) if value <= 0.0 => {
                Err(ApiError::field(name, format_args!("is {value}, expected more than 0")))
            }
            value => Ok(value),
        };
        let choice = Choice {
            temperature: within("temperature", self.temperature, 0.0..=2.0)?.unwrap_or(1.0),
            top_p: above_0("top_p", within("top_p", self.top_p, 0.0..=1.0)?)?,
            top_k: within("top_k", self.top_k, -1..=1_000_000)?
                .and_then(|k| usize::try_from(k).ok())
                .filter(|k| *k > 0),
            repetition_penalty: within("repetition_penalty", self.repetition_penalty, 0.01..=100.0)?
                .unwrap_or(1.0),
            presence_penalty: within("presence_penalty", self.presence_penalty, -2.0..=2.0)?.unwrap_or(0.0),
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?
                .unwrap_or(0.0),
            logit_bias: biases(self.logit_bias.unwrap_or_default(), vocabulary)?,
            seed: self.seed.map_or_else(any_seed, i64::cast_unsigned),
        };
        if self.stream_options.as_ref().is_some_and(|options| options.include_obfuscation == Some(true)) {
            return Err(ApiError::field(
                "stream_options.include_obfuscation",
                "is not supported: leave it out",
            ));
        }
        let delivery = match (self.stream.unwrap_or_default(), self.stream_options) {
            (true, options) => Delivery::Pieces {
                usage: options.and_then(|options| options.include_usage).unwrap_or_default(),
            },
            (false, None) => Delivery::Whole,
            (false, Some(_)) => {
                return Err(ApiError::field("stream_options", "is for answers in pieces: set `stream` too"));
            }
        };
        Ok(Generation {
            max_tokens: within("max_tokens", self.max_tokens, 0..=1_000_000)?.map(|most| most as usize),
            answers: within("n", self.n, 1..=limits.choices)?.unwrap_or(1),
            choice,
            is_seeded: self.seed.is_some(),
            stops: stops(self.stop, limits)?,
            ignore_end: self.ignore_eos.unwrap_or_default(),
            delivery,
        })
    }
}

fn stops(stop: Option<Stop>, limits: &Limits) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Several(texts)) => texts,
    };
    if stops.len() > limits.stops {
        let (found, most) = (stops.len(), limits.stops);
        return Err(ApiError::field("stop", format_args!("has {found} texts, expected at most {most}")));
    }
    match stops.iter().any(String::is_empty) {
        true => Err(ApiError::field("stop", "has an empty text, which every answer begins with")),
        false => Ok(stops),
    }
}

fn biases(biases: BTreeMap<String, f64>, vocabulary: usize) -> Result<Vec<(u32, f32)>, ApiError> {
    let read = |(id, bias): (String, f64)| {
        let known = id.parse::<u32>().ok().filter(|id| (*id as usize) < vocabulary);
        let Some(known) = known else {
            return Err(ApiError::field(
                "logit_bias",
                format_args!("names the token \"{}\", expected an id below {vocabulary}", excerpt(&id)),
            ));
        };
        let bias = within("logit_bias", Some(bias), -100.0..=100.0)?.unwrap_or_default();
        Ok((known, bias as f32))
    };
    biases.into_iter().map(read).collect()
}

/// A seed for a request that has none: the standard library's hashing keys are random.
fn any_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of the prompts.
    pub(crate) prompt_tokens: usize,
    /// Tokens that were added.
    pub(crate) completion_tokens: usize,
    /// Both together.
    pub(crate) total_tokens: usize,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FinishReason {
    /// The model ended it, or a stop text did.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn check(fields: Value) -> Result<Generation, ApiError> {
        let fields: GenerationFields = serde_json::from_value(fields).unwrap();
        fields.check(&Limits::default(), 400)
    }

    #[test]
    fn without_fields_it_is_as_openai_has_it() {
        let found = check(json!({"seed": -1})).unwrap();
        assert_eq!((found.choice.temperature, found.answers, found.choice.seed), (1.0, 1, u64::MAX));
        assert_eq!((found.max_tokens, found.delivery), (None, Delivery::Whole));
        let seed = |fields| check(fields).unwrap().choice.seed;
        assert_ne!(seed(json!({})), seed(json!({})), "without a seed, each request has another");
        assert_eq!(check(json!({"top_k": -1})).unwrap().choice.top_k, None);
    }

    #[test]
    fn values_that_cannot_be_are_refused_by_name() {
        for (fields, param, word) in [
            (json!({"temperature": 2.5}), "temperature", "0 to 2"),
            (json!({"top_p": 0.0}), "top_p", "more than 0"),
            (json!({"top_k": -2}), "top_k", "-1"),
            (json!({"n": 0}), "n", "1 to"),
            (json!({"n": 129}), "n", "1 to 128"),
            (json!({"presence_penalty": -3}), "presence_penalty", "-2"),
            (json!({"repetition_penalty": 0}), "repetition_penalty", "0.01"),
            (json!({"logit_bias": {"400": 1}}), "logit_bias", "below 400"),
            (json!({"logit_bias": {"a": 1}}), "logit_bias", "\"a\""),
            (json!({"logit_bias": {"1": 101}}), "logit_bias", "100"),
            (json!({"stop": ""}), "stop", "empty"),
            (json!({"stop": vec!["a"; 17]}), "stop", "17"),
            (json!({"stream_options": {"include_usage": true}}), "stream_options", "stream"),
        ] {
            let error = check(fields.clone()).unwrap_err();
            let (status, message, found) = error.told();
            assert_eq!((status, found), (400, Some(param)), "{fields}");
            assert!(message.contains(word), "{word}: {message}");
        }
    }
}
