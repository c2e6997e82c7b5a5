//! What one client may take from the others.

use std::time::Duration;

/// Bounds of requests.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// How long the first line and the headers of a request may take to arrive.
    pub(super) header_time: Duration,
    /// Bytes of a body.
    pub(super) body: usize,
    /// How long a body may take to arrive.
    pub(super) body_time: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub(super) write_time: Duration,
    /// Answers to a request, all prompts together.
    pub(super) choices: usize,
    /// Texts that end an answer.
    pub(super) stops: usize,
    /// Likeliest tokens listed with each token.
    pub(super) likeliest: usize,
    /// How long answers that were begun may go on when the server ends.
    pub(super) drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(60),
            body: 4 << 20,
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(60),
            choices: 128,
            stops: 16,
            likeliest: 20,
            drain: Duration::from_secs(30),
        }
    }
}
