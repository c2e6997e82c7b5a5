//! The key that requests must bear, where the server has one. It is compared by its hash in constant time, so that how
//! long a refusal takes says nothing of it, and it is neither shown nor logged.

use std::path::Path;

use axum::http::HeaderValue;
use gptneo_files::read_small_text;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ServeError;

/// The key's hash.
pub struct Key([u8; 32]);

impl Key {
    /// The key in a file, without white space around it.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or has white space within.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let text = read_small_text(path).map_err(|source| ServeError::Unreadable {
            what: "key",
            path: path.into(),
            source,
        })?;
        let none = |fault| Err(ServeError::NoKey { path: path.into(), fault });
        match text.trim() {
            "" => none("is empty: expected the key that requests must bear"),
            key if key.contains(char::is_whitespace) => {
                none("has white space within the key: expected one key alone")
            }
            key => Ok(Self::of(key.as_bytes())),
        }
    }

    fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether the header `Authorization` bears the key.
    pub(super) fn opens(&self, authorization: Option<&HeaderValue>) -> bool {
        let Some(value) = authorization.map(HeaderValue::as_bytes) else { return false };
        let Some(space) = value.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, key) = (&value[..space], value[space..].trim_ascii());
        scheme.eq_ignore_ascii_case(b"bearer") && bool::from(Self::of(key).0.ct_eq(&self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_key_itself_opens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "s3cret\n").unwrap();
        let key = Key::read(&file).unwrap();
        let opens = |value: &str| key.opens(Some(&HeaderValue::from_str(value).unwrap()));
        assert!(opens("Bearer s3cret") && opens("bearer  s3cret"));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "s3cret", "Basic s3cret", "Bearer", ""] {
            assert!(!opens(wrong), "{wrong}");
        }
        assert!(!key.opens(None));
        std::fs::write(&file, "schl\u{fc}ssel").unwrap();
        let opens =
            |value: &[u8]| Key::read(&file).unwrap().opens(Some(&HeaderValue::from_bytes(value).unwrap()));
        assert!(opens("Bearer schl\u{fc}ssel".as_bytes()) && !opens(b"Bearer schlussel"));
    }

    #[test]
    fn a_file_without_one_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for (text, word) in [(" \n", "is empty"), ("a b", "white space")] {
            std::fs::write(&file, text).unwrap();
            assert!(Key::read(&file).err().unwrap().to_string().contains(word));
        }
        assert!(Key::read(&folder.path().join("none")).err().unwrap().to_string().contains("cannot read"));
    }
}
