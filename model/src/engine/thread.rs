//! The engine's thread: requests wait in a queue that it shares with those who ask; between two steps it lets in what
//! fits and drops what nobody wants any more.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::EngineError;
use super::batch::{Batch, Progress};
use super::event::{Event, Listener, Reason};
use super::request::{EngineLimits, Request};
use super::stats::EngineStats;
use super::ticket::Sender;
use crate::{GptNeo, ModelError, NeoBackend};

/// A request that has been checked, and who asked.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) adapter: Option<usize>,
    pub(super) sender: Sender,
}

/// What the thread shares with those who ask.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// A request has come, or the end.
    called: Condvar,
    /// The thread does nothing more.
    ended: Condvar,
    limits: EngineLimits,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Job>,
    phase: Phase,
    /// But for the queue's length.
    stats: EngineStats,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are taken.
    Open,
    /// What was taken is finished.
    Closed,
    /// What was taken is cancelled.
    Stopped,
    /// The thread did all that was to be done.
    Ended,
    /// A step failed: why.
    Failed(String),
}

impl Shared {
    pub(super) fn new(limits: EngineLimits) -> Self {
        let (cache_tokens, free_cache_tokens) = (limits.cache_tokens, limits.cache_tokens);
        let stats = EngineStats { cache_tokens, free_cache_tokens, ..EngineStats::default() };
        let state = State { queue: VecDeque::new(), phase: Phase::Open, stats };
        Self { state: Mutex::new(state), called: Condvar::new(), ended: Condvar::new(), limits }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request wait for its turn.
    pub(super) fn push(&self, job: Job) -> Result<(), EngineError> {
        let mut state = self.state();
        match &state.phase {
            Phase::Open => {}
            Phase::Failed(why) => return Err(EngineError::Failed(why.clone())),
            Phase::Closed | Phase::Stopped | Phase::Ended => return Err(EngineError::Closed),
        }
        state.drop_cancelled();
        let limit = self.limits.max_batch.saturating_add(self.limits.max_queue);
        if state.queue.len() + state.stats.running >= limit {
            state.stats.refused += 1;
            return Err(EngineError::QueueFull { limit });
        }
        state.stats.accepted += 1;
        state.queue.push_back(job);
        drop(state);
        self.called.notify_one();
        Ok(())
    }

    pub(super) fn stats(&self) -> EngineStats {
        let state = self.state();
        EngineStats { queued: state.queue.len(), ..state.stats }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.state().phase, Phase::Failed(_))
    }

    pub(super) fn close(&self) {
        self.turn(&[Phase::Open], Phase::Closed);
    }

    pub(super) fn stop(&self) {
        self.turn(&[Phase::Open, Phase::Closed], Phase::Stopped);
    }

    fn turn(&self, from: &[Phase], to: Phase) {
        let mut state = self.state();
        if from.contains(&state.phase) {
            state.phase = to;
        }
        drop(state);
        self.called.notify_one();
    }

    pub(super) fn wait_until_ended(&self) {
        let mut state = self.state();
        while !matches!(state.phase, Phase::Ended | Phase::Failed(_)) {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// Tells the last event of a request that is not in the batch.
    fn finish(&mut self, mut sender: Sender, last: Event) {
        self.stats.count(&last);
        sender.hear(last);
    }

    /// Takes requests out of the queue that nobody waits for.
    fn drop_cancelled(&mut self) {
        let (gone, waiting): (VecDeque<Job>, VecDeque<Job>) =
            self.queue.drain(..).partition(|job| job.sender.has_left());
        self.queue = waiting;
        for job in gone {
            self.finish(job.sender, Event::Finished(Reason::Cancelled));
        }
    }
}

/// Answers until the end is asked for or a step fails.
pub(super) fn run<B: NeoBackend>(model: &GptNeo<B>, mut batch: Batch<B, Sender>, shared: &Shared) {
    while let Some(joined) = let_in(&mut batch, shared) {
        let step = || B::on_compute_thread(|| batch.step(model));
        let result = match joined {
            Ok(()) => catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| Err(of_panic(&*panic))),
            Err(error) => Err(error),
        };
        match result {
            Ok(progress) => account(&batch, progress, shared),
            Err(error) => return fail(batch, &error.to_string(), shared),
        }
    }
    shared.state().phase = Phase::Ended;
    shared.ended.notify_all();
}

/// Waits until there is something to do, and moves what fits from the queue into the batch; nothing when all is done.
fn let_in<B: NeoBackend>(batch: &mut Batch<B, Sender>, shared: &Shared) -> Option<Result<(), ModelError>> {
    let mut state = shared.state();
    loop {
        if state.phase == Phase::Stopped {
            let waiting: Vec<Job> = state.queue.drain(..).collect();
            let senders = waiting.into_iter().map(|job| job.sender).chain(batch.leave_all());
            senders.for_each(|sender| state.finish(sender, Event::Finished(Reason::Cancelled)));
            note_room(&mut state, batch);
            return None;
        }
        state.drop_cancelled();
        while state.queue.front().is_some_and(|job| batch.has_room(&job.request))
            && let Some(Job { request, adapter, sender }) = state.queue.pop_front()
        {
            if let Err(error) = batch.join(request, adapter, sender) {
                return Some(Err(error));
            }
        }
        note_room(&mut state, batch);
        if !batch.is_empty() {
            return Some(Ok(()));
        }
        if state.phase == Phase::Closed {
            return None;
        }
        state = shared.called.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn note_room<B: NeoBackend>(state: &mut State, batch: &Batch<B, Sender>) {
    state.stats.running = batch.len();
    state.stats.free_cache_tokens = batch.free_tokens();
}

/// Counts what a step did, then tells those whose sequences ended: whoever hears of it finds it counted.
fn account<B: NeoBackend>(batch: &Batch<B, Sender>, progress: Progress<Sender>, shared: &Shared) {
    let mut state = shared.state();
    note_room(&mut state, batch);
    state.stats.steps += 1;
    state.stats.prompt_tokens += progress.prompt_tokens as u64;
    state.stats.new_tokens += progress.new_tokens as u64;
    for (sender, last) in progress.ended {
        state.finish(sender, last);
    }
}

/// Tells everyone that there will be nothing more.
fn fail<B: NeoBackend>(mut batch: Batch<B, Sender>, why: &str, shared: &Shared) {
    let mut state = shared.state();
    let waiting: Vec<Job> = state.queue.drain(..).collect();
    state.phase = Phase::Failed(why.to_string());
    let senders = batch.leave_all().into_iter().chain(waiting.into_iter().map(|job| job.sender));
    senders.for_each(|sender| state.finish(sender, Event::Failed(why.to_string())));
    note_room(&mut state, &batch);
    drop(state);
    shared.ended.notify_all();
}

/// What a panic says.
fn of_panic(panic: &(dyn std::any::Any + Send)) -> ModelError {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
    ModelError::Unanswered(format!("a step panicked: {}", words.unwrap_or("without a word")))
}
