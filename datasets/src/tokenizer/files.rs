//! A tokenizer's files: which are read, in which order, and which are made where the source has none.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::tokenize;
use crate::error::DataError;

/// The end-of-text token of GPT-2 and GPT-Neo.
pub const DEFAULT_END_OF_TEXT: &str = "<|endoftext|>";

pub(super) const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";
/// Everything that is carried along if the folder has it.
const CARRIED: [&str; 6] = [TOKENIZER, CONFIG, SPECIAL, VOCAB, MERGES, "added_tokens.json"];

/// A tokenizer with its end-of-text token and the files for a model folder.
pub(crate) struct Loaded {
    pub(crate) inner: Inner,
    pub(crate) end_of_text: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Reads a folder's tokenizer.
pub(super) fn load(folder: &Path) -> Result<Loaded, DataError> {
    let mut files = Vec::new();
    for name in CARRIED {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => files.push((name.to_string(), bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(DataError::io("read", &path)(error)),
        }
    }
    let find = |name: &str| files.iter().find(|file| file.0 == name).map(|file| file.1.as_slice());
    let refuse = |name: &str, reason: String| DataError::TokenizerFiles {
        folder: folder.to_path_buf(),
        reason: format!("{name}: {reason}"),
    };
    let mut end_of_text = None;
    for name in [CONFIG, SPECIAL] {
        if let (None, Some(bytes)) = (&end_of_text, find(name)) {
            let value: Value =
                serde_json::from_slice(bytes).map_err(|error| refuse(name, error.to_string()))?;
            end_of_text = token(&value["eos_token"]).map(str::to_string);
        }
    }
    let end_of_text = end_of_text.unwrap_or_else(|| DEFAULT_END_OF_TEXT.to_string());
    let inner = match (find(TOKENIZER), find(VOCAB), find(MERGES)) {
        (Some(bytes), _, _) => {
            Inner::from_bytes(bytes).map_err(|error| refuse(TOKENIZER, error.to_string()))?
        }
        (None, Some(vocab), Some(merges)) => {
            let pair = format!("{VOCAB} with {MERGES}");
            gpt2(vocab, merges, &end_of_text).map_err(|reason| refuse(&pair, reason))?
        }
        _ => return Err(DataError::NoTokenizer { folder: folder.to_path_buf() }),
    };
    complete(inner, end_of_text, files)
}

/// Adds the files that a folder for transformers needs and `files` lacks.
pub(crate) fn complete(
    inner: Inner,
    end_of_text: String,
    mut files: Vec<(String, Vec<u8>)>,
) -> Result<Loaded, DataError> {
    let lacks = |files: &[(String, Vec<u8>)], name: &str| files.iter().all(|file| file.0 != name);
    if lacks(&files, TOKENIZER) {
        let text = inner.to_string(true).map_err(tokenize("serialise"))?;
        files.push((TOKENIZER.to_string(), text.into_bytes()));
    }
    // A plain fast tokenizer, because it takes tokenizer.json as it stands in every version of transformers; a class
    // named after a model builds one of its own and can differ.
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end_of_text,
        "eos_token": end_of_text,
        "unk_token": end_of_text,
        "clean_up_tokenization_spaces": false,
    });
    let special = json!({ "bos_token": end_of_text, "eos_token": end_of_text, "unk_token": end_of_text });
    for (name, value) in [(CONFIG, config), (SPECIAL, special)] {
        if lacks(&files, name) {
            files.push((name.to_string(), format!("{value:#}\n").into_bytes()));
        }
    }
    files.sort();
    Ok(Loaded { inner, end_of_text, files })
}

/// `vocab.json` and `merges.txt` of a model, in the form GPT-2 published: a rank's merge stands on its line.
pub(crate) fn vocab_and_merges(
    vocab: &[(String, u32)],
    merges: &[(String, String)],
) -> Result<Vec<(String, Vec<u8>)>, DataError> {
    let object: serde_json::Map<String, Value> =
        vocab.iter().map(|(token, id)| (token.clone(), Value::from(*id))).collect();
    let lines: String = merges.iter().map(|(left, right)| format!("{left} {right}\n")).collect();
    Ok(vec![
        (VOCAB.to_string(), format!("{}\n", Value::Object(object)).into_bytes()),
        (MERGES.to_string(), format!("#version: 0.2\n{lines}").into_bytes()),
    ])
}

/// GPT-2's byte-level BPE: no prefix space, no normaliser, end-of-text special.
fn gpt2(vocab: &[u8], merges: &[u8], end_of_text: &str) -> Result<Inner, String> {
    let vocab: std::collections::HashMap<String, u32> =
        serde_json::from_slice(vocab).map_err(|error| format!("expected token to id: {error}"))?;
    let merges = std::str::from_utf8(merges).map_err(|error| error.to_string())?;
    let mut pairs = Vec::new();
    for (index, line) in merges.lines().enumerate() {
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => pairs.push((left.to_string(), right.to_string())),
            _ => return Err(format!("{MERGES} line {}: expected two tokens, found {line:?}", index + 1)),
        }
    }
    // Adding a token that is not in the vocabulary would give it a new id no model was trained with.
    let known = vocab.contains_key(end_of_text);
    let vocab: tokenizers::models::bpe::Vocab = vocab.into_iter().collect();
    let model = BPE::builder().vocab_and_merges(vocab, pairs).build().map_err(|error| error.to_string())?;
    let mut inner = Inner::new(model);
    byte_level(&mut inner);
    if known {
        add_end_of_text(&mut inner, end_of_text).map_err(|error| error.to_string())?;
    }
    Ok(inner)
}

/// Sets the byte-level parts around a BPE model, as GPT-2 has them.
pub(crate) fn byte_level(inner: &mut Inner) {
    inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    inner.with_post_processor(Some(ByteLevel::new(false, false, true)));
    inner.with_decoder(Some(ByteLevel::new(false, true, true)));
}

/// Makes end-of-text a token of its own wherever it stands in a text.
pub(crate) fn add_end_of_text(inner: &mut Inner, token: &str) -> tokenizers::Result<()> {
    inner.add_special_tokens([AddedToken::from(token, true).normalized(true)])?;
    Ok(())
}

/// A token in a configuration: its text, or an object that has it as `content`.
fn token(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}
