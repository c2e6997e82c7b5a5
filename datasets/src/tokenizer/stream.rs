//! Text from ids that come one at a time: a character may span tokens, and half of one is never shown.

use super::Tokenizer;
use crate::error::DataError;

/// What a decoder shows for bytes that are no (or not yet a) character.
const HALF: char = '\u{fffd}';
/// The most bytes of a character.
const BYTES: usize = 4;
/// Ids that may wait for the end of a character before those are looked for that need not.
const MOST_PENDING: usize = 4 * BYTES;

/// Decodes ids one at a time; made by [`Tokenizer::stream`].
///
/// The pieces together are what [`Tokenizer::decode`] gives for all ids at once.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The last ids that ended on a whole character: some decoders treat a text's first token apart.
    context: Vec<u32>,
    context_bytes: usize,
    pub(super) pending: Vec<u32>,
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
        // Nothing before the trailing replacement characters can change any more, and few of them can: where the bytes of
        // one character come in parts, some decoders show one for each.
        let may_change = text.chars().rev().take(BYTES - 1).take_while(|letter| *letter == HALF).count();
        let whole = text.len() - may_change * HALF.len_utf8();
        let (ids, settled) = match may_change {
            0 => (self.pending.len(), text.len()),
            _ if self.pending.len() > MOST_PENDING => self.settled(&text)?,
            _ => (0, 0),
        };
        let end = whole.max(settled);
        let piece = text.get(self.given..end).unwrap_or_default().to_string();
        self.given = self.given.max(end) - settled;
        if ids > 0 {
            self.context = self.pending.drain(..ids).collect();
            self.context_bytes = self.tokenizer.decode(&self.context)?.len();
        }
        Ok(piece)
    }

    /// How many of the pending ids have a text that those after them leave alone, and its bytes. Ids that are no text at all
    /// would be decoded over and over.
    fn settled(&self, text: &str) -> Result<(usize, usize), DataError> {
        // What may yet be completed lies within the last ids, each of which has a byte; and one of so many ends a character.
        for last in BYTES..2 * BYTES {
            let ids = self.pending.len().saturating_sub(last);
            let before = self.text_of(&self.pending[..ids])?;
            if text.starts_with(&before) {
                return Ok((ids, before.len()));
            }
        }
        Ok((0, 0))
    }

    /// How many characters [`StreamDecoder::finish`] would return now.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn held_back(&self) -> Result<usize, DataError> {
        match self.pending.is_empty() {
            true => Ok(0),
            false => Ok(self.pending_text()?.get(self.given..).unwrap_or_default().chars().count()),
        }
    }

    /// Ends the stream and returns what is left: the replacement characters of a character that never came whole.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String, DataError> {
        Ok(self.pending_text()?.get(self.given..).unwrap_or_default().to_string())
    }

    fn pending_text(&self) -> Result<String, DataError> {
        self.text_of(&self.pending)
    }

    /// The text of ids that follow the context.
    fn text_of(&self, ids: &[u32]) -> Result<String, DataError> {
        let ids: Vec<u32> = self.context.iter().chain(ids).copied().collect();
        let text = self.tokenizer.decode(&ids)?;
        Ok(text.get(self.context_bytes..).unwrap_or_default().to_string())
    }
}
