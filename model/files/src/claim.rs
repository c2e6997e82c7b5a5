//! A new folder that is taken at once and appears when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::folder::sync_below;
use crate::workshop::{Workshop, beside, within};
use crate::{FileError, parent, sync_folder};

/// Why a folder cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A living process is making it.
    #[error("another process is writing {}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Something is in it.
    #[error("{} is not empty", path.display())]
    Used {
        /// The folder.
        path: PathBuf,
    },
    /// Something has the name of a file that is to be new.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Its path names a file, or nothing at all.
    #[error("{:?} is no folder", path.display().to_string())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder that cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A folder that is to appear: it is absent or empty, and no other process can take it until this is dropped.
///
/// What is written below [`Claim::folder`] becomes the folder by [`Claim::settle`]; dropped before, or cut off by a
/// death, all is as it was, but for a hidden folder that the next claim to the same place removes.
#[derive(Debug)]
pub struct Claim {
    target: PathBuf,
    /// Folders above the target that were made for it, the lowest first.
    made: Vec<PathBuf>,
    /// None once it is settled.
    workshop: Option<Workshop>,
}

impl Claim {
    /// Takes the folder at `target`, which must be absent or empty. Folders above it are made.
    ///
    /// # Errors
    /// Another process has taken it, it holds something, or nothing can be written there.
    pub fn new(target: impl Into<PathBuf>) -> Result<Self, ClaimError> {
        let target = target.into();
        if target.as_os_str().is_empty() || (target.exists() && !target.is_dir()) {
            return Err(ClaimError::NoFolder { path: target });
        }
        recover(&target)?;
        let mut claim = Self { made: make_above(&target)?, target, workshop: None };
        let place = match claim.target.is_dir() {
            true => within(&claim.target),
            false => beside(&claim.target),
        };
        let Some(workshop) = Workshop::open(place, &claim.target)? else {
            return Err(ClaimError::Busy { path: claim.target.clone() });
        };
        let folder = workshop.folder();
        claim.workshop = Some(workshop);
        claim.refuse_used()?;
        fs::create_dir(&folder).map_err(FileError::on("create", &folder))?;
        Ok(claim)
    }

    /// The folder as it will be named.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where its contents are written until it appears.
    pub fn folder(&self) -> PathBuf {
        self.workshop.as_ref().map_or_else(|| self.target.clone(), Workshop::folder)
    }

    /// Lets the folder appear, in one step where it was absent.
    ///
    /// # Errors
    /// Something else has come to be there, or a file operation failed; nothing of anybody else's is touched.
    pub fn settle(mut self) -> Result<(), ClaimError> {
        let Some(workshop) = &self.workshop else { return Ok(()) };
        let folder = workshop.folder();
        sync_below(&folder)?;
        self.refuse_used()?;
        match workshop.is_at(&within(&self.target)) {
            true => workshop.pour_out()?,
            // The system refuses to rename onto a folder that holds something.
            false => fs::rename(&folder, &self.target).map_err(FileError::on("write", &self.target))?,
        }
        sync_folder(&self.target)?;
        sync_folder(parent(&self.target))?;
        self.made.clear();
        self.workshop = None;
        Ok(())
    }

