//! `/v1/chat/completions`: its fields and its answers.

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::fields::{Fields, both, within};
use super::generation::{FinishReason, Generation, GenerationFields, Usage};
use crate::chat_template::Message;
use crate::error::ApiError;
use crate::limits::Limits;

/// The fields that only chats have.
#[derive(Debug, Deserialize, ToSchema)]
struct ChatFields {
    /// The question, as a message of the role `user`; before it, a message of the role `system` can be the
    /// instruction. Several turns need a template for them.
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    /// The most tokens to add, as `max_tokens`.
    #[schema(minimum = 0, maximum = 1_000_000)]
    max_completion_tokens: Option<usize>,
    /// Whether to send the tokens with their log-probabilities of the model itself.
    logprobs: Option<bool>,
    /// How many of the likeliest tokens to list with each.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<usize>,
}

/// A message of a chat.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChatMessage {
    role: Role,
    content: Content,
    /// Who speaks, for templates that tell.
    name: Option<String>,
}

/// Whose message it is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// The instruction.
    System,
    /// The instruction, by its newer name.
    Developer,
    /// The question.
    User,
    /// An answer.
    Assistant,
}

/// What a message says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of parts of the type \"text\"")]
enum Content {
    Text(String),
    Parts(Vec<TextPart>),
}

/// A part of a message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TextPart {
    #[serde(rename = "type")]
    _kind: TextType,
    text: String,
}

/// The type of a part.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TextType {
    /// Text.
    Text,
}

/// The body of a request for a chat's answer.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<Message>,
    pub(crate) generation: Generation,
    /// Likeliest tokens with each token.
    pub(crate) likeliest: Option<usize>,
}

impl ChatRequest {
    /// Reads and checks a body.
    pub(crate) fn read(body: &[u8], limits: &Limits, vocabulary: usize) -> Result<Self, ApiError> {
        let mut fields = Fields::of(body)?;
        let own: ChatFields = fields.take()?;
        let mut common: GenerationFields = fields.take()?;
        fields.finish()?;
        let model = common.model.take();
        let mut generation = common.check(limits, vocabulary)?;
        let most = within("max_completion_tokens", own.max_completion_tokens, 0..=1_000_000)?;
        if most.is_some() && generation.max_tokens.is_some() && most != generation.max_tokens {
            return Err(ApiError::field(
                "max_completion_tokens",
                "and `max_tokens` say different things: give one",
            ));
        }
        generation.max_tokens = most.or(generation.max_tokens);
        let top = within("top_logprobs", own.top_logprobs, 0..=limits.likeliest)?;
        let likeliest = match (own.logprobs.unwrap_or_default(), top) {
            (true, top) => Some(top.unwrap_or_default()),
            (false, None) => None,
            (false, Some(_)) => {
                return Err(ApiError::field("top_logprobs", "lists nothing alone: set `logprobs` too"));
            }
        };
        let messages = own.messages.into_iter().map(Message::from).collect();
        Ok(Self { model, messages, generation, likeliest })
    }
}

impl From<ChatMessage> for Message {
    fn from(ChatMessage { role, content, name }: ChatMessage) -> Self {
        let role = match role {
            Role::System | Role::Developer => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let content = match content {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        };
        Self { role, content, name }
    }
}

impl PartialSchema for ChatRequest {
    fn schema() -> RefOr<Schema> {
        both::<ChatFields, GenerationFields>()
    }
}

impl ToSchema for ChatRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ChatFields::schemas(schemas);
        GenerationFields::schemas(schemas);
    }
}

/// A chat's answers, whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatAnswer {
    #[serde(flatten)]
    pub(crate) head: ChatHead,
    pub(crate) choices: Vec<ChatChoice>,
    pub(crate) usage: Usage,
}

/// A piece of a chat's answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatPiece {
    #[serde(flatten)]
    pub(crate) head: ChatHead,
    pub(crate) choices: Vec<ChatPieceChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

/// What every answer and every piece begins with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ChatHead {
    pub(crate) id: String,
    /// `chat.completion` or `chat.completion.chunk`
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// Who answers.
    pub(crate) model: String,
    /// The program and its version.
    pub(crate) system_fingerprint: &'static str,
}

/// One answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    pub(crate) index: usize,
    pub(crate) message: AnswerMessage,
    pub(crate) logprobs: Option<ChatLogprobs>,
    pub(crate) finish_reason: Option<FinishReason>,
}

