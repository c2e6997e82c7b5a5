//! Answers in pieces, as server-sent events: `data: JSON`, a blank line after each, `data: [DONE]` at the end.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream::poll_fn;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answers, Piece};
use super::error::ApiError;
use super::openai::generation::Usage;
use super::reply;

/// An event as a client reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description; what is sent is written by `line`")]
pub(super) struct Event {
    /// A piece of the answer as JSON, or `[DONE]`.
    data: String,
}

/// Sends the pieces as they come: `first` before them, each as `event` words it, and `last` with the tokens' counts, if it
/// words them. An error after the first event can only be an event itself.
pub(super) fn stream<T: Serialize + Send>(
    answers: Answers,
    first: Vec<T>,
    mut event: impl FnMut(Piece) -> T + Send + 'static,
    last: impl Fn(Usage) -> Option<T> + Send + 'static,
) -> Response {
    let Answers { mut pieces, prompt_tokens, .. } = answers;
    let mut waiting: Vec<Bytes> = first.iter().map(line).rev().collect();
    let (mut usage, mut open) = (Usage { prompt_tokens, ..Usage::default() }, true);
    let body = poll_fn(move |context| {
        if let Some(bytes) = waiting.pop() {
            return std::task::Poll::Ready(Some(Ok::<_, Infallible>(bytes)));
        }
        if !open {
            return std::task::Poll::Ready(None);
        }
        pieces.poll_recv(context).map(|piece| {
            Some(Ok(match piece {
                Some(Ok(piece)) => {
                    usage.completion_tokens += if piece.finish.is_some() { piece.new_tokens } else { 0 };
                    line(&event(piece))
                }
                Some(Err(error)) => {
                    open = false;
                    line(&error.body)
                }
                None => {
                    open = false;
                    usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
                    let counted = last(usage).map(|event| line(&event)).unwrap_or_default();
                    [&counted[..], b"data: [DONE]\n\n"].concat().into()
                }
            }))
        })
    });
    let mut response = reply::of_type("text/event-stream", StatusCode::OK, Body::from_stream(body));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn line(event: &impl Serialize) -> Bytes {
    format!("data: {}\n\n", serde_json::to_string(event).unwrap_or_default()).into()
}

/// All pieces, answer by answer, and the tokens' counts.
pub(super) async fn whole(answers: Answers) -> Result<(Vec<Vec<Piece>>, Usage), ApiError> {
    let Answers { mut pieces, count, prompt_tokens } = answers;
    let mut found: Vec<Vec<Piece>> = (0..count).map(|_| Vec::new()).collect();
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        let index = piece.index;
        found[index].push(piece);
    }
    let last = |pieces: &Vec<Piece>| pieces.last().map_or(0, |piece| piece.new_tokens);
    let completion_tokens = found.iter().map(last).sum();
    Ok((found, Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }))
}
