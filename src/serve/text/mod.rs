//! From tokens to text, as they come: whole characters, stop strings, and where in the text each token stands.

mod answer;
mod places;
mod prompt;
mod stop;
mod token;

pub(super) use self::answer::{AnswerText, Piece};
pub(super) use self::prompt::{Placed, prompt_text};
pub(super) use self::stop::StopStrings;
pub(super) use self::token::{shown, shown_bytes};