/// A piece of one answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatPieceChoice {
    pub(crate) index: usize,
    pub(crate) delta: Delta,
    pub(crate) logprobs: Option<ChatLogprobs>,
    pub(crate) finish_reason: Option<FinishReason>,
}

/// The message that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerMessage {
    /// `assistant`
    pub(crate) role: &'static str,
    pub(crate) content: String,
    /// Always none.
    pub(crate) refusal: Option<String>,
}

/// What a piece adds to the message.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
}

/// The tokens of an answer with their log-probabilities.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs {
    pub(crate) content: Vec<ChatToken>,
    /// Always none.
    pub(crate) refusal: Option<Vec<ChatToken>>,
}

/// A token in its place, with the likeliest ones there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatToken {
    #[serde(flatten)]
    pub(crate) token: TokenLogprob,
    pub(crate) top_logprobs: Vec<TokenLogprob>,
}

/// A token and its log-probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenLogprob {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    /// Exact where the token is no whole character.
    pub(crate) bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn read(body: Value) -> Result<ChatRequest, ApiError> {
        ChatRequest::read(body.to_string().as_bytes(), &Limits::default(), 400)
    }

    fn asked(mut more: Value) -> Value {
        more["messages"] = json!([{"role": "user", "content": "Why?"}]);
        more
    }

    #[test]
    fn content_is_a_text_or_parts_of_text() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let request = read(json!({"messages": [{"role": "user", "content": parts}]})).unwrap();
        assert_eq!((request.messages[0].role, request.messages[0].content.as_str()), ("user", "ab"));
        let image = json!([{"type": "image_url", "image_url": {"url": "x"}}]);
        let error = read(json!({"messages": [{"role": "user", "content": image}]})).unwrap_err();
        assert_eq!(error.told().2, Some("messages[0].content"));
        let error = read(json!({"messages": [{"role": "tool", "content": "a"}]})).unwrap_err();
        assert_eq!(error.told().2, Some("messages[0].role"));
    }

    /// Clients send an answer back as it came, for the next question.
    #[test]
    fn a_message_is_taken_back_as_it_was_given() {
        let given = serde_json::to_value(AnswerMessage {
            role: "assistant",
            content: "Because.".into(),
            refusal: None,
        });
        let messages = json!([
            {"role": "developer", "content": "Be short.", "name": null},
            {"role": "user", "content": "Why?", "name": "bob"},
            given.unwrap(),
            {"role": "user", "content": "And?"},
        ]);
        let messages = read(json!({"messages": messages})).unwrap().messages;
        assert_eq!((messages[0].role, messages[1].name.as_deref()), ("system", Some("bob")));
        assert_eq!((messages[2].role, messages[2].content.as_str()), ("assistant", "Because."));
        let refused = json!({"messages": [{"role": "user", "content": "a", "audio": {}}]});
        assert_eq!(read(refused).unwrap_err().told().2, Some("messages[0].audio"));
    }

    #[test]
    fn two_names_for_the_longest_answer_may_not_contradict_each_other() {
        let most = |more| Ok::<_, ApiError>(read(asked(more))?.generation.max_tokens);
        assert_eq!(most(json!({"max_completion_tokens": 5})).unwrap(), Some(5));
        assert_eq!(most(json!({"max_completion_tokens": 5, "max_tokens": 5})).unwrap(), Some(5));
        assert!(most(json!({"max_completion_tokens": 5, "max_tokens": 6})).is_err());
    }

    #[test]
    fn likeliest_tokens_come_with_log_probabilities_alone() {
        let likeliest = |more| Ok::<_, ApiError>(read(asked(more))?.likeliest);
        assert_eq!(likeliest(json!({"logprobs": true})).unwrap(), Some(0));
        assert_eq!(likeliest(json!({"logprobs": true, "top_logprobs": 3})).unwrap(), Some(3));
        assert_eq!(likeliest(json!({"logprobs": false})).unwrap(), None);
        assert_eq!(likeliest(json!({"top_logprobs": 3})).unwrap_err().told().2, Some("top_logprobs"));
    }

    #[test]
    fn tools_are_refused_by_name() {
        assert_eq!(read(asked(json!({"tools": []}))).unwrap_err().told().2, Some("tools"));
    }
}
