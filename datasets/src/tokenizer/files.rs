//! A tokenizer's files: which are read, in which order, and which are made where the source has none.

use std::io::ErrorKind;
use std::path::Path;

use gptneo_files::{excerpt, is_git_lfs_pointer, read_small};
use serde_json::{Map, Value, json};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::added::{ADDED, CONFIG, DEFAULT_END_OF_TEXT, SPECIAL, Settings};
use super::guard::guarded;
use crate::error::DataError;

pub(super) const TOKENIZER: &str = "tokenizer.json";
const VOCAB: &str = "vocab.json";
const MERGES: &str = "merges.txt";
/// The files of a folder that decide which numbers a text becomes, those that it has.
pub const TOKENIZER_FILES: [&str; 6] = [TOKENIZER, CONFIG, SPECIAL, VOCAB, MERGES, ADDED];
/// More tokens than any vocabulary has. What is written for one takes memory for every number below the largest.
const MOST_TOKENS: usize = 1 << 22;
/// What else is carried along if the folder has it.
const CARRIED: [&str; 2] = ["chat_template.jinja", "chat_template.json"];

/// A tokenizer with its end-of-text token and the files for a model folder.
pub(crate) struct Loaded {
    pub(crate) inner: Inner,
    pub(crate) end_of_text: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Reads a folder's tokenizer. Where `rows` says how many tokens a model has embeddings for, an end-of-text token that is
/// in no vocabulary gets the next number, as transformers gives it, if there is one.
pub(super) fn load(folder: &Path, rows: Option<usize>) -> Result<Loaded, DataError> {
    let refuse = |reason: String| DataError::TokenizerFiles { folder: folder.to_path_buf(), reason };
    let mut files = Vec::new();
    for name in TOKENIZER_FILES.into_iter().chain(CARRIED) {
        let path = folder.join(name);
        match read_small(&path) {
            Ok(bytes) if is_git_lfs_pointer(&bytes) => {
                return Err(refuse(format!(
                    "{name} is a pointer of Git LFS, which stands for a file that was not fetched: git lfs pull fetches it"
                )));
            }
            Ok(bytes) => files.push((name.to_string(), bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(DataError::io("read", &path)(error)),
        }
    }
    let find = |name: &str| files.iter().find(|file| file.0 == name).map(|file| file.1.as_slice());
    let object = |name: &str| match find(name) {
        None => Ok(Map::new()),
        Some(bytes) => object(bytes).map_err(|reason| refuse(format!("{name}: {reason}"))),
    };
    let settings = Settings { config: object(CONFIG)?, special: object(SPECIAL)?, added: object(ADDED)? };
    let end_of_text = settings.end_of_text().unwrap_or(DEFAULT_END_OF_TEXT).to_string();
    let mut inner = match (find(TOKENIZER), find(VOCAB), find(MERGES)) {
        (Some(bytes), _, _) => {
            guarded(|| Inner::from_bytes(bytes)).map_err(|reason| refuse(format!("{TOKENIZER}: {reason}")))?
        }
        (None, Some(vocab), Some(merges)) => {
            gpt2(vocab, merges).map_err(|reason| refuse(format!("{VOCAB} with {MERGES}: {reason}")))?
        }
        _ => return Err(DataError::NoTokenizer { folder: folder.to_path_buf() }),
    };
    let tokens = size(&inner);
    if tokens > MOST_TOKENS {
        let file = if find(TOKENIZER).is_some() { TOKENIZER } else { VOCAB };
        let largest = tokens - 1;
        return Err(refuse(format!(
            "{file}: a token has the number {largest}, expected less than {MOST_TOKENS}"
        )));
    }
    if let Some(add_prefix_space) = settings.prefix_space() {
        // transformers builds this class anew, of vocabulary and merges.
        inner.with_normalizer(None::<NormalizerWrapper>).map_err(|error| refuse(error.to_string()))?;
        inner.with_pre_tokenizer(Some(ByteLevel::new(add_prefix_space, true, true)));
    }
    if find(TOKENIZER).is_none() && inner.token_to_id(&end_of_text).is_some() {
        add_end_of_text(&mut inner, &end_of_text).map_err(&refuse)?;
    }
    let room = rows.is_some_and(|rows| rows > size(&inner));
    settings.add_to(&mut inner, room).map_err(&refuse)?;
    complete(inner, end_of_text, files).map_err(refuse)
}

/// The tokens that there are: the largest number plus one.
pub(super) fn size(inner: &Inner) -> usize {
    inner.get_vocab(true).into_values().max().map_or(0, |largest| largest as usize + 1)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(format!("expected a JSON object, found {}", excerpt(&other.to_string()))),
        Err(error) => Err(format!("expected a JSON object: {}", excerpt(&error.to_string()))),
    }
}

/// Adds the files that a folder for transformers needs and `files` lacks.
pub(crate) fn complete(
    inner: Inner,
    end_of_text: String,
    mut files: Vec<(String, Vec<u8>)>,
) -> Result<Loaded, String> {
    let lacks = |files: &[(String, Vec<u8>)], name: &str| files.iter().all(|file| file.0 != name);
    if lacks(&files, TOKENIZER) {
        let text = guarded(|| inner.to_string(true))?;
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

/// GPT-2's byte-level BPE: no prefix space, no normaliser.
fn gpt2(vocab: &[u8], merges: &[u8]) -> Result<Inner, String> {
    let entries = object(vocab).map_err(|reason| format!("{VOCAB}: {reason}"))?;
    let number = |(token, value): (String, Value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| {
            let (token, value) = (excerpt(&token), excerpt(&value.to_string()));
            format!("{VOCAB}: \"{token}\" is {value}, expected a token's number")
        })?;
        Ok((token, id))
    };
    let vocab =
        entries.into_iter().map(number).collect::<Result<tokenizers::models::bpe::Vocab, String>>()?;
    let merges = std::str::from_utf8(merges).map_err(|_| format!("{MERGES}: it is no text in UTF-8"))?;
    let mut pairs = Vec::new();
    for (index, line) in merges.lines().enumerate() {
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => pairs.push((left.to_string(), right.to_string())),
            _ => {
                let line = excerpt(line);
                return Err(format!("{MERGES} line {}: expected two tokens, found \"{line}\"", index + 1));
            }
        }
    }
    let model = guarded(|| BPE::builder().vocab_and_merges(vocab, pairs).build())?;
    let mut inner = Inner::new(model);
    byte_level(&mut inner);
    Ok(inner)
}

/// Sets the byte-level parts around a BPE model, as GPT-2 has them.
pub(crate) fn byte_level(inner: &mut Inner) {
    inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    inner.with_post_processor(Some(ByteLevel::new(false, false, true)));
    inner.with_decoder(Some(ByteLevel::new(false, true, true)));
}

/// Makes end-of-text a token of its own wherever it stands in a text.
pub(crate) fn add_end_of_text(inner: &mut Inner, token: &str) -> Result<(), String> {
    guarded(|| inner.add_special_tokens([AddedToken::from(token, true).normalized(true)])).map(drop)
}