    /// Refuses a target that holds anything but this workshop.
    fn refuse_used(&self) -> Result<(), ClaimError> {
        match is_free(&self.target)? {
            true => Ok(()),
            false => Err(ClaimError::Used { path: self.target.clone() }),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.workshop = None;
        for folder in &self.made {
            // One that something else has come into stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Brings to its end what a dead process left of the folder at `target`: made whole where all of it was written,
/// cleared away otherwise.
///
/// # Errors
/// A living process is making it, or a file operation failed.
pub fn recover(target: &Path) -> Result<(), ClaimError> {
    for place in [within(target), beside(target)] {
        if place.is_dir() && Workshop::open(place, target)?.is_none() {
            return Err(ClaimError::Busy { path: target.to_path_buf() });
        }
    }
    Ok(())
}

/// Whether the folder at `target` is absent, or holds nothing but what is in the making.
///
/// # Errors
/// It cannot be read, or is none.
pub fn is_free(target: &Path) -> Result<bool, FileError> {
    if !target.exists() {
        return Ok(true);
    }
    let workshop = within(target);
    for entry in fs::read_dir(target).map_err(FileError::on("read", target))? {
        if entry.map_err(FileError::on("read", target))?.path() != workshop {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the folders above `target`; says which, the lowest first.
fn make_above(target: &Path) -> Result<Vec<PathBuf>, FileError> {
    let above = parent(target);
    let absent = above.ancestors().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let absent = absent.map(Path::to_path_buf).collect();
    fs::create_dir_all(above).map_err(FileError::on("create", above))?;
    Ok(absent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A claim as a dead process leaves it: its files stand, its lock is gone.
    fn dead(claim: Claim, copy_of: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for name in names(copy_of) {
            let (from, to) = (copy_of.join(&name), to.join(&name));
            if from.is_dir() {
                fs::create_dir(&to).unwrap();
                for name in names(&from) {
                    fs::copy(from.join(&name), to.join(&name)).unwrap();
                }
            } else {
                fs::write(to, "").unwrap();
            }
        }
        drop(claim);
    }

    #[test]
    fn a_folder_is_taken_at_once_and_appears_whole() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("runs/first");
        let claim = Claim::new(&target).unwrap();
        assert!(matches!(Claim::new(&target), Err(ClaimError::Busy { .. })));
        fs::write(claim.folder().join("file"), "text").unwrap();
        assert!(!target.exists());
        claim.settle().unwrap();
        assert_eq!(names(target.parent().unwrap()), ["first"]);
        assert_eq!(names(&target), ["file"]);
        assert!(matches!(Claim::new(&target), Err(ClaimError::Used { .. })));
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let claim = Claim::new(place.path().join("runs/deep/first")).unwrap();
        fs::write(claim.folder().join("file"), "text").unwrap();
        drop(claim);
        assert_eq!(names(place.path()), [""; 0]);
        fs::create_dir(place.path().join("empty")).unwrap();
        drop(Claim::new(place.path().join("empty")).unwrap());
        assert_eq!(names(&place.path().join("empty")), [""; 0]);
    }

    #[test]
    fn an_empty_folder_is_filled_and_stays_the_one_that_it_was() {
        let place = tempfile::tempdir().unwrap();
        let claim = Claim::new(place.path()).unwrap();
        assert!(matches!(Claim::new(place.path()), Err(ClaimError::Busy { .. })));
        fs::write(claim.folder().join("one"), "").unwrap();
        fs::write(claim.folder().join("two"), "").unwrap();
        claim.settle().unwrap();
        assert_eq!(names(place.path()), ["one", "two"]);
    }

    #[test]
    fn what_came_in_between_is_not_touched() {
        let place = tempfile::tempdir().unwrap();
        for target in [place.path().join("absent"), place.path().join("empty")] {
            if target.ends_with("empty") {
                fs::create_dir(&target).unwrap();
            }
            let claim = Claim::new(&target).unwrap();
            fs::write(claim.folder().join("ours"), "").unwrap();
            fs::create_dir_all(&target).unwrap();
            fs::write(target.join("theirs"), "kept").unwrap();
            assert!(matches!(claim.settle(), Err(ClaimError::Used { .. })));
            assert_eq!(names(&target), ["theirs"]);
        }
        assert_eq!(names(place.path()), ["absent", "empty"]);
    }

    #[test]
    fn what_a_dead_process_left_is_cleared_or_brought_to_its_end() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("run");
        let claim = Claim::new(&target).unwrap();
        fs::write(claim.folder().join("half"), "").unwrap();
        let (workshop, copy) = (beside(&target), place.path().join("copy"));
        dead(claim, &workshop, &copy);
        fs::rename(&copy, &workshop).unwrap();
        let claim = Claim::new(&target).unwrap();
        assert_eq!(names(&claim.folder()), [""; 0]);
        drop(claim);

        // Cut off between the parts of a whole folder.
        fs::create_dir_all(within(&target).join(".whole")).unwrap();
        fs::write(within(&target).join(".lock"), "").unwrap();
        fs::write(within(&target).join(".whole/second"), "").unwrap();
        fs::write(target.join("first"), "").unwrap();
        assert!(matches!(Claim::new(&target), Err(ClaimError::Used { .. })));
        assert_eq!(names(&target), ["first", "second"]);
    }

    #[test]
    fn a_file_is_no_folder() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "kept").unwrap();
        assert!(matches!(Claim::new(&file), Err(ClaimError::NoFolder { .. })));
        assert!(matches!(Claim::new(""), Err(ClaimError::NoFolder { .. })));
        assert!(Claim::new(file.join("below")).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        assert_eq!(names(place.path()), ["file"]);
    }
}
