//! Tokens as they come, and the character of the text that each of them begins at.

use gptneo_datasets::{DataError, StreamDecoder, Tokenizer};

/// A decoder that knows its tokens' places.
pub(super) struct PlacingDecoder<'a> {
    decoder: StreamDecoder<'a>,
    /// Characters given out, those before the text included.
    read: usize,
    /// Where tokens seem to begin that end within a character, or behind such ones.
    unsettled: Vec<usize>,
}

impl<'a> PlacingDecoder<'a> {
    /// For a text that begins behind `start` characters.
    pub(super) fn new(tokenizer: &'a Tokenizer, start: usize) -> Self {
        Self { decoder: tokenizer.stream(), read: start, unsettled: Vec::new() }
    }

    /// Takes a token. Returns the text that is whole now, and the places of the tokens that are known now, in their order.
    pub(super) fn push(&mut self, id: u32) -> Result<(String, Vec<usize>), DataError> {
        self.unsettled.push(self.read + self.decoder.held_back()?);
        let text = self.decoder.push(id)?;
        self.read += text.chars().count();
        let settled = match self.decoder.held_back()? {
            0 => settled(std::mem::take(&mut self.unsettled), self.read),
            _ => Vec::new(),
        };
        Ok((text, settled))
    }

    /// What is left of text and places when no token follows, and the characters before what does follow.
    pub(super) fn finish(self) -> Result<(String, Vec<usize>, usize), DataError> {
        let text = self.decoder.finish()?;
        let read = self.read + text.chars().count();
        Ok((text, settled(self.unsettled, read), read))
    }
}

/// What seemed to be characters may have become one: the tokens begin in the last of `read` at the latest.
fn settled(mut places: Vec<usize>, read: usize) -> Vec<usize> {
    if places.len() > 1 {
        places.iter_mut().for_each(|place| *place = (*place).min(read.saturating_sub(1)));
    }
    places
}
