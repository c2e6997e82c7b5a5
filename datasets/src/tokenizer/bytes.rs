//! The bytes that a token stands for. A token need not be whole characters, so where tokens are listed one by one their
//! bytes are what is exact; their text alone would be full of replacement characters.

use super::Tokenizer;

impl Tokenizer {
    /// The bytes of a token, end-of-text as it is written; nothing for an id that is no token.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let token = self.inner.id_to_token(id)?;
        if self.inner.get_added_vocabulary().is_special_token(&token) {
            return Some(token.into_bytes());
        }
        // A vocabulary that is not byte-level has its tokens as they are written.
        let bytes: Option<Vec<u8>> = token.chars().map(byte).collect();
        Some(bytes.unwrap_or_else(|| token.into_bytes()))
    }
}

/// The byte that a character of a byte-level vocabulary stands for. GPT-2 writes the bytes that print as themselves, and
/// the others in their order as the characters from 256 on.
fn byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => prints(byte).then_some(byte),
        Err(_) => (0..=u8::MAX).filter(|byte| !prints(*byte)).nth(code as usize - 256),
    }
}

fn prints(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::bpe::tests::small;

    #[test]
    fn the_bytes_of_a_texts_tokens_are_the_texts() {
        let tokenizer = small();
        let text = "a virus\n\tnaïve 感冒 🤒 \u{1}\u{7f}\u{ad}é";
        let ids = tokenizer.encode(text).unwrap();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).unwrap()).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        assert!(ids.iter().any(|id| String::from_utf8(tokenizer.token_bytes(*id).unwrap()).is_err()));
    }

    #[test]
    fn end_of_text_is_as_it_is_written_and_an_unknown_id_is_nothing() {
        let tokenizer = small();
        assert_eq!(tokenizer.token_bytes(tokenizer.end_of_text()).unwrap(), b"<|endoftext|>");
        assert_eq!(tokenizer.token_bytes(tokenizer.vocab_size() as u32), None);
    }
}
