//! A prompt's tokens as a text, and where in it each of them stands.

use gptneo_datasets::{DataError, Tokenizer};

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
    let (mut text, mut placed, mut length) = (String::new(), Vec::with_capacity(ids.len()), 0);
    let mut decoder = tokenizer.stream();
    for &id in ids {
        placed.push(Placed { id, offset: length });
        let piece = match id == tokenizer.end_of_text() {
            true => {
                let before = std::mem::replace(&mut decoder, tokenizer.stream());
                before.finish()? + tokenizer.end_of_text_token()
            }
            false => decoder.push(id)?,
        };
        length += piece.chars().count();
        text.push_str(&piece);
    }
    text.push_str(&decoder.finish()?);
    Ok((text, placed))
}
