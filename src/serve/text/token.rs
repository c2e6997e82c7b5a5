//! One token as a text, where tokens are listed.

use gptneo_datasets::Tokenizer;

/// A token as OpenAI lists it: its text, or its bytes, `bytes:\xe2\x80`, where it is no whole characters. Tokens that
/// differ are written differently.
pub(crate) fn shown(tokenizer: &Tokenizer, id: u32) -> String {
    String::from_utf8(shown_bytes(tokenizer, id)).unwrap_or_else(|error| {
        let bytes: String = error.as_bytes().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("bytes:{bytes}")
    })
}

/// A token's bytes; a row of the model's vocabulary that no token has is named by its number.
pub(crate) fn shown_bytes(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    tokenizer.token_bytes(id).unwrap_or_else(|| format!("<{id}>").into_bytes())
}
