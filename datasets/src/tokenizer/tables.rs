//! A tokenizer as plain tables, for file formats that hold a vocabulary of their own, such as GGUF.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::guard::guarded;
use super::{Tokenizer, tokenize};
use crate::error::DataError;

/// What a token of a [`ByteLevelBpe`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text that merges make, its bytes written as byte-level BPE writes them.
    Piece,
    /// A token that stands for itself and is no text, such as end-of-text.
    Special,
    /// A text, written as it is, that is a token wherever it stands.
    Added,
}

/// GPT-2's kind of tokenizer: byte-level BPE over GPT-2's pieces of text, nothing before and nothing after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteLevelBpe {
    /// The tokens by their ids; none where an id has no token.
    pub tokens: Vec<Option<(String, TokenKind)>>,
    /// The merges by rank, each two tokens with a blank between.
    pub merges: Vec<String>,
}

/// The parts of a serialised tokenizer that decide how it cuts a text.
#[derive(Deserialize)]
struct Serialised {
    normalizer: Value,
    pre_tokenizer: Value,
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: usize,
    content: String,
    special: bool,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    r#type: String,
    #[serde(default)]
    dropout: Value,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    vocab: Value,
    #[serde(default)]
    merges: Value,
}

impl Tokenizer {
    /// The tables of a tokenizer of GPT-2's kind.
    ///
    /// # Errors
    /// It is of another kind: every point in which it differs is named.
    pub fn byte_level_bpe(&self) -> Result<ByteLevelBpe, DataError> {
        let text = guarded(|| self.inner.to_string(false)).map_err(tokenize("read"))?;
        let unreadable =
            |error: serde_json::Error| DataError::Tokenize { action: "read", reason: error.to_string() };
        let Serialised { normalizer, pre_tokenizer, added_tokens, model } =
            serde_json::from_str(&text).map_err(unreadable)?;
        let mut problems = differences(&model, &normalizer, &pre_tokenizer);
        let trimmed = |token: &&Added| token.single_word || token.lstrip || token.rstrip;
        problems.extend(added_tokens.iter().filter(trimmed).map(|token| {
            format!("the token {:?} takes blanks beside it or only whole words", token.content)
        }));
        if !problems.is_empty() {
            return Err(DataError::NotByteLevel { problems: problems.join("; ") });
        }
        let vocab: HashMap<String, usize> = serde_json::from_value(model.vocab).map_err(unreadable)?;
        let merges: Vec<(String, String)> = serde_json::from_value(model.merges).map_err(unreadable)?;
        let missing =
            ByteLevel::alphabet().into_iter().filter(|byte| !vocab.contains_key(&byte.to_string())).count();
        if missing > 0 {
            let problems = format!("its vocabulary has no token for {missing} of the 256 bytes");
            return Err(DataError::NotByteLevel { problems });
        }
        let mut tokens = vec![None; self.vocab_size()];
        for (token, id) in vocab {
            tokens[id] = Some((token, TokenKind::Piece));
        }
        for Added { id, content, special, .. } in added_tokens {
            let kind = if special { TokenKind::Special } else { TokenKind::Added };
            tokens[id] = Some((content, kind));
        }
        let merges = merges.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
        Ok(ByteLevelBpe { tokens, merges })
    }
}

/// What sets a tokenizer apart from GPT-2's kind.
fn differences(model: &Model, normalizer: &Value, pre_tokenizer: &Value) -> Vec<String> {
    if model.r#type != "BPE" {
        return vec![format!("its model is {}", model.r#type)];
    }
    let some = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let level = pre_tokenizer["type"] == "ByteLevel";
    [
        (!model.dropout.is_null(), "it drops merges at random"),
        (
            some(&model.continuing_subword_prefix) || some(&model.end_of_word_suffix),
            "it marks the parts of words",
        ),
        (model.byte_fallback, "it falls back to bytes"),
        (model.ignore_merges, "it takes whole words before merges"),
        (!normalizer.is_null(), "it changes a text before it cuts it"),
        (!level || pre_tokenizer["use_regex"] == false, "it cuts texts by another rule than GPT-2's"),
        (level && pre_tokenizer["add_prefix_space"] == true, "it puts a blank before a text"),
    ]
    .into_iter()
    .filter(|(differs, _)| *differs)
    .map(|(_, what)| what.to_string())
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bpe::tests::small;

    #[test]
    fn the_tables_are_those_of_the_files() {
        let tokenizer = small();
        let ByteLevelBpe { tokens, merges } = tokenizer.byte_level_bpe().unwrap();
        assert_eq!((tokens.len(), merges.len()), (300, 300 - 257));
        assert_eq!(tokens[299], Some(("<|endoftext|>".to_string(), TokenKind::Special)));
        let files = tokenizer.files();
        let file = |name: &str| files.iter().find(|(found, _)| found == name).unwrap().1.clone();
        let vocab: HashMap<String, usize> = serde_json::from_slice(&file("vocab.json")).unwrap();
        for (token, id) in vocab {
            let kind = if id == 299 { TokenKind::Special } else { TokenKind::Piece };
            assert_eq!(tokens[id], Some((token, kind)));
        }
        let lines = String::from_utf8(file("merges.txt")).unwrap();
        assert_eq!(merges, lines.lines().skip(1).collect::<Vec<_>>());
    }

    #[test]
    fn a_tokenizer_of_another_kind_is_refused_with_every_reason() {
        let folder = tempfile::tempdir().unwrap();
        small().save(folder.path()).unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        value["normalizer"] = serde_json::json!({ "type": "NFC" });
        value["pre_tokenizer"]["add_prefix_space"] = true.into();
        value["model"]["ignore_merges"] = true.into();
        value["added_tokens"][0]["rstrip"] = true.into();
        std::fs::write(&path, value.to_string()).unwrap();
        let said = Tokenizer::from_folder(folder.path()).unwrap().byte_level_bpe().unwrap_err().to_string();
        for reason in ["before it cuts", "blank before a text", "whole words before", "<|endoftext|>"] {
            assert!(said.contains(reason), "{reason}: {said}");
        }
    }
}
