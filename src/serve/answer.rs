//! Answers on their way: what a request asks of the engine, and the pieces of text that come of it. Whoever drops the
//! pieces' receiver, because the client has left, say, cancels the sequences behind it.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_util::future;
use gptneo_datasets::DataError;
use gptneo_model::engine::{Event, Reason, Request, Sampling, Ticket, TokenScore};
use gptneo_model::{PenaltyScope, SamplingConfig};
use tokio::sync::mpsc;

use super::error::ApiError;
use super::openai::generation::{Choice, FinishReason, Generation};
use super::server::Server;
use super::text::{AnswerText, Piece as TextPiece, Placed, StopStrings, prompt_text};

/// Pieces that wait for a client that reads slowly, before its request waits as well.
const WAITING_PIECES: usize = 64;

/// What a request asks for, checked.
#[derive(Debug)]
pub(super) struct Plan {
    /// The adapter that answers.
    pub(super) adapter: Option<String>,
    /// The tokens that end an answer, unless the request says that none does.
    pub(super) end_tokens: Vec<u32>,
    /// The prompts' tokens.
    pub(super) prompts: Vec<Vec<u32>>,
    /// How they are continued.
    pub(super) generation: Generation,
    /// New tokens where the request does not say how many; all that there is room for where this does not, either.
    pub(super) usual_tokens: Option<usize>,
    /// Likeliest tokens that are listed with each.
    pub(super) likeliest: Option<usize>,
    /// Whether an answer begins with its prompt.
    pub(super) echo: bool,
}

/// A piece of an answer.
#[derive(Debug)]
pub(super) struct Piece {
    /// The answer's number: those to the first prompt come first.
    pub(super) index: usize,
    pub(super) text: String,
    /// The tokens that begin in the text so far, where they are asked for.
    pub(super) tokens: Vec<ScoredToken>,
    /// Set on the last piece.
    pub(super) finish: Option<FinishReason>,
    /// Tokens that were added; set on the last piece.
    pub(super) new_tokens: usize,
}

/// A token with its place in the text and its score.
#[derive(Debug)]
pub(super) struct ScoredToken {
    pub(super) id: u32,
    /// Characters before it, from the beginning of the prompt.
    pub(super) offset: usize,
    /// None for a prompt's first token.
    pub(super) score: Option<TokenScore>,
}

/// Answers that were begun.
#[derive(Debug)]
pub(super) struct Answers {
    /// Their pieces; an error is the last.
    pub(super) pieces: mpsc::Receiver<Result<Piece, ApiError>>,
    /// How many answers there are.
    pub(super) count: usize,
    /// Tokens of the prompts.
    pub(super) prompt_tokens: usize,
}

impl Plan {
    /// The most new tokens of a prompt's answer.
    fn new_tokens(&self, prompt: &[u32], server: &Server) -> Result<usize, ApiError> {
        let (length, positions) = (prompt.len(), server.positions());
        let room = positions.saturating_sub(length);
        match self.generation.max_tokens {
            Some(asked) if asked > room => Err(ApiError::too_long(
                "max_tokens",
                format!(
                    "the prompt has {length} tokens and {asked} more are asked for, but the model has {positions} \
                     positions: shorten the prompt or ask for {room} or fewer"
                ),
            )),
            _ if length > positions => Err(ApiError::too_long(
                "prompt",
                format!("the prompt has {length} tokens, but the model has {positions} positions"),
            )),
            Some(asked) => Ok(asked),
            None => {
                // The last new token is never read, so the cache does not hold it.
                let cache = server.engine.limits().cache_tokens;
                let room = room.min((cache + 1).saturating_sub(length));
                if room == 0 && !self.echo {
                    return Err(ApiError::too_long(
                        "prompt",
                        format!(
                            "the prompt has {length} tokens, which leaves no room for an answer: the model has \
                             {positions} positions and the server's cache {cache}"
                        ),
                    ));
                }
                Ok(self.usual_tokens.map_or(room, |usual| usual.min(room)))
            }
        }
    }

    /// What the engine is asked for one answer.
    fn request(&self, server: &Server, prompt: usize, stream: usize) -> Result<Request, ApiError> {
        let prompt = &self.prompts[prompt];
        let max_new_tokens = self.new_tokens(prompt, server)?;
        let Choice { temperature, top_p, top_k, repetition_penalty, seed, .. } = self.generation.choice;
        let Choice { presence_penalty, frequency_penalty, ref logit_bias, .. } = self.generation.choice;
        Ok(Request {
            prompt: prompt.clone(),
            adapter: self.adapter.clone(),
            max_new_tokens,
            sampling: Sampling {
                config: SamplingConfig {
                    temperature,
                    top_k,
                    top_p,
                    repetition_penalty,
                    penalty_scope: PenaltyScope::Text,
                    seed,
                },
                presence_penalty: presence_penalty as f32,
                frequency_penalty: frequency_penalty as f32,
                logit_bias: logit_bias.clone(),
                stream,
            },
            end_tokens: match self.generation.ignore_end {
                true => Vec::new(),
                false => self.end_tokens.clone(),
            },
            log_probabilities: self.likeliest,
            score_prompt: self.echo && self.likeliest.is_some(),
        })
    }

