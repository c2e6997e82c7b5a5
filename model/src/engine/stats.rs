//! The engine in numbers.

use super::event::{Event, Reason};

/// What the engine does now, and what it has done. At any moment the requests that were taken are those that wait, those
/// that run, and those of which the end has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Sequences that are read or continued.
    pub running: usize,
    /// Requests that wait for room.
    pub queued: usize,
    /// Tokens that the cache holds at most.
    pub cache_tokens: usize,
    /// Of these, not taken by a sequence.
    pub free_cache_tokens: usize,
    /// Requests taken.
    pub accepted: u64,
    /// Requests refused because too many were there already.
    pub refused: u64,
    /// Sequences that the model ended.
    pub ended: u64,
    /// Sequences that reached their length.
    pub reached_length: u64,
    /// Requests that nobody wanted any more.
    pub cancelled: u64,
    /// Requests that broke.
    pub failed: u64,
    /// Tokens of prompts that were read.
    pub prompt_tokens: u64,
    /// Tokens that were chosen and told.
    pub new_tokens: u64,
    /// Steps.
    pub steps: u64,
}

impl EngineStats {
    /// Counts a request's last event.
    pub(super) fn count(&mut self, last: &Event) {
        match last {
            Event::Finished(Reason::EndToken) => self.ended += 1,
            Event::Finished(Reason::Length) => self.reached_length += 1,
            Event::Finished(Reason::Cancelled) => self.cancelled += 1,
            Event::Failed(_) => self.failed += 1,
            Event::Prompt(_) | Event::Token { .. } => {}
        }
    }
}
