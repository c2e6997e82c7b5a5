//! `/tokenize`, `/detokenize` and `/tokenizer_info`, as vLLM has them and lm-evaluation-harness asks for them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Refusals;
use crate::error::ApiError;
use crate::openai::fields::Fields;
use crate::reply;
use crate::server::Server;

/// A text whose tokens are asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenizeRequest {
    /// A name of a model; all have the same tokens.
    #[serde(rename = "model")]
    _model: Option<String>,
    /// The text.
    prompt: String,
    /// No token is added either way.
    #[serde(rename = "add_special_tokens")]
    _add_special_tokens: Option<bool>,
}

/// The tokens of a text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenizeAnswer {
    tokens: Vec<u32>,
    count: usize,
    /// Tokens that a prompt and its answer may have together.
    max_model_len: usize,
}

/// Tokens whose text is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetokenizeRequest {
    /// A name of a model; all have the same tokens.
    #[serde(rename = "model")]
    _model: Option<String>,
    /// The tokens.
    tokens: Vec<u32>,
}

/// The text of tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct DetokenizeAnswer {
    prompt: String,
}

/// What the tokenizer is.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenizerInfo {
    /// `PreTrainedTokenizerFast`
    tokenizer_class: &'static str,
    eos_token: String,
    eos_token_id: u32,
    bos_token: String,
    bos_token_id: u32,
    pad_token: String,
    vocab_size: usize,
    model_max_length: usize,
    /// The base's, in Jinja.
    chat_template: Option<String>,
}

/// The tokens of a text.
#[utoipa::path(
    post,
    path = "/tokenize",
    request_body = TokenizeRequest,
    responses((status = 200, description = "The tokens.", body = TokenizeAnswer), Refusals)
)]
pub(crate) async fn tokenize(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, ApiError> {
    let asked: TokenizeRequest = read(&server.body(request).await?)?;
    let tokens = server.encode(vec![asked.prompt]).await?.into_iter().flatten().collect::<Vec<u32>>();
    let (count, max_model_len) = (tokens.len(), server.positions());
    Ok(reply::json(StatusCode::OK, &TokenizeAnswer { tokens, count, max_model_len }))
}

/// The text of tokens.
#[utoipa::path(
    post,
    path = "/detokenize",
    request_body = DetokenizeRequest,
    responses((status = 200, description = "The text.", body = DetokenizeAnswer), Refusals)
)]
pub(crate) async fn detokenize(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, ApiError> {
    let asked: DetokenizeRequest = read(&server.body(request).await?)?;
    let vocabulary = server.vocabulary();
    if let Some(id) = asked.tokens.iter().find(|id| **id as usize >= vocabulary) {
        return Err(ApiError::field("tokens", format_args!("has {id}, expected ids below {vocabulary}")));
    }
    let decoded = server.apart(move |server| server.tokenizer.decode_all(&asked.tokens)).await?;
    let prompt = decoded.map_err(|error| ApiError::malformed(error.to_string()))?;
    Ok(reply::json(StatusCode::OK, &DetokenizeAnswer { prompt }))
}

/// What the tokenizer is.
#[utoipa::path(
    get,
    path = "/tokenizer_info",
    responses((status = 200, description = "The tokenizer.", body = TokenizerInfo), Refusals)
)]
pub(crate) async fn tokenizer_info(State(server): State<Arc<Server>>) -> Response {
    let end = server.tokenizer.end_of_text();
    let token = || server.tokenizer.end_of_text_token().to_string();
    let info = TokenizerInfo {
        tokenizer_class: "PreTrainedTokenizerFast",
        eos_token: token(),
        eos_token_id: end,
        bos_token: token(),
        bos_token_id: end,
        pad_token: token(),
        vocab_size: server.tokenizer.vocab_size(),
        model_max_length: server.positions(),
        chat_template: server.models.iter().next().map(|base| base.template.source().to_string()),
    };
    reply::json(StatusCode::OK, &info)
}

fn read<T: serde::de::DeserializeOwned + utoipa::PartialSchema>(body: &[u8]) -> Result<T, ApiError> {
    let mut fields = Fields::of(body)?;
    let asked = fields.take()?;
    fields.finish()?;
    Ok(asked)
}
