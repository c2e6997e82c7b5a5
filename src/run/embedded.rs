//! The base model and the flashcards that the program carries, so that a first run needs nothing else.
//!
//! They are named like paths, `embedded:NAME`, and unpacked into the run's folder: what a run used stands beside what
//! it made, as ordinary files for every other command and for Python.

use std::path::{Path, PathBuf};

use gptneo_datasets::medical_flashcards;
use gptneo_files::{FileError, write_folder};
use gptneo_model::small_medical;

use super::folder::RunFolder;
use crate::error::{Error, Remedy, Result};

/// What an embedded name begins with.
const PREFIX: &str = "embedded:";

/// Files under a name.
struct Embedded {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

impl Embedded {
    /// Writes the files into `folder`, all or none.
    fn unpack(&self, folder: &Path) -> Result<()> {
        let write = |fresh: &Path| -> Result<(), FileError> {
            self.files.iter().try_for_each(|(name, bytes)| {
                std::fs::write(fresh.join(name), bytes).map_err(FileError::on("write", folder.join(name)))
            })
        };
        Ok(write_folder(folder, write)?)
    }
}

/// The base model, a Hugging Face folder.
static MODEL: Embedded = Embedded { name: small_medical::NAME, files: small_medical::FILES };

/// The flashcards.
static DATA: Embedded = Embedded { name: medical_flashcards::NAME, files: medical_flashcards::FILES };

/// The base model's name.
pub(crate) const MODEL_NAME: &str = small_medical::NAME;

/// Writes the base model into `folder`, in place of one that may be there.
///
/// # Errors
/// It cannot be written.
pub(crate) fn unpack_model(folder: &Path) -> Result<()> {
    MODEL.unpack(folder)
}

/// What is unpacked for a run that has not begun: dropped before [`Unpacked::keep`] it is removed again, so that a run
/// that is refused leaves its folder as it was.
pub(crate) struct Unpacked {
    run: RunFolder,
    /// Whether the run's folder was there before.
    existed: bool,
    folders: Vec<PathBuf>,
}

impl Unpacked {
    /// For a run in this folder.
    pub(crate) fn new(run: &RunFolder) -> Self {
        Self { run: run.clone(), existed: run.path().exists(), folders: Vec::new() }
    }

    /// The model's folder that `path` means: itself, or the embedded model unpacked under the run's.
    ///
    /// # Errors
    /// An embedded name that is none, or a file that cannot be written.
    pub(crate) fn model(&mut self, path: &Path) -> Result<PathBuf> {
        // Under its name, which adapter and report show.
        let base = self.run.base();
        self.find(path, &MODEL, &base, base.join(MODEL.name))
    }

    /// The data file that `path` means: itself, or the embedded one unpacked under the run's folder.
    ///
    /// # Errors
    /// As [`Unpacked::model`].
    pub(crate) fn data(&mut self, path: &Path) -> Result<PathBuf> {
        let data = self.run.data();
        let found = self.find(path, &DATA, &data, data.clone())?;
        Ok(if found == path { found } else { found.join(DATA.files[0].0) })
    }

    /// The run has begun: what was unpacked is part of it.
    pub(crate) fn keep(&mut self) {
        self.folders.clear();
    }

    /// What `path` means, unpacked into `folder` where it is embedded: a part of the run's folder `part`.
    fn find(&mut self, path: &Path, embedded: &Embedded, part: &Path, folder: PathBuf) -> Result<PathBuf> {
        let Some(name) = name(path) else { return Ok(path.to_path_buf()) };
        if name != embedded.name {
            let what = format!(
                "{} is not embedded in this program: expected {PREFIX}{} here, or a path",
                path.display(),
                embedded.name
            );
            return Err(Error::settings(what, Remedy::None));
        }
        self.folders.push(part.to_path_buf());
        embedded.unpack(&folder)?;
        Ok(folder)
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if self.folders.is_empty() {
            return;
        }
        // What cannot be removed stays; the error that led here is the one to tell.
        for folder in &self.folders {
            let _ = std::fs::remove_dir_all(folder);
        }
        if !self.existed {
            let _ = std::fs::remove_dir(self.run.path());
        }
    }
}

/// The name of something embedded; none for a path.
fn name(path: &Path) -> Option<&str> {
    path.to_str()?.strip_prefix(PREFIX)
}

/// Refuses an embedded name where nothing is unpacked.
///
/// # Errors
/// `path` is such a name.
pub fn refuse(path: &Path) -> Result<()> {
    match name(path) {
        None => Ok(()),
        Some(_) => Err(Error::settings(
            format!("{} is for runs, which unpack it into RUN/base and RUN/data", path.display()),
            Remedy::say("give the path there"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_itself_and_an_embedded_name_becomes_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut unpacked = Unpacked::new(&RunFolder::new(folder.path()).unwrap());
        assert_eq!(unpacked.model(Path::new("some/folder")).unwrap(), Path::new("some/folder"));
        let file = unpacked.data(Path::new("embedded:medical-flashcards")).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), DATA.files[0].1);
        let message = unpacked.model(Path::new("embedded:big")).unwrap_err().to_string();
        assert!(message.contains("embedded:small-medical"), "{message}");
        unpacked.keep();
        drop(unpacked);
        assert!(file.exists());
    }
}
