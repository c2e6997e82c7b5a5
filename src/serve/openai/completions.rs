//! `/v1/completions`: its fields and its answers.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::fields::{Fields, both, within};
use super::generation::{FinishReason, Generation, GenerationFields, Usage};
use super::schemas::{any_of, id, list, text};
use crate::error::ApiError;
use crate::limits::Limits;

/// More tokens than any model of this kind has positions.
const MOST_IDS: usize = 1_000_000;

/// The fields that only completions have.
#[derive(Debug, Deserialize, ToSchema)]
struct CompletionFields {
    /// What to continue: a text or the ids of its tokens, or several of these. End-of-text without it.
    prompt: Option<Prompt>,
    /// How many of the likeliest tokens to list with each token, with their log-probabilities of the model itself,
    /// before temperature and penalties. The token itself is always among them.
    #[schema(minimum = 0, maximum = 20)]
    logprobs: Option<usize>,
    /// Whether the answer begins with the prompt.
    echo: Option<bool>,
}

/// What is continued.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, a list of texts, a list of token ids or a list of lists of token ids"
)]
pub(crate) enum Prompt {
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// The tokens of a text.
    Ids(Vec<u32>),
    /// The tokens of texts.
    IdLists(Vec<Vec<u32>>),
}

impl PartialSchema for Prompt {
    fn schema() -> RefOr<Schema> {
        any_of([
            text(),
            list(text(), 1..=128),
            list(id(), 1..=MOST_IDS),
            list(list(id(), 1..=MOST_IDS), 1..=128),
        ])
    }
}

impl ToSchema for Prompt {}

/// The body of a request for completions.
#[derive(Debug)]
pub(crate) struct CompletionRequest {
    pub(crate) model: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) generation: Generation,
    /// Likeliest tokens with each token.
    pub(crate) likeliest: Option<usize>,
    pub(crate) echo: bool,
}

impl CompletionRequest {
    /// Reads and checks a body.
    pub(crate) fn read(body: &[u8], limits: &Limits, vocabulary: usize) -> Result<Self, ApiError> {
        let mut fields = Fields::of(body)?;
        let own: CompletionFields = fields.take()?;
        let mut common: GenerationFields = fields.take()?;
        fields.finish()?;
        Ok(Self {
            model: common.model.take(),
            prompt: own.prompt,
            generation: common.check(limits, vocabulary)?,
            likeliest: within("logprobs", own.logprobs, 0..=limits.likeliest)?,
            echo: own.echo.unwrap_or_default(),
        })
    }
}

impl PartialSchema for CompletionRequest {
    fn schema() -> RefOr<Schema> {
        both::<CompletionFields, GenerationFields>()
    }
}

impl ToSchema for CompletionRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        CompletionFields::schemas(schemas);
        GenerationFields::schemas(schemas);
    }
}

/// Completions, or a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionAnswer {
    pub(crate) id: String,
    /// `text_completion`
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// Who answered.
    pub(crate) model: String,
    /// The program and its version.
    pub(crate) system_fingerprint: &'static str,
    pub(crate) choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

/// One answer, or a piece of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionChoice {
    pub(crate) index: usize,
    pub(crate) text: String,
    pub(crate) logprobs: Option<CompletionLogprobs>,
    pub(crate) finish_reason: Option<FinishReason>,
}

/// The tokens of a text with their log-probabilities.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CompletionLogprobs {
    /// As they are written; a token that is no whole character has its bytes, `bytes:\xe2\x80`.
    pub(crate) tokens: Vec<String>,
    /// None for a prompt's first token.
    pub(crate) token_logprobs: Vec<Option<f32>>,
    /// The likeliest tokens in each place.
    #[schema(value_type = Vec<Option<std::collections::BTreeMap<String, f32>>>)]
    pub(crate) top_logprobs: Vec<Option<Likeliest>>,
    /// Where each token begins, in characters from the beginning of the prompt.
    pub(crate) text_offset: Vec<usize>,
}

/// Tokens and their log-probabilities, the likeliest first.
#[derive(Debug)]
pub(crate) struct Likeliest(pub(crate) Vec<(String, f32)>);

impl Serialize for Likeliest {
    /// An object. Of two tokens that are written alike, it has the likelier one.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (number, (token, value)) in self.0.iter().enumerate() {
            if self.0[..number].iter().all(|(earlier, _)| earlier != token) {
                map.serialize_entry(token, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Result<CompletionRequest, ApiError> {
        CompletionRequest::read(body.to_string().as_bytes(), &Limits::default(), 400)
    }

    #[test]
    fn a_prompt_has_four_forms() {
        let prompt = |value| read(json!({ "prompt": value })).unwrap().prompt.unwrap();
        assert_eq!(prompt(json!("a")), Prompt::Text("a".into()));
        assert_eq!(prompt(json!(["a", "b"])), Prompt::Texts(vec!["a".into(), "b".into()]));
        assert_eq!(prompt(json!([1, 2])), Prompt::Ids(vec![1, 2]));
        assert_eq!(prompt(json!([[1], [2, 3]])), Prompt::IdLists(vec![vec![1], vec![2, 3]]));
        assert!(read(json!({})).unwrap().prompt.is_none());
        for wrong in [json!(5), json!({"a": 1}), json!([1, "a"]), json!([-1]), json!([[["a"]]])] {
            let error = read(json!({ "prompt": wrong })).unwrap_err();
            assert_eq!(error.told().2, Some("prompt"));
            assert!(error.told().1.contains("list of token ids"), "{error:?}");
        }
    }

    #[test]
    fn fields_of_both_kinds_are_read_and_others_refused() {
        let read_all =
            read(json!({"prompt": "a", "echo": true, "logprobs": 0, "n": 3, "user": "me"})).unwrap();
        assert!(read_all.echo && read_all.likeliest == Some(0) && read_all.generation.answers == 3);
        assert_eq!(read(json!({"prompt": "a", "best_of": 2})).unwrap_err().told().2, Some("best_of"));
        assert_eq!(read(json!({"prompt": "a", "messages": []})).unwrap_err().told().2, Some("messages"));
        assert_eq!(read(json!({"prompt": "a", "logprobs": 21})).unwrap_err().told().2, Some("logprobs"));
    }

    #[test]
    fn numbers_keep_their_digits_wherever_they_stand() {
        let value = -0.123_456_79_f32;
        let logprobs = CompletionLogprobs {
            tokens: vec!["a".into()],
            token_logprobs: vec![Some(value)],
            top_logprobs: vec![Some(Likeliest(vec![("a".into(), value), ("a".into(), -9.0)]))],
            text_offset: vec![0],
        };
        let text = serde_json::to_string(&logprobs).unwrap();
        assert_eq!(text.matches("-0.12345679").count(), 2, "{text}");
        assert!(!text.contains("-9"), "{text}");
    }
}
