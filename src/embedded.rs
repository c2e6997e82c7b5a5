//! The flashcards that the program carries, so that there is something to learn from without a download.
//!
//! They are named like a path and unpacked into the run's folder: what a run used stands beside what it made, as an
//! ordinary file for every other command and for Python.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gptneo_model::ModelError;
use gptneo_model::files::write_folder;

use crate::failure::Misuse;

/// What an embedded name begins with.
const PREFIX: &str = "embedded:";
/// The name after it.
const NAME: &str = "medical-flashcards";
/// The data first.
const FILES: [(&str, &[u8]); 2] = [
    ("medical_flashcards.json", include_bytes!("../datasets/medical-flashcards/medical_flashcards.json")),
    ("README.md", include_bytes!("../datasets/medical-flashcards/README.md")),
];

/// The data file that `path` means: itself, or the embedded one unpacked into `run/data`.
///
/// # Errors
/// An embedded name that is none, or a file that cannot be written.
pub(crate) fn data(path: &Path, run: &Path) -> Result<PathBuf> {
    let Some(name) = path.to_str().and_then(|path| path.strip_prefix(PREFIX)) else {
        return Ok(path.to_path_buf());
    };
    if name != NAME {
        return Err(Misuse::error(format!(
            "{} is not embedded in this program: expected {PREFIX}{NAME}, or a path",
            path.display()
        )));
    }
    let folder = run.join("data");
    write_folder(&folder, |fresh| {
        FILES.iter().try_for_each(|(name, bytes)| {
            let path = folder.join(name);
            std::fs::write(fresh.join(name), bytes).map_err(|source| ModelError::Io {
                action: "write",
                path,
                source,
            })
        })
    })
    .with_context(|| format!("cannot unpack {}", path.display()))?;
    Ok(folder.join(FILES[0].0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_itself_and_the_embedded_name_becomes_a_file() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(data(Path::new("some/file"), run.path()).unwrap(), Path::new("some/file"));
        let file = data(Path::new("embedded:medical-flashcards"), run.path()).unwrap();
        assert_eq!(std::fs::read(file).unwrap(), FILES[0].1);
        let message = data(Path::new("embedded:cards"), run.path()).unwrap_err().to_string();
        assert!(message.contains("embedded:medical-flashcards"), "{message}");
    }
}
