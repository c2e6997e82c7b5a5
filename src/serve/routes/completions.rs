//! `POST /v1/completions`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use gptneo_datasets::Tokenizer;

use super::{Refusals, id};
use crate::answer::{Piece, Plan, ScoredToken, begin};
use crate::error::ApiError;
use crate::openai::FINGERPRINT;
use crate::openai::completions::{
    CompletionAnswer, CompletionChoice, CompletionLogprobs, CompletionRequest, Likeliest, Prompt,
};
use crate::openai::generation::{Delivery, Usage};
use crate::server::{Server, seconds_since_1970};
use crate::text::shown;
use crate::{events, reply};

/// New tokens where a request does not say how many, as OpenAI has it.
const USUAL_TOKENS: usize = 16;

/// Continue prompts, or score them.
#[utoipa::path(
    post,
    path = "/v1/completions",
    request_body = CompletionRequest,
    responses(
        (status = 200, description = "The answers, or their pieces as events.",
         content((CompletionAnswer = "application/json"), (events::Event = "text/event-stream"))),
        Refusals,
    )
)]
pub(crate) async fn completions(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = server.body(request).await?;
    let request = CompletionRequest::read(&body, &server.limits, server.vocabulary())?;
    let model = server.models.find(request.model.as_deref())?;
    let (adapter, delivery, likeliest) =
        (model.adapter.clone(), request.generation.delivery, request.likeliest);
    let head = Head { id: id("cmpl"), created: seconds_since_1970(), model: model.name.clone() };
    let plan = Plan {
        adapter,
        end_tokens: model.end_tokens.clone(),
        prompts: prompts(&server, request.prompt).await?,
        generation: request.generation,
        usual_tokens: Some(USUAL_TOKENS),
        likeliest,
        echo: request.echo,
    };
    let answers = begin(&server, plan)?;
    let scored = likeliest.is_some();
    match delivery {
        Delivery::Whole => {
            let (answers, usage) = events::whole(answers).await?;
            let choice = |pieces| joined(&server.tokenizer, pieces, scored);
            let choices = answers.into_iter().map(choice).collect();
            Ok(reply::json(StatusCode::OK, &head.answer(choices, Some(usage))))
        }
        Delivery::Pieces { usage } => {
            let (head, of_last) = (head.clone(), head);
            let event =
                move |piece: Piece| head.answer(vec![joined(&server.tokenizer, vec![piece], scored)], None);
            let last = move |counts: Usage| usage.then(|| of_last.answer(Vec::new(), Some(counts)));
            Ok(events::stream(answers, Vec::new(), event, last))
        }
    }
}

/// The prompts' tokens.
async fn prompts(server: &Arc<Server>, prompt: Option<Prompt>) -> Result<Vec<Vec<u32>>, ApiError> {
    match prompt {
        None => Ok(vec![vec![server.tokenizer.end_of_text()]]),
        Some(Prompt::Text(text)) => server.encode(vec![text]).await,
        Some(Prompt::Texts(texts)) => server.encode(texts).await,
        Some(Prompt::Ids(ids)) => Ok(vec![ids]),
        Some(Prompt::IdLists(lists)) => Ok(lists),
    }
}

/// What every answer and every piece begins with.
#[derive(Clone)]
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn answer(&self, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> CompletionAnswer {
        CompletionAnswer {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        }
    }
}

/// The pieces of an answer as one.
fn joined(tokenizer: &Tokenizer, pieces: Vec<Piece>, scored: bool) -> CompletionChoice {
    let index = pieces.first().map_or(0, |piece| piece.index);
    let mut choice = CompletionChoice { index, text: String::new(), logprobs: None, finish_reason: None };
    let mut logprobs = CompletionLogprobs::default();
    for Piece { text, tokens, finish, .. } in pieces {
        choice.text.push_str(&text);
        choice.finish_reason = finish;
        tokens.into_iter().for_each(|token| list(tokenizer, token, &mut logprobs));
    }
    choice.logprobs = scored.then_some(logprobs);
    choice
}

fn list(tokenizer: &Tokenizer, token: ScoredToken, logprobs: &mut CompletionLogprobs) {
    let ScoredToken { id, offset, score } = token;
    logprobs.tokens.push(shown(tokenizer, id));
    logprobs.text_offset.push(offset);
    logprobs.token_logprobs.push(score.as_ref().map(|score| score.log_probability));
    logprobs.top_logprobs.push(score.map(|score| {
        let itself = (!score.top.iter().any(|(top, _)| *top == id)).then_some((id, score.log_probability));
        let listed = score.top.into_iter().chain(itself);
        Likeliest(listed.map(|(id, value)| (shown(tokenizer, id), value)).collect())
    }));
}
