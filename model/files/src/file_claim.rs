//! A new file that is taken at once and appears when it is whole: as a [`Claim`](crate::Claim), of one file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::claim::ClaimError;
use crate::workshop::{Workshop, beside};
use crate::{FileError, parent, sync_folder};

/// A file that is to appear: nothing has its name, and no other process can take it until this is dropped.
///
/// What is written at [`FileClaim::file`] becomes the file by [`FileClaim::settle`], which replaces nothing. Dropped
/// before, or cut off by a death, all is as it was, but for a hidden folder that the next claim to the same place removes.
#[derive(Debug)]
pub struct FileClaim {
    target: PathBuf,
    workshop: Workshop,
}

impl FileClaim {
    /// Takes the file at `target`, which must be absent, in a folder that is there.
    ///
    /// # Errors
    /// Another process has taken it, something has its name, or nothing can be written there.
    pub fn new(target: impl Into<PathBuf>) -> Result<Self, ClaimError> {
        let target = target.into();
        let folder = parent(&target);
        if target.file_name().is_none() || !folder.is_dir() {
            return Err(ClaimError::NoFolder { path: folder.to_path_buf() });
        }
        refuse_taken(&target)?;
        let Some(workshop) = Workshop::open(beside(&target), &target)? else {
            return Err(ClaimError::Busy { path: target });
        };
        // It may have appeared before its name was taken.
        refuse_taken(&target)?;
        Ok(Self { target, workshop })
    }

    /// Where its contents are written until it appears.
    pub fn file(&self) -> PathBuf {
        self.workshop.folder()
    }

    /// Lets the file appear, in one step.
    ///
    /// # Errors
    /// Something has come to have its name, which stays as it is, or a file operation failed.
    pub fn settle(self) -> Result<(), ClaimError> {
        let file = self.file();
        File::open(&file).and_then(|file| file.sync_all()).map_err(FileError::on("sync", &self.target))?;
        match fs::hard_link(&file, &self.target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_taken(&self.target)?,
            // A file system without links.
            Err(_) => {
                refuse_taken(&self.target)?;
                fs::rename(&file, &self.target).map_err(FileError::on("write", &self.target))?;
            }
        }
        Ok(sync_folder(parent(&self.target))?)
    }
}

fn refuse_taken(target: &Path) -> Result<(), ClaimError> {
    match target.symlink_metadata() {
        Ok(_) => Err(ClaimError::Exists { path: target.to_path_buf() }),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_taken_at_once_and_appears_whole() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("table.csv");
        let claim = FileClaim::new(&target).unwrap();
        assert!(matches!(FileClaim::new(&target), Err(ClaimError::Busy { .. })));
        fs::write(claim.file(), "text").unwrap();
        assert!(!target.exists());
        claim.settle().unwrap();
        assert_eq!(
            (names(place.path()), fs::read_to_string(&target).unwrap()),
            (vec!["table.csv".into()], "text".into())
        );
        assert!(matches!(FileClaim::new(&target), Err(ClaimError::Exists { .. })));
    }

    #[test]
    fn what_came_in_between_is_not_touched() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("table.csv");
        let claim = FileClaim::new(&target).unwrap();
        fs::write(claim.file(), "ours").unwrap();
        fs::write(&target, "theirs").unwrap();
        assert!(matches!(claim.settle(), Err(ClaimError::Exists { .. })));
        assert_eq!(
            (names(place.path()), fs::read_to_string(&target).unwrap()),
            (vec!["table.csv".into()], "theirs".into())
        );
        assert!(matches!(FileClaim::new(place.path().join("absent/a")), Err(ClaimError::NoFolder { .. })));
    }

    #[test]
    fn what_is_given_up_or_dead_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("table.csv");
        let claim = FileClaim::new(&target).unwrap();
        fs::write(claim.file(), "half").unwrap();
        drop(claim);
        assert!(names(place.path()).is_empty());
        let dead = place.path().join(".table.csv.partial");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("table.csv"), "half").unwrap();
        let claim = FileClaim::new(&target).unwrap();
        assert!(!claim.file().exists());
    }
}
