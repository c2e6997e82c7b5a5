//! `POST /v1/chat/completions`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use gptneo_datasets::Tokenizer;

use super::{Refusals, id};
use crate::answer::{Piece, Plan, ScoredToken, begin};
use crate::chat_template::RenderError;
use crate::error::ApiError;
use crate::openai::FINGERPRINT;
use crate::openai::chat::{
    AnswerMessage, ChatAnswer, ChatChoice, ChatHead, ChatLogprobs, ChatPiece, ChatPieceChoice, ChatRequest,
    ChatToken, Delta, TokenLogprob,
};
use crate::openai::generation::{Delivery, Usage};
use crate::server::{Server, seconds_since_1970};
use crate::text::{shown, shown_bytes};
use crate::{events, reply};

/// Answer a question, asked as the model was tuned.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answers, or their pieces as events.",
         content((ChatAnswer = "application/json"), (events::Event = "text/event-stream"))),
        Refusals,
    )
)]
pub(crate) async fn chat_completions(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = server.body(request).await?;
    let request = ChatRequest::read(&body, &server.limits, server.vocabulary())?;
    let model = server.models.find(request.model.as_deref())?;
    let (messages, positions) = (request.messages, server.positions());
    if messages.len() > positions {
        let found = messages.len();
        return Err(ApiError::too_long(
            "messages",
            format!("there are {found} messages, but the model has {positions} positions for their tokens"),
        ));
    }
    let template = model.template.clone();
    let prompt = server.apart(move |_| template.render(&messages)).await?.map_err(|error| match error {
        RenderError::Refused(reason) => {
            ApiError::field("messages", format_args!("cannot be asked: {reason}"))
        }
        RenderError::Failed(reason) => ApiError::internal(reason),
    })?;
    let (adapter, delivery, likeliest) =
        (model.adapter.clone(), request.generation.delivery, request.likeliest);
    let head = ChatHead {
        id: id("chatcmpl"),
        object: match delivery {
            Delivery::Whole => "chat.completion",
            Delivery::Pieces { .. } => "chat.completion.chunk",
        },
        created: seconds_since_1970(),
        model: model.name.clone(),
        system_fingerprint: FINGERPRINT,
    };
    let plan = Plan {
        adapter,
        end_tokens: model.end_tokens.clone(),
        prompts: server.encode(vec![prompt]).await?,
        generation: request.generation,
        usual_tokens: None,
        likeliest,
        echo: false,
    };
    let answers = begin(&server, plan)?;
    let mut beginnings = Beginnings::of(answers.count);
    let scored = likeliest.is_some();
    match delivery {
        Delivery::Whole => {
            let (answers, usage) = events::whole(answers).await?;
            let choice = |pieces: Vec<Piece>| whole(&server.tokenizer, pieces, &mut beginnings, scored);
            let choices = answers.into_iter().map(choice).collect();
            Ok(reply::json(StatusCode::OK, &ChatAnswer { head, choices, usage }))
        }
        Delivery::Pieces { usage } => {
            let (of_first, of_last) = (head.clone(), head.clone());
            let first = (0..answers.count).map(move |index| {
                let delta = Delta { role: Some("assistant"), content: Some(String::new()) };
                let choice = ChatPieceChoice { index, delta, logprobs: None, finish_reason: None };
                ChatPiece { head: of_first.clone(), choices: vec![choice], usage: None }
            });
            let first = first.collect();
            let event = move |piece: Piece| {
                let Piece { index, text, tokens, finish, .. } = piece;
                let text = beginnings.without_white_space(index, text);
                let delta = Delta { role: None, content: (!text.is_empty()).then_some(text) };
                let logprobs = scored.then(|| logprobs(&server.tokenizer, tokens));
                let choice = ChatPieceChoice { index, delta, logprobs, finish_reason: finish };
                ChatPiece { head: head.clone(), choices: vec![choice], usage: None }
            };
            let last = move |counts: Usage| {
                usage.then(|| ChatPiece { head: of_last.clone(), choices: Vec::new(), usage: Some(counts) })
            };
            Ok(events::stream(answers, first, event, last))
        }
    }
}

/// Which answers have not begun. The white space that an answer begins with belongs to the template, where it stands
/// between the prompt and what it asks for.
struct Beginnings(Vec<bool>);

impl Beginnings {
    fn of(answers: usize) -> Self {
        Self(vec![true; answers])
    }

    fn without_white_space(&mut self, index: usize, text: String) -> String {
        let Some(begins) = self.0.get_mut(index).filter(|begins| **begins) else { return text };
        let text = text.trim_start().to_string();
        *begins = text.is_empty();
        text
    }
}

/// The pieces of an answer as one.
fn whole(tokenizer: &Tokenizer, pieces: Vec<Piece>, beginnings: &mut Beginnings, scored: bool) -> ChatChoice {
    let (mut content, mut listed, mut index, mut finish_reason) = (String::new(), Vec::new(), 0, None);
    for piece in pieces {
        index = piece.index;
        finish_reason = piece.finish;
        content.push_str(&beginnings.without_white_space(index, piece.text));
        listed.extend(piece.tokens);
    }
    ChatChoice {
        index,
        message: AnswerMessage { role: "assistant", content, refusal: None },
        logprobs: scored.then(|| logprobs(tokenizer, listed)),
        finish_reason,
    }
}

fn logprobs(tokenizer: &Tokenizer, tokens: Vec<ScoredToken>) -> ChatLogprobs {
    let named = |id, logprob| TokenLogprob {
        token: shown(tokenizer, id),
        logprob,
        bytes: shown_bytes(tokenizer, id),
    };
    let listed = tokens.into_iter().filter_map(|ScoredToken { id, score, .. }| {
        let score = score?;
        let top_logprobs = score.top.into_iter().map(|(id, value)| named(id, value)).collect();
        Some(ChatToken { token: named(id, score.log_probability), top_logprobs })
    });
    ChatLogprobs { content: listed.collect(), refusal: None }
}
