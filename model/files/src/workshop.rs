//! Where a folder is made before it takes its place: a hidden folder that is locked by whoever works in it.
//!
//! A workshop stands beside its target, `.NAME.partial`, and holds its lock and the folder in the making. Its name is
//! always the same: a second process finds the first one's, and the lock tells whether that one lives. What a dead
//! process left is cleared by the next that comes to the same place ([`remove_dead`] for a whole folder).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::lock::{Lock, is_at, lock};
use crate::{FileError, parent};

/// How the names of unfinished files and folders end.
pub(crate) const PARTIAL: &str = ".partial";
/// The lock in a workshop.
const LOCK: &str = ".lock";
/// The folder in the making, once it is whole and its parts are on their way into a folder that was there before.
const WHOLE: &str = ".whole";
/// A folder that gave its place up to a new one.
const OLD: &str = ".old";

/// A workshop that this process holds; it is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Workshop {
    path: PathBuf,
    target: PathBuf,
    _lock: Lock,
}

impl Workshop {
    /// The workshop at `path` for a folder that is to be `target`, empty; nothing where a living process works in it.
    ///
    /// What a dead process left in it is brought to its end where the folder was whole, and removed otherwise.
    pub(crate) fn open(path: PathBuf, target: &Path) -> Result<Option<Self>, FileError> {
        loop {
            make_folder(&path)?;
            let lock = match Lock::take(&path.join(LOCK)) {
                Ok(Some(lock)) => lock,
                Ok(None) => return Ok(None),
                // Its owner removed it in between.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let workshop = Self { path, target: target.to_path_buf(), _lock: lock };
            workshop.finish()?;
            return Ok(Some(workshop));
        }
    }

    /// The folder in the making, under its own name. It is made by whoever fills it.
    pub(crate) fn folder(&self) -> PathBuf {
        self.path.join(self.target.file_name().unwrap_or("folder".as_ref()))
    }

    /// Where a folder waits that gave its place up.
    pub(crate) fn old(&self) -> PathBuf {
        self.path.join(OLD)
    }

    /// Whether `path` is that of this workshop.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Moves what was made into the target, which is there and holds nothing but this workshop, part by part. A death
    /// in between is made up for by the next [`Workshop::open`].
    pub(crate) fn pour_out(&self) -> Result<(), FileError> {
        let whole = self.path.join(WHOLE);
        fs::rename(self.folder(), &whole).map_err(FileError::on("write", &self.target))?;
        self.pour(&whole)
    }

    fn pour(&self, whole: &Path) -> Result<(), FileError> {
        for entry in fs::read_dir(whole).map_err(FileError::on("read", whole))? {
            let entry = entry.map_err(FileError::on("read", whole))?;
            let place = self.target.join(entry.file_name());
            fs::rename(entry.path(), &place).map_err(FileError::on("write", &place))?;
        }
        Ok(())
    }

    /// Ends what a dead process began, and clears the workshop.
    fn finish(&self) -> Result<(), FileError> {
        let (whole, old) = (self.path.join(WHOLE), self.old());
        if whole.is_dir() {
            self.pour(&whole)?;
        }
        if old.is_dir() && !self.target.exists() {
            fs::rename(&old, &self.target).map_err(FileError::on("restore", &self.target))?;
        }
        for entry in fs::read_dir(&self.path).map_err(FileError::on("read", &self.path))? {
            let path = entry.map_err(FileError::on("read", &self.path))?.path();
            if path != self.path.join(LOCK) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What cannot be removed is left to the next that comes here.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The workshop beside `target`.
pub(crate) fn beside(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(PARTIAL);
    parent(target).join(name)
}

/// The workshop within `target`, for one that is there already: it may be a mount, or the only place that may be
/// written.
pub(crate) fn within(target: &Path) -> PathBuf {
    target.join(PARTIAL)
}

/// Removes the unfinished files and folders that dead processes left in `folder`, which may be absent; those of living
/// ones stay.
///
/// # Errors
/// The folder cannot be read, or what is dead cannot be removed.
pub fn remove_dead(folder: &Path) -> Result<(), FileError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(FileError::on("read", folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(FileError::on("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !(name.starts_with('.') && name.ends_with(PARTIAL)) {
            continue;
        }
        if path.is_symlink() {
            // Nothing here makes links.
        } else if path.join(LOCK).is_file() {
            let target = match name == PARTIAL {
                true => folder.to_path_buf(),
                false => folder.join(&name[1..name.len() - PARTIAL.len()]),
            };
            drop(Workshop::open(path, &target)?);
        } else if path.is_file() {
            remove_dead_file(&path)?;
        } else {
            // Cut off before it was locked, one is empty; anything else is none of ours, and stays.
            let _ = fs::remove_dir(&path);
        }
    }
    Ok(())
}

/// Removes an unfinished file unless a living process writes it.
pub(crate) fn remove_dead_file(path: &Path) -> Result<(), FileError> {
    let Ok(file) = fs::OpenOptions::new().write(true).open(path) else { return Ok(()) };
    match lock(&file) {
        Ok(true) if is_at(&file, path) => remove(path),
        _ => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), FileError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(FileError::on("create", path)),
    }
}

/// Removes a file, a link or a folder; what is gone already is no error.
fn remove(path: &Path) -> Result<(), FileError> {
    let removed = match path.is_dir() && !path.is_symlink() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::on("remove", path)(error)),
        _ => Ok(()),
    }
}
