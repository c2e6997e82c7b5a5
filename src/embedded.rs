//! The base model and the flashcards that the program carries, so that a first run needs nothing else.
//!
//! They are named like paths, `embedded:NAME`, and unpacked into the run's folder: what a run used stands beside what
//! it made, as ordinary files for every other command and for Python.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gptneo_model::ModelError;
use gptneo_model::files::write_folder;

use crate::failure::Misuse;

/// What an embedded name begins with.
const PREFIX: &str = "embedded:";

/// Files under a name.
struct Embedded {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! files {
    ($folder:literal: $($file:literal),+) => {
        &[$(($file, include_bytes!(concat!("../", $folder, "/", $file)))),+]
    };
}

/// The base model, a Hugging Face folder.
const MODEL: Embedded = Embedded {
    name: "small-english",
    files: files!("model/small-english":
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "README.md"),
};

/// The flashcards.
const DATA: Embedded = Embedded {
    name: "medical-flashcards",
    files: files!("datasets/medical-flashcards": "medical_flashcards.json", "README.md"),
};

/// The model's folder that `path` means: itself, or the embedded model unpacked under `run`.
///
/// # Errors
/// An embedded name that is none, or a file that cannot be written.
pub(crate) fn model(path: &Path, run: &Path) -> Result<PathBuf> {
    unpacked(path, &MODEL, &run.join("base"))
}

/// The data file that `path` means: itself, or the embedded one unpacked under `run`.
///
/// # Errors
/// As [`model`].
pub(crate) fn data(path: &Path, run: &Path) -> Result<PathBuf> {
    let found = unpacked(path, &DATA, &run.join("data"))?;
    Ok(if found == path { found } else { found.join(DATA.files[0].0) })
}

fn unpacked(path: &Path, embedded: &Embedded, folder: &Path) -> Result<PathBuf> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(PREFIX)) else {
        return Ok(path.to_path_buf());
    };
    if name != embedded.name {
        return Err(Misuse::error(format!(
            "{} is not embedded in this program: expected {PREFIX}{} here, or a path",
            path.display(),
            embedded.name
        )));
    }
    write_folder(folder, |fresh| {
        embedded.files.iter().try_for_each(|(name, bytes)| {
            std::fs::write(fresh.join(name), bytes).map_err(|source| ModelError::Io {
                action: "write",
                path: folder.join(name),
                source,
            })
        })
    })
    .with_context(|| format!("cannot unpack {}", path.display()))?;
    Ok(folder.to_path_buf())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_itself_and_an_embedded_name_becomes_files() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(model(Path::new("some/folder"), run.path()).unwrap(), Path::new("some/folder"));
        let file = data(Path::new("embedded:medical-flashcards"), run.path()).unwrap();
        assert_eq!(std::fs::read(file).unwrap(), DATA.files[0].1);
        let message = model(Path::new("embedded:big"), run.path()).unwrap_err().to_string();
        assert!(message.contains("embedded:small-english"), "{message}");
    }

    /// The promise of the README: the program stays small.
    #[test]
    fn the_model_is_at_most_8_megabytes() {
        let bytes: usize = MODEL.files.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 8_000_000, "{bytes}");
    }
}
