//! The base model and the flashcards that the program carries, so that a first run needs nothing else.
//!
//! They are named like paths, `embedded:NAME`, and unpacked into the run's folder: what a run used stands beside what
//! it made, as ordinary files for every other command and for Python.

use std::path::{Path, PathBuf};

use gptneo_datasets::medical_flashcards;
use gptneo_files::{FileError, write_folder};
use gptneo_model::small_medical;

use super::folder::RunFolder;
use super::taken::Taken;
use crate::{Error, Remedy, Result};

/// What an embedded name begins with.
const PREFIX: &str = "embedded:";

/// Files under a name.
struct Embedded {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

impl Embedded {
    /// Refuses an embedded name that is not this one.
    fn check(&self, name: &str) -> Result<()> {
        if name == self.name {
            return Ok(());
        }
        let what = format!(
            "{PREFIX}{name} is not embedded in this program: expected {PREFIX}{} here, or a path",
            self.name
        );
        Err(Error::settings(what, Remedy::None))
    }

    /// Writes the files into `folder`, unless it is there.
    fn unpack_once(&self, folder: &Path) -> Result<()> {
        if folder.exists() { Ok(()) } else { self.unpack(folder) }
    }

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

/// The paths of a model and of data, where the embedded ones among them are unpacked into `folder`.
///
/// # Errors
/// An embedded name that is none, or a file that cannot be written.
pub(crate) fn unpacked_into(folder: &RunFolder, model: &Path, data: &Path) -> Result<(PathBuf, PathBuf)> {
    let unpack = |path: &Path, embedded: &Embedded, place: PathBuf| -> Result<Option<PathBuf>> {
        let Some(name) = name(path) else { return Ok(None) };
        embedded.check(name)?;
        embedded.unpack_once(&place)?;
        Ok(Some(place))
    };
    let found = unpack(data, &DATA, folder.data())?.map(|place| place.join(DATA.files[0].0));
    Ok((
        unpack(model, &MODEL, folder.base().join(MODEL.name))?.unwrap_or_else(|| model.to_path_buf()),
        found.unwrap_or_else(|| data.to_path_buf()),
    ))
}

/// Something embedded that was unpacked for a run.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Where it is before the run's folder appears.
    pub(crate) now: PathBuf,
    /// Where it is from then on.
    pub(crate) later: PathBuf,
}

impl Unpacked {
    /// The model's folder that an embedded name means; nothing for a path.
    ///
    /// # Errors
    /// An embedded name that is none, or a file that cannot be written.
    pub(crate) fn model(path: &Path, taken: &Taken) -> Result<Option<Self>> {
        // Under its name, which adapter and report show.
        Self::find(path, &MODEL, |run| run.base().join(MODEL.name), taken)
    }

    /// The data file that an embedded name means; nothing for a path.
    ///
    /// # Errors
    /// As [`Unpacked::model`].
    pub(crate) fn data(path: &Path, taken: &Taken) -> Result<Option<Self>> {
        let found = Self::find(path, &DATA, RunFolder::data, taken)?;
        let file = |folder: PathBuf| folder.join(DATA.files[0].0);
        Ok(found.map(|found| Self { now: file(found.now), later: file(found.later) }))
    }

    /// What `path` means, unpacked where the run's folder is being made; what a run has already stays.
    fn find(
        path: &Path,
        embedded: &Embedded,
        place: impl Fn(&RunFolder) -> PathBuf,
        taken: &Taken,
    ) -> Result<Option<Self>> {
        let Some(name) = name(path) else { return Ok(None) };
        embedded.check(name)?;
        let found = Self { now: place(&taken.room()), later: place(taken.folder()) };
        embedded.unpack_once(&found.now)?;
        Ok(Some(found))
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
        let taken = Taken::new(folder.path().join("run")).unwrap();
        assert!(Unpacked::model(Path::new("some/folder"), &taken).unwrap().is_none());
        let found = Unpacked::data(Path::new("embedded:medical-flashcards"), &taken).unwrap().unwrap();
        assert_eq!(std::fs::read(&found.now).unwrap(), DATA.files[0].1);
        assert!(found.later.starts_with(folder.path().join("run")) && !found.later.exists());
        let message = Unpacked::model(Path::new("embedded:big"), &taken).unwrap_err().to_string();
        assert!(message.contains("embedded:small-medical"), "{message}");
        drop(taken);
        assert!(!found.now.exists());
    }
}
