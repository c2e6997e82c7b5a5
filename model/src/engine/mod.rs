//! Many prompts continued at once, by sequences that come and go: continuous batching on a thread of its own.
//!
//! [`Engine::start`] takes a model, any number of adapters over it, and limits; [`Engine::submit`] takes a [`Request`] and
//! gives a [`Ticket`], which hears [`Event`]s. Between two steps of the model sequences join and leave; long prompts are
//! read in chunks beside sequences that go on; each sequence has its own sampling, end, adapter and cancellation. The
//! engine knows token ids alone.
//!
//! A sequence's likeliest tokens and log-probabilities are the same alone and in any mixture, bit for bit on the CPU
//! backend Flex: see `batch.rs`, which says how. [`crate::generate`] runs the same steps on the caller's thread.

mod batch;
mod error;
mod event;
mod places;
mod request;
mod scores;
mod sequence;
mod stats;
mod thread;
mod ticket;

use std::sync::Arc;
use std::thread::JoinHandle;

pub(crate) use self::batch::Batch;
pub use self::error::EngineError;
pub(crate) use self::event::Listener;
pub use self::event::{Event, Reason, TokenScore};
pub use self::request::{EngineLimits, Request, Sampling};
pub(crate) use self::request::{PROBLEMS_SHOWN, problems_of_prompt};
pub use self::stats::EngineStats;
use self::thread::{Job, Shared};
pub use self::ticket::Ticket;
pub use crate::adapter::Adapter;
use crate::{GptNeo, GptNeoConfig, ModelError, NeoBackend};

/// A model at work on a thread of its own. Dropping it cancels what runs and waits, and ends the thread; see
/// [`Engine::drain`] for a gentler end. The backend is hidden behind the thread.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    model: GptNeoConfig,
    adapters: Vec<String>,
    limits: EngineLimits,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread. A request without an adapter is answered by the model as it is; an adapter's update is added to
    /// that.
    ///
    /// # Errors
    ///
    /// [`ModelError::Generation`] where a limit is 0 or two adapters have one name; [`ModelError::Lora`] where an adapter
    /// is for a model of another shape; [`ModelError::Unanswered`] where the system gives no thread.
    pub fn start<B: NeoBackend>(
        model: GptNeo<B>,
        adapters: Vec<(String, Adapter<B>)>,
        limits: EngineLimits,
    ) -> Result<Self, ModelError> {
        limits.validate()?;
        let (names, adapters): (Vec<String>, Vec<Adapter<B>>) = adapters.into_iter().unzip();
        if let Some((at, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(ModelError::Generation(format!(
                "adapter {at} has the name {name:?}, as one before it: give each a name of its own"
            )));
        }
        names.iter().zip(&adapters).try_for_each(|(name, adapter)| adapter.check(name, &model))?;
        let config = model.config().clone();
        let shared = Arc::new(Shared::new(limits));
        let batch = Batch::new(&model, adapters, limits);
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || thread::run(&model, batch, &of_thread))
            .map_err(|error| ModelError::Unanswered(format!("the engine gets no thread: {error}")))?;
        Ok(Self { shared, model: config, adapters: names, limits, thread: Some(thread) })
    }

    /// Asks for an answer.
    ///
    /// # Errors
    ///
    /// The request makes no sense for this model, can never fit into the cache, or names no adapter; too many are there
    /// already; or the engine is ending or broke down.
    pub fn submit(&self, request: Request) -> Result<Ticket, EngineError> {
        request.check(&self.model)?;
        let adapter = request.adapter.as_ref().map(|name| self.adapter(name)).transpose()?;
        let (needed, limit) = (request.tokens_read(), self.limits.cache_tokens);
        if needed > limit {
            return Err(EngineError::CacheTooSmall { needed, limit });
        }
        let (sender, ticket) = ticket::channel();
        self.shared.push(Job { request, adapter, sender })?;
        Ok(ticket)
    }

    fn adapter(&self, name: &str) -> Result<usize, EngineError> {
        self.adapters.iter().position(|known| known == name).ok_or_else(|| {
            let known = if self.adapters.is_empty() { "none".into() } else { self.adapters.join(", ") };
            EngineError::UnknownAdapter { name: name.to_string(), known }
        })
    }

    /// The configuration of the model.
    pub fn model(&self) -> &GptNeoConfig {
        &self.model
    }

    /// The adapters' names, as they were given.
    pub fn adapters(&self) -> &[String] {
        &self.adapters
    }

    /// The limits.
    pub fn limits(&self) -> EngineLimits {
        self.limits
    }

    /// What it does and has done.
    pub fn stats(&self) -> EngineStats {
        self.shared.stats()
    }

    /// Whether a step failed: it answers nothing more.
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Takes nothing new from now on; what runs and waits is answered.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Takes nothing new, and waits until all that was taken is answered.
    pub fn drain(&self) {
        self.shared.close();
        self.shared.wait_until_ended();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // What it died of has been told to all who asked.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
