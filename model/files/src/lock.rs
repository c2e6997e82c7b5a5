//! Locks that end with the process that holds them, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::FileError;

/// A locked file; the lock is released when this is dropped or the process ends, by the system where it must be.
///
/// The lock belongs to the file and goes with it when the file, or a folder above it, is renamed. A file system
/// without locks gives one that keeps nobody out.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the file at `path`, which is made if it is absent; nothing where another process holds it.
    ///
    /// # Errors
    /// The file cannot be made or opened for writing.
    pub fn take(path: &Path) -> Result<Option<Self>, FileError> {
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(path).map_err(FileError::on("lock", path))?;
            if !lock(&file).map_err(FileError::on("lock", path))? {
                return Ok(None);
            }
            // Whoever held it may have removed the file in between: then the name is free, or another's.
            if is_at(&file, path) {
                return Ok(Some(Self { _file: file }));
            }
        }
    }
}

/// Locks an open file; false where another process has locked it.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the file system says that it has no locks.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    let without_server = error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error());
    #[cfg(not(unix))]
    let without_server = false;
    without_server || error.kind() == io::ErrorKind::Unsupported
}

/// Whether `path` still names the open file.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        matches!((file.metadata(), path.metadata()), (Ok(open), Ok(named)) if same(&open, &named))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_dropped_and_follows_a_rename() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after] = ["before", "after"].map(|name| folder.path().join(name));
        std::fs::create_dir(&before).unwrap();
        let lock = Lock::take(&before.join(".lock")).unwrap().unwrap();
        assert!(Lock::take(&before.join(".lock")).unwrap().is_none());
        std::fs::rename(&before, &after).unwrap();
        assert!(Lock::take(&after.join(".lock")).unwrap().is_none());
        drop(lock);
        assert!(Lock::take(&after.join(".lock")).unwrap().is_some());
    }
}
