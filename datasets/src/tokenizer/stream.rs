//! Text from ids that come one at a time: a character may span tokens, and half of one is never shown.

use super::Tokenizer;
use crate::error::DataError;

/// What a decoder shows for bytes that are no (or not yet a) character.
const HALF: char = '\u{fffd}';

/// Decodes ids one at a time; made by [`Tokenizer::stream`].
///
/// The pieces together are what [`Tokenizer::decode`] gives for all ids at once.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The last ids that ended on a whole character: some decoders treat a text's first token apart.
    context: Vec<u32>,
    context_bytes: usize,
    pending: Vec<u32>,
    /// How many bytes of the pending ids' text were given out.
    given: usize,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, context: Vec::new(), context_bytes: 0, pending: Vec::new(), given: 0 }
    }

    /// Takes the next id and returns the text that is now whole, which may be empty. End-of-text adds none.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String, DataError> {
        if id == self.tokenizer.end_of_text() {
            return Ok(String::new());
        }
        self.pending.push(id);
        let text = self.pending_text()?;
        // Bytes before the trailing replacement characters cannot change any more; those may yet be completed.
        let whole = text.trim_end_matches(HALF);
        let piece = whole.get(self.given..).unwrap_or_default().to_string();
        if whole.len() == text.len() {
            self.context = std::mem::take(&mut self.pending);
            self.context_bytes = self.tokenizer.decode(&self.context)?.len();
            self.given = 0;
        } else {
            self.given += piece.len();
        }
        Ok(piece)
    }

    /// Ends the stream and returns what is left: the replacement characters of a character that never came whole.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String, DataError> {
        Ok(self.pending_text()?.get(self.given..).unwrap_or_default().to_string())
    }

    fn pending_text(&self) -> Result<String, DataError> {
        let ids: Vec<u32> = self.context.iter().chain(&self.pending).copied().collect();
        let text = self.tokenizer.decode(&ids)?;
        Ok(text.get(self.context_bytes..).unwrap_or_default().to_string())
    }
}
