//! A prompt's tokens as a text, and where in it each of them stands.

use gptneo_datasets::{DataError, Tokenizer};

use super::places::PlacingDecoder;

/// A token and the character of the text that it begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The token.
    pub(crate) id: u32,
    /// Characters before it.
    pub(crate) offset: usize,
}

/// The text of a prompt, end-of-text as it is written, and its tokens' places.
pub(crate) fn prompt_text(tokenizer: &Tokenizer, ids: &[u32]) -> Result<(String, Vec<Placed>), DataError> {
    let (mut text, mut places) = (String::new(), Vec::with_capacity(ids.len()));
    let mut decoder = PlacingDecoder::new(tokenizer, 0);
    for &id in ids {
        if id == tokenizer.end_of_text() {
            let (before, left, end) = decoder.finish()?;
            text += &before;
            text += tokenizer.end_of_text_token();
            places.extend(left.into_iter().chain([end]));
            decoder = PlacingDecoder::new(tokenizer, end + tokenizer.end_of_text_token().chars().count());
        } else {
            let (piece, known) = decoder.push(id)?;
            text += &piece;
            places.extend(known);
        }
    }
    let (piece, left, _) = decoder.finish()?;
    text += &piece;
    places.extend(left);
    let placed = ids.iter().zip(places).map(|(&id, offset)| Placed { id, offset }).collect();
    Ok((text, placed))
}
