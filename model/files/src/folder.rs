//! Whole folders.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::workshop::{Workshop, beside};
use crate::{FileError, parent, sync_folder};

/// Fills a new folder through `fill` and moves it to `folder`, in place of one that may be there.
///
/// `fill` gets the new folder's path for the time being, and need not sync or rename what it writes there. Folders
/// above `folder` are made. An old folder stands until the new one is whole; on Linux they change places in one step,
/// elsewhere the name is free for a moment between two renames. The error is the caller's own, so that `fill` may fail
/// for other reasons than files.
///
/// # Errors
/// Whatever `fill` says, another process that writes the same folder, or a file operation that failed; `folder` is then
/// as it was.
pub fn write_folder<E: From<FileError>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let above = parent(folder);
    fs::create_dir_all(above).map_err(FileError::on("create", above))?;
    let Some(workshop) = Workshop::open(beside(folder), folder)? else {
        let busy = io::Error::new(io::ErrorKind::WouldBlock, "another process is writing it");
        return Err(FileError::on("write", folder)(busy).into());
    };
    let fresh = workshop.folder();
    fs::create_dir(&fresh).map_err(FileError::on("create", &fresh))?;
    fill(&fresh)?;
    sync_below(&fresh)?;
    move_into_place(&workshop, &fresh, folder)?;
    Ok(sync_folder(above)?)
}

/// Sees to it that the contents are on the disk before the name is.
pub(crate) fn sync_below(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::on("read", folder))? {
        let path = entry.map_err(FileError::on("read", folder))?.path();
        if path.is_dir() {
            sync_below(&path)?;
        } else if path.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).map_err(FileError::on("sync", &path))?;
        }
    }
    sync_folder(folder)
}

/// Gives `fresh` the name `folder`. What had it stays in the workshop, and goes with it.
fn move_into_place(workshop: &Workshop, fresh: &Path, folder: &Path) -> Result<(), FileError> {
    if !folder.is_dir() || folder.is_symlink() {
        // A file or a link of this name is not replaced: the system refuses.
        return fs::rename(fresh, folder).map_err(FileError::on("write", folder));
    }
    if exchange(fresh, folder).is_ok() {
        return Ok(());
    }
    let old = workshop.old();
    fs::rename(folder, &old).map_err(FileError::on("replace", folder))?;
    if let Err(error) = fs::rename(fresh, folder) {
        fs::rename(&old, folder).map_err(FileError::on("restore", folder))?;
        return Err(FileError::on("write", folder)(error));
    }
    Ok(())
}

/// Exchanges two folders in one step, where the system can.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug)]
    enum Failed {
        File,
        Stop,
    }

    impl From<FileError> for Failed {
        fn from(_: FileError) -> Self {
            Self::File
        }
    }

    fn fill(text: &'static str) -> impl FnOnce(&Path) -> Result<(), Failed> {
        move |path| {
            fs::create_dir(path.join("inner")).map_err(|_| Failed::File)?;
            fs::write(path.join("inner").join("file"), text).map_err(|_| Failed::File)
        }
    }

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join("inner").join("file")).unwrap()
    }

    #[test]
    fn a_failed_write_leaves_the_old_folder_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("made").join("model");
        write_folder(&folder, fill("old")).unwrap();
        let failed = write_folder(&folder, |path| {
            fill("half")(path)?;
            Err(Failed::Stop)
        });
        assert!(matches!(failed, Err(Failed::Stop)));
        assert_eq!(text(&folder), "old");
        write_folder(&folder, fill("new")).unwrap();
        assert_eq!(text(&folder), "new");
        assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn neither_a_file_nor_a_link_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let [file, target, link] = ["file", "target", "link"].map(|name| parent.path().join(name));
        fs::write(&file, "kept").unwrap();
        write_folder(&target, fill("kept")).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(write_folder(&file, fill("new")), Err(Failed::File)));
        assert!(matches!(write_folder(&link, fill("new")), Err(Failed::File)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        assert_eq!(text(&target), "kept");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_enter_as_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let (ours, plain) = (parent.path().join("ours"), parent.path().join("plain"));
        write_folder(&ours, fill("text")).unwrap();
        fs::create_dir(&plain).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
