//! A tokenizer of one's own: byte-level BPE as GPT-2 has it, for a small model trained from nothing.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer as Inner;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::error::DataError;
use crate::tokenizer::guard::guarded;
use crate::tokenizer::{DEFAULT_END_OF_TEXT, Tokenizer, files, tokenize};

/// The smallest vocabulary: the 256 bytes and end-of-text.
pub const SMALLEST_VOCABULARY: usize = 257;

/// Trains byte-level BPE on `texts` and writes the tokenizer's files into `out_dir`.
///
/// Ids 0 to 255 are the bytes, the merges follow in the order they were learned, and end-of-text is the last id, as
/// in GPT-2. Merges stop early once a text has no pair left, so the vocabulary may come out smaller. The same texts
/// give the same bytes every time, in any order of the texts: equally frequent pairs go by their ids.
///
/// # Errors
/// `vocab_size` is below [`SMALLEST_VOCABULARY`], or the folder cannot be written.
pub fn train_byte_level_bpe(
    texts: impl Iterator<Item = String> + Send,
    vocab_size: usize,
    out_dir: &Path,
) -> Result<Tokenizer, DataError> {
    if vocab_size < SMALLEST_VOCABULARY {
        let expected = format!("at least {SMALLEST_VOCABULARY} (256 bytes and end-of-text)");
        return Err(DataError::setting("the vocabulary size", vocab_size, expected));
    }
    let mut inner = Inner::new(BPE::default());
    files::byte_level(&mut inner);
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(vocab_size - 1)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build()
        .into();
    guarded(|| inner.train(&mut trainer, texts).map(drop)).map_err(tokenize("train"))?;
    let inner = with_end_of_text(&inner)?;
    let (vocab, merges) = tables(&inner)?;
    let files = files::vocab_and_merges(&vocab, &merges)?;
    let loaded =
        files::complete(inner, DEFAULT_END_OF_TEXT.to_string(), files).map_err(tokenize("serialise"))?;
    let tokenizer = Tokenizer::new(loaded, out_dir)?;
    tokenizer.save(out_dir)?;
    Ok(tokenizer)
}

/// The trained model with end-of-text as its last id, in the model's own vocabulary as GPT-2 has it.
fn with_end_of_text(trained: &Inner) -> Result<Inner, DataError> {
    let (mut vocab, merges) = tables(trained)?;
    vocab.push((DEFAULT_END_OF_TEXT.to_string(), vocab.len() as u32));
    let vocab: HashMap<String, u32> = vocab.into_iter().collect();
    let vocab: tokenizers::models::bpe::Vocab = vocab.into_iter().collect();
    let model =
        guarded(|| BPE::builder().vocab_and_merges(vocab, merges).build()).map_err(tokenize("train"))?;
    let mut inner = Inner::new(model);
    files::byte_level(&mut inner);
    files::add_end_of_text(&mut inner, DEFAULT_END_OF_TEXT).map_err(tokenize("train"))?;
    Ok(inner)
}

/// The vocabulary by id and the merges by rank, from the serialised model: the only place that shows both.
type Tables = (Vec<(String, u32)>, Vec<(String, String)>);

fn tables(inner: &Inner) -> Result<Tables, DataError> {
    let unreadable = |reason: String| DataError::Tokenize { action: "train", reason };
    let text = guarded(|| inner.to_string(false)).map_err(tokenize("train"))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let vocab: HashMap<String, u32> = serde_json::from_value(value["model"]["vocab"].take())
        .map_err(|error| unreadable(error.to_string()))?;
    let merges = serde_json::from_value(value["model"]["merges"].take())
        .map_err(|error| unreadable(error.to_string()))?;
    let mut vocab: Vec<(String, u32)> = vocab.into_iter().collect();
    vocab.sort_by_key(|(_, id)| *id);
    Ok((vocab, merges))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXTS: [&str; 6] = [
        "Instruction: Answer this question truthfully\nQuestion: What is a cold?\nResponse: A cold is a virus.",
        "Question: What causes the flu? Response: The flu is caused by a virus, and a virus is small.",
        "abab abab baba aabb bbaa abba baab ababab bababa",
        "Où est-ce? 5 µg – naïve “quotes” 感冒 🤒",
        "The cold, the flu, the virus and the question.",
        "ab ba aab bba",
    ];

    /// A tokenizer small enough to train in every test.
    pub(crate) fn small() -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        train_byte_level_bpe(TEXTS.map(String::from).into_iter(), 300, folder.path()).unwrap()
    }

    #[test]
    fn end_of_text_is_last_and_every_text_survives() {
        let tokenizer = small();
        assert_eq!(tokenizer.vocab_size(), 300);
        assert_eq!(tokenizer.end_of_text(), 299);
        for text in TEXTS.into_iter().chain(["", " ", "\n\n x", "\0\u{7f}\u{10ffff}"]) {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
        assert!(tokenizer.encode("the virus").unwrap().len() < "the virus".len());
        assert_eq!(tokenizer.encode("<|endoftext|>").unwrap(), [299]);
    }

    #[test]
    fn the_same_texts_give_the_same_bytes_in_any_order() {
        // The corpus of a's and b's has many pairs of equal count, and strings that several pairs of tokens make.
        let first = small().files();
        for turn in 0..10 {
            let mut texts = TEXTS.map(String::from);
            texts.rotate_left(turn % TEXTS.len());
            let folder = tempfile::tempdir().unwrap();
            let again = train_byte_level_bpe(texts.into_iter(), 300, folder.path()).unwrap();
            assert!(again.files() == first, "turn {turn}");
        }
    }

    #[test]
    fn the_folder_reads_back_from_either_form_and_holds_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/tokenizer");
        let tokenizer = train_byte_level_bpe(TEXTS.map(String::from).into_iter(), 300, &out).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "merges.txt",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        ];
        assert_eq!(names, expected);
        assert_eq!(Tokenizer::from_folder(&out).unwrap().files(), tokenizer.files());

        std::fs::remove_file(out.join("tokenizer.json")).unwrap();
        let classic = Tokenizer::from_folder(&out).unwrap();
        assert_eq!(classic.files(), tokenizer.files());
        for text in TEXTS {
            assert_eq!(classic.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        }
    }

    #[test]
    fn a_vocabulary_without_room_for_bytes_is_refused_and_a_poor_text_stops_early() {
        let folder = tempfile::tempdir().unwrap();
        let train = |size| train_byte_level_bpe(["ab".to_string()].into_iter(), size, folder.path());
        assert!(train(256).unwrap_err().to_string().contains("256; expected at least 257"));
        assert_eq!(train(257).unwrap().vocab_size(), 257);
        assert_eq!(train(1000).unwrap().vocab_size(), 258);
    }
}
