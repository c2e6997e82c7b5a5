//! What all requests share: the engine, who answers, and the bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::http::header;
use gptneo_datasets::Tokenizer;
use gptneo_model::engine::{Engine, EngineError, Request as EngineRequest, Ticket};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::ApiError;
use super::key::Key;
use super::limits::Limits;
use super::metrics::Metrics;
use super::models::Models;

/// What is served, and how.
pub struct Server {
    pub(super) engine: Engine,
    pub(super) tokenizer: Tokenizer,
    pub(super) models: Models,
    pub(super) key: Option<Key>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    /// Seconds since 1970.
    pub(super) created: u64,
    ending: AtomicBool,
}

impl Server {
    /// A server of what the engine answers with.
    pub fn new(engine: Engine, tokenizer: Tokenizer, models: Models, key: Option<Key>) -> Self {
        Self {
            engine,
            tokenizer,
            models,
            key,
            limits: Limits::default(),
            metrics: Arc::default(),
            created: seconds_since_1970(),
            ending: AtomicBool::new(false),
        }
    }

    /// Tokens that a text may have.
    pub(super) fn positions(&self) -> usize {
        self.engine.model().max_position_embeddings
    }

    /// Tokens that the model knows.
    pub(super) fn vocabulary(&self) -> usize {
        self.engine.model().vocab_size
    }

    /// Answers that a request may ask for: with more it would never find room.
    pub(super) fn most_answers(&self) -> usize {
        let limits = self.engine.limits();
        self.limits.choices.min(limits.max_batch + limits.max_queue)
    }

    /// Takes nothing new from now on; what was begun is finished.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.engine.close();
    }

    /// Why no request can be answered, if so.
    pub(super) fn check_ready(&self) -> Result<(), ApiError> {
        match (self.ending.load(Ordering::Acquire), self.engine.has_failed()) {
            (true, _) => Err(ApiError::ending()),
            (_, true) => Err(ApiError::broken()),
            _ => Ok(()),
        }
    }

    /// Asks the engine.
    pub(super) fn submit(&self, request: EngineRequest) -> Result<Ticket, ApiError> {
        self.engine.submit(request).map_err(|error| match error {
            EngineError::QueueFull { .. } => ApiError::busy(),
            EngineError::Closed => ApiError::ending(),
            EngineError::CacheTooSmall { .. } => ApiError::too_long("max_tokens", error.to_string()),
            EngineError::Request(reason) => ApiError::malformed(reason),
            EngineError::Failed(_) => ApiError::broken(),
            other => ApiError::internal(other),
        })
    }

    /// The body of a request that must be JSON. A page of another site can send other types without being asked for
    /// leave by the browser; so they are refused.
    pub(super) async fn body(&self, request: Request) -> Result<Vec<u8>, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::not_json());
        }
        let (limit, time) = (self.limits.body, self.limits.body_time);
        let collected = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(time, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes().into()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
            Ok(Err(error)) => Err(ApiError::malformed(format!("the body cannot be read: {error}"))),
            Err(_) => Err(ApiError::too_slow(time.as_secs())),
        }
    }

    /// Does work on a thread that may take its time, such as the tokens of a long text.
    pub(super) async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let server = self.clone();
        tokio::task::spawn_blocking(move || work(&server)).await.map_err(ApiError::internal)
    }

    /// The tokens of texts.
    pub(super) async fn encode(self: &Arc<Self>, texts: Vec<String>) -> Result<Vec<Vec<u32>>, ApiError> {
        let encoded =
            self.apart(move |server| texts.iter().map(|text| server.tokenizer.encode(text)).collect());
        let encoded: Result<_, gptneo_datasets::DataError> = encoded.await?;
        encoded.map_err(|error| ApiError::malformed(error.to_string()))
    }
}

/// The time for answers.
pub(super) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
