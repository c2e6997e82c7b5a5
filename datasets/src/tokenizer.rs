//! Text to token ids and back, with the end-of-text id that closes every text.
//!
//! A [`Tokenizer`] keeps the files it came from, so that a model saved later carries the same tokenizer.

mod added;
mod bytes;
pub(crate) mod files;
pub(crate) mod guard;
mod stream;
mod tables;

use std::path::{Path, PathBuf};

use gptneo_files::{excerpt, write_files};
use rayon::prelude::*;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, Tokenizer as Inner};

pub use added::DEFAULT_END_OF_TEXT;
pub use files::TOKENIZER_FILES;
pub use stream::StreamDecoder;
pub use tables::{ByteLevelBpe, TokenKind};

use self::guard::guarded;
use crate::error::DataError;

/// A tokenizer of a Hugging Face model folder.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    end_of_text: u32,
    end_of_text_token: String,
    vocab_size: usize,
    /// The tokens that the model has embeddings for, where that is known.
    rows: Option<usize>,
    /// Where it came from, for errors' sake.
    folder: PathBuf,
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
        let any_model = None;
        Self::new(files::load(folder, any_model)?, folder)
    }

    /// As [`Tokenizer::from_folder`], for a model that has embeddings for `rows` tokens. Tokens that were added behind the
    /// vocabulary may be more; a text that holds one of those is refused, because the model cannot read it.
    ///
    /// # Errors
    /// As [`Tokenizer::from_folder`]; or the vocabulary itself, or end-of-text, is beyond the model's.
    pub fn for_model(folder: &Path, rows: usize) -> Result<Self, DataError> {
        let tokenizer = Self { rows: Some(rows), ..Self::new(files::load(folder, Some(rows))?, folder)? };
        let own = tokenizer.inner.get_vocab(false).into_values().max().map_or(0, |id| id as usize + 1);
        let refuse = |reason: String| DataError::TokenizerFiles { folder: folder.to_path_buf(), reason };
        if own > rows {
            return Err(refuse(format!(
                "it has {own} tokens, but the model's vocabulary has {rows}: they do not belong together"
            )));
        }
        if tokenizer.end_of_text as usize >= rows {
            return Err(refuse(format!(
                "the end-of-text token {:?} has the number {}, but the model's vocabulary has {rows} tokens: set eos_token \
                 to one of those, or enlarge the model's embedding",
                excerpt(&tokenizer.end_of_text_token),
                tokenizer.end_of_text
            )));
        }
        Ok(tokenizer)
    }

    /// Wraps what was loaded; `folder` is for the error's sake.
    pub(crate) fn new(loaded: files::Loaded, folder: &Path) -> Result<Self, DataError> {
        let files::Loaded { mut inner, end_of_text, files } = loaded;
        let refuse = |reason: String| DataError::TokenizerFiles { folder: folder.to_path_buf(), reason };
        // A tokenizer.json may ask for cut or padded texts; lengths are the examples' business.
        guarded(|| inner.with_truncation(None).map(drop)).map_err(&refuse)?;
        inner.with_padding(None);
        let vocab_size = files::size(&inner);
        if vocab_size == 0 {
            return Err(refuse("the vocabulary is empty".to_string()));
        }
        let id = inner.token_to_id(&end_of_text).ok_or_else(|| {
            let token = excerpt(&end_of_text);
            refuse(format!("the end-of-text token {token:?} is not in the vocabulary; set `eos_token`"))
        })?;
        let (end_of_text_token, folder, rows) = (end_of_text, folder.to_path_buf(), None);
        Ok(Self { inner, end_of_text: id, end_of_text_token, vocab_size, rows, folder, files })
    }

    /// The ids of `text`, nothing added.
    ///
    /// # Errors
    /// The tokenizer refuses the text, for example a character it has no token for.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = guarded(|| self.inner.encode_fast(text, false))
            .map_err(|reason| self.cannot("encode", reason))?;
        let ids = encoding.get_ids().to_vec();
        match ids.iter().find(|id| self.rows.is_some_and(|rows| **id as usize >= rows)) {
            None => Ok(ids),
            Some(id) => {
                let token = excerpt(&self.inner.id_to_token(*id).unwrap_or_default());
                let reason = format!(
                    "the text holds the token {token:?}, number {id}, but the model's vocabulary has {} tokens",
                    self.rows.unwrap_or_default()
                );
                Err(self.cannot("encode", reason))
            }
        }
    }

    /// Before which single blanks, between two characters that are none, a text can be cut without its ids becoming
    /// others; none where the tokenizer may look across.
    pub(crate) fn borders(&self) -> &'static [char] {
        let level = match self.inner.get_pre_tokenizer() {
            Some(PreTokenizerWrapper::ByteLevel(level)) if level.use_regex => level,
            _ => return &[],
        };
        let added = self.inner.get_added_tokens_decoder();
        let across = |token: &AddedToken| token.rstrip || token.content.contains(char::is_whitespace);
        if self.inner.get_normalizer().is_some() || added.values().any(across) {
            return &[];
        }
        // What begins with another character would get a space before it.
        if level.add_prefix_space { &[' '] } else { &[' ', '\n'] }
    }

    fn cannot(&self, action: &'static str, reason: String) -> DataError {
        DataError::Tokenize {
            action,
            reason: format!("{reason} (the tokenizer is that of {})", self.folder.display()),
        }
    }

    /// The ids of each text, nothing added; on all cores.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<u32>>, DataError> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        texts.par_iter().map(|text| self.encode(text)).collect()
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
        guarded(|| self.inner.decode(ids, false)).map_err(|reason| self.cannot("decode", reason))
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
pub(crate) fn tokenize(action: &'static str) -> impl FnOnce(String) -> DataError {
    move |reason| DataError::Tokenize { action, reason }
}

#[cfg(test)]
mod tests;
