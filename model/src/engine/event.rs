//! What the engine tells of a request, and who hears it.

/// The log-probability of a token, by the model itself: before temperature, penalties and filters.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScore {
    /// The natural logarithm of the token's probability.
    pub log_probability: f32,
    /// The likeliest tokens at its place, the likeliest first, the lower id first of equals. Where the token itself is
    /// among them, its number there is the very same.
    pub top: Vec<(u32, f32)>,
}

/// Something that happened to a request. [`Event::Finished`] and [`Event::Failed`] are the last.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The prompt's scores, one for each token; the first has none. Told once, before the first new token, where it was
    /// asked for.
    Prompt(Vec<Option<TokenScore>>),
    /// A new token.
    Token {
        /// The token.
        id: u32,
        /// Its score, where it was asked for.
        score: Option<TokenScore>,
    },
    /// There is no more.
    Finished(Reason),
    /// Something broke, and there is no more; in words for a person.
    Failed(String),
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// One of its end tokens was chosen.
    EndToken,
    /// It has as many new tokens as were asked for.
    Length,
    /// Nobody wants it any more.
    Cancelled,
}

/// Who asked for a sequence.
pub(crate) trait Listener {
    /// Hears what happens.
    fn hear(&mut self, event: Event);

    /// Whether nobody wants the rest.
    fn has_left(&self) -> bool;
}