    fn check(&self, server: &Server) -> Result<(), ApiError> {
        let vocabulary = server.vocabulary();
        for prompt in &self.prompts {
            if prompt.is_empty() {
                let end = server.tokenizer.end_of_text();
                return Err(ApiError::field(
                    "prompt",
                    format_args!("is empty; to begin a text, give [{end}], the end-of-text"),
                ));
            }
            if let Some(id) = prompt.iter().find(|id| **id as usize >= vocabulary) {
                return Err(ApiError::field(
                    "prompt",
                    format_args!("has the token {id}, expected ids below {vocabulary}"),
                ));
            }
        }
        let (answers, most) = (self.prompts.len() * self.generation.answers, server.most_answers());
        match answers {
            0 => Err(ApiError::field("prompt", "is an empty list")),
            _ if answers > most => Err(ApiError::field(
                "n",
                format_args!("and the prompts make {answers} answers, expected at most {most} in a request"),
            )),
            _ => Ok(()),
        }
    }
}

/// One answer of a request.
struct Asked {
    prompt: usize,
    /// None where nothing is to be computed.
    ticket: Option<Ticket>,
}

/// Asks the engine for all answers of a request, or for none.
///
/// The pieces are made by a task of their own, which ends when their receiver is dropped.
pub(super) fn begin(server: &Arc<Server>, plan: Plan) -> Result<Answers, ApiError> {
    plan.check(server)?;
    let asked = submit(server, &plan)?;
    let (sink, pieces) = mpsc::channel(WAITING_PIECES);
    let answers =
        Answers { pieces, count: asked.len(), prompt_tokens: plan.prompts.iter().map(Vec::len).sum() };
    let server = server.clone();
    let begun = Instant::now();
    tokio::spawn(async move {
        let left = sink.clone();
        let work = async {
            if let Err(error) = tell(&server, &plan, asked, &sink, begun).await {
                // A client that has left does not mind.
                let _ = sink.send(Err(error)).await;
            }
        };
        future::select(pin!(left.closed()), pin!(work)).await;
    });
    Ok(answers)
}

fn submit(server: &Server, plan: &Plan) -> Result<Vec<Asked>, ApiError> {
    let mut asked = Vec::new();
    for prompt in 0..plan.prompts.len() {
        for stream in 0..plan.generation.answers {
            // Without a seed no two answers of a request draw alike, be their prompts the same.
            let stream = if plan.generation.is_seeded { stream } else { asked.len() };
            let request = plan.request(server, prompt, stream)?;
            let computes = request.max_new_tokens > 0 || request.score_prompt;
            let ticket = computes.then(|| server.submit(request)).transpose()?;
            asked.push(Asked { prompt, ticket });
        }
    }
    Ok(asked)
}

type Sink = mpsc::Sender<Result<Piece, ApiError>>;

/// An answer on its way.
struct Running<'a> {
    index: usize,
    /// None where the answer has ended.
    ticket: Option<Ticket>,
    text: Option<AnswerText<'a, Option<ScoredToken>>>,
    new_tokens: usize,
}

