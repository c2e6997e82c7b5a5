//! Requests and answers as OpenAI's clients write and read them. Nothing here knows an engine.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod fields;
pub(super) mod generation;
mod schemas;

/// What names the program in an answer.
pub(super) const FINGERPRINT: &str = concat!("gptneo-lora-", env!("CARGO_PKG_VERSION"));
