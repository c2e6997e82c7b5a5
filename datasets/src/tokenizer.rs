//! Text to token ids and back, with the end-of-text id that closes every text.
//!
//! A [`Tokenizer`] keeps the files it came from, so that a model saved later carries the same tokenizer.

mod bytes;
pub(crate) mod files;
mod stream;

use std::path::{Path, PathBuf};

use gptneo_files::write_files;
use tokenizers::Tokenizer as Inner;

pub use files::DEFAULT_END_OF_TEXT;
pub use stream::StreamDecoder;

use crate::error::DataError;

/// A tokenizer of a Hugging Face model folder.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    end_of_text: u32,
    end_of_text_token: String,
    vocab_size: usize,
    files: Vec<(String, Vec<u8>)>,
}

impl Tokenizer {
    /// Loads `tokenizer.json` or, where there is none, GPT-2's `vocab.json` and `merges.txt`.
    ///
    /// End-of-text is the `eos_token` of `tokenizer_config.json`, else of `special_tokens_map.json`, else
    /// [`DEFAULT_END_OF_TEXT`].
    ///
    /// # Errors
    /// No tokenizer is in the folder, a file is damaged, or end-of-text is not in the vocabulary.
    pub fn from_folder(folder: &Path) -> Result<Self, DataError> {
        let loaded = files::load(folder)?;
        Self::new(loaded, folder)
    }

    /// Wraps what was loaded; `folder` is for the error's sake.
    pub(crate) fn new(loaded: files::Loaded, folder: &Path) -> Result<Self, DataError> {
        let files::Loaded { mut inner, end_of_text, files } = loaded;
        let refuse = |reason: String| DataError::TokenizerFiles { folder: folder.to_path_buf(), reason };
        // A tokenizer.json may ask for cut or padded texts; lengths are the examples' business.
        inner.with_truncation(None).map_err(|error| refuse(error.to_string()))?;
        inner.with_padding(None);
        let largest = inner.get_vocab(true).into_values().max();
        let vocab_size = largest.ok_or_else(|| refuse("the vocabulary is empty".to_string()))? as usize + 1;
        let id = inner.token_to_id(&end_of_text).ok_or_else(|| {
            refuse(format!("the end-of-text token {end_of_text:?} is not in the vocabulary; set `eos_token`"))
        })?;
        Ok(Self { inner, end_of_text: id, end_of_text_token: end_of_text, vocab_size, files })
    }

    /// The ids of `text`, nothing added.
    ///
    /// # Errors
    /// The tokenizer refuses the text, for example a character it has no token for.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.inner.encode_fast(text, false).map_err(tokenize("encode"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of each text, nothing added; on all cores.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<u32>>, DataError> {
        // An encoding keeps far more than ids, so only so many exist at a time.
        const AT_ONCE: usize = 1024;
        let mut ids = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(AT_ONCE) {
            let chunk: Vec<&str> = chunk.iter().map(AsRef::as_ref).collect();
            let encodings = self.inner.encode_batch_fast(chunk, false).map_err(tokenize("encode"))?;
            ids.extend(encodings.iter().map(|encoding| encoding.get_ids().to_vec()));
        }
        Ok(ids)
    }

    /// The text of `ids` without end-of-text. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        let kept: Vec<u32> = ids.iter().copied().filter(|&id| id != self.end_of_text).collect();
        self.decode_all(&kept)
    }

    /// The text of `ids`, end-of-text written out as the token it is.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn decode_all(&self, ids: &[u32]) -> Result<String, DataError> {
        self.inner.decode(ids, false).map_err(tokenize("decode"))
    }

    /// A decoder for ids that come one at a time.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// The id that closes a text.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// The token that closes a text, as it is written.
    pub fn end_of_text_token(&self) -> &str {
        &self.end_of_text_token
    }

    /// The largest id plus one: the rows an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The files, by name, with which transformers loads this tokenizer from a model folder.
    ///
    /// They are the source's own bytes, with `tokenizer.json`, `tokenizer_config.json` and
    /// `special_tokens_map.json` made where the source has none.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.files.clone()
    }

    /// Writes [`Tokenizer::files`] into `folder`, which is made if need be.
    ///
    /// All files are written aside first and then renamed, `tokenizer.json` last, so a failure leaves no half file.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), DataError> {
        std::fs::create_dir_all(folder).map_err(DataError::io("create", folder))?;
        let mut files: Vec<(PathBuf, &[u8])> =
            self.files.iter().map(|(name, bytes)| (folder.join(name), bytes.as_slice())).collect();
        files.sort_by_key(|(path, _)| path.ends_with(files::TOKENIZER));
        write_files(&files).map_err(|failed| DataError::io(failed.action, &failed.path)(failed.source))
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size)
            .field("end_of_text", &self.end_of_text)
            .finish_non_exhaustive()
    }
}

/// A [`DataError::Tokenize`] for `map_err`.
pub(crate) fn tokenize(action: &'static str) -> impl FnOnce(tokenizers::Error) -> DataError {
    move |error| DataError::Tokenize { action, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