/// Turns what the engine tells into pieces until all answers have ended. An error means that nothing more will come;
/// a sink that is closed ends it without one.
async fn tell(
    server: &Arc<Server>,
    plan: &Plan,
    asked: Vec<Asked>,
    sink: &Sink,
    begun: Instant,
) -> Result<(), ApiError> {
    let tokenizer = &server.tokenizer;
    let failed = |error: DataError| ApiError::internal(error);
    // A prompt's text is for the places of tokens, and for the echo.
    let prompts = if plan.echo || plan.likeliest.is_some() {
        let prompts = plan.prompts.clone();
        let texts = move |server: &Server| {
            prompts.iter().map(|prompt| prompt_text(&server.tokenizer, prompt)).collect::<Result<_, _>>()
        };
        server.apart(texts).await?.map_err(failed)?
    } else {
        vec![Default::default(); plan.prompts.len()]
    };
    let mut running = Vec::new();
    for (index, Asked { prompt, ticket }) in asked.into_iter().enumerate() {
        let (text, _) = &prompts[prompt];
        let stops = StopStrings::new(plan.generation.stops.clone());
        let mut answer = Running {
            index,
            text: Some(AnswerText::new(tokenizer, stops, text.chars().count())),
            new_tokens: 0,
            ticket,
        };
        let scored = plan.likeliest.is_some();
        if plan.echo && !(scored && answer.ticket.is_some()) {
            send(sink, answer.piece(text.clone(), Vec::new(), None)).await?;
        }
        if answer.ticket.is_none() {
            let piece = answer.ended(FinishReason::Length).map_err(failed)?;
            send(sink, piece).await?;
        }
        running.push(answer);
    }
    let mut first = Some(begun);
    while running.iter().any(|answer| answer.ticket.is_some()) {
        let (at, event) = next(&running).await;
        let answer = &mut running[at];
        let prompt = at / plan.generation.answers;
        let piece = match event {
            Some(Event::Prompt(scores)) => {
                let (text, placed) = &prompts[prompt];
                let tokens = placed.iter().zip(scores).map(|(placed, score)| scored_token(placed, score));
                Some(answer.piece(text.clone(), tokens.collect(), None))
            }
            Some(Event::Token { id, score }) => {
                if let Some(begun) = first.take() {
                    server.metrics.first_token(begun.elapsed());
                }
                answer.token(id, score).map_err(failed)?
            }
            Some(Event::Finished(Reason::EndToken)) => {
                Some(answer.ended(FinishReason::Stop).map_err(failed)?)
            }
            Some(Event::Finished(Reason::Length)) => {
                Some(answer.ended(FinishReason::Length).map_err(failed)?)
            }
            Some(Event::Finished(Reason::Cancelled)) => return Err(ApiError::ending()),
            Some(Event::Failed(reason)) => return Err(ApiError::internal(reason)),
            None => return Err(ApiError::internal("the answer ended without a word")),
        };
        if let Some(piece) = piece {
            send(sink, piece).await?;
        }
    }
    Ok(())
}

fn scored_token(&Placed { id, offset }: &Placed, score: Option<TokenScore>) -> ScoredToken {
    ScoredToken { id, offset, score }
}

async fn send(sink: &Sink, piece: Piece) -> Result<(), ApiError> {
    // Where the client has left, the task ends as well.
    sink.send(Ok(piece)).await.map_err(|_| ApiError::internal("the client has left"))
}

/// The next event of any answer that has not ended.
async fn next(running: &[Running<'_>]) -> (usize, Option<Event>) {
    future::poll_fn(|context| {
        for (at, answer) in running.iter().enumerate() {
            if let Some(ticket) = &answer.ticket
                && let Poll::Ready(event) = ticket.poll_recv(context)
            {
                return Poll::Ready((at, event));
            }
        }
        Poll::Pending
    })
    .await
}

impl Running<'_> {
    fn piece(&self, text: String, tokens: Vec<ScoredToken>, finish: Option<FinishReason>) -> Piece {
        Piece { index: self.index, text, tokens, finish, new_tokens: self.new_tokens }
    }

    /// Takes a token; nothing comes of it where its text is held back.
    fn token(&mut self, id: u32, score: Option<TokenScore>) -> Result<Option<Piece>, DataError> {
        self.new_tokens += 1;
        let Some(answer) = &mut self.text else { return Ok(None) };
        let token = score.map(|score| ScoredToken { id, offset: 0, score: Some(score) });
        let TextPiece { text, tokens, stopped } = answer.push(id, token)?;
        let tokens = in_their_places(tokens);
        if stopped {
            // Dropping the ticket frees the sequence's place.
            (self.ticket, self.text) = (None, None);
            return Ok(Some(self.piece(text, tokens, Some(FinishReason::Stop))));
        }
        let says_something = !text.is_empty() || !tokens.is_empty();
        Ok(says_something.then(|| self.piece(text, tokens, None)))
    }

    /// Ends the answer.
    fn ended(&mut self, why: FinishReason) -> Result<Piece, DataError> {
        self.ticket = None;
        let rest = self.text.take().map(AnswerText::finish).transpose()?;
        let Some(TextPiece { text, tokens, stopped }) = rest else {
            return Ok(self.piece(String::new(), Vec::new(), Some(why)));
        };
        let why = if stopped { FinishReason::Stop } else { why };
        Ok(self.piece(text, in_their_places(tokens), Some(why)))
    }
}

fn in_their_places(tokens: Vec<(usize, Option<ScoredToken>)>) -> Vec<ScoredToken> {
    let placed = |(offset, token): (usize, Option<ScoredToken>)| Some(ScoredToken { offset, ..token? });
    tokens.into_iter().filter_map(placed).collect()
}
