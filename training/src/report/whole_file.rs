//! Files that appear whole or not at all: written beside the target, synced, then renamed over it.
//!
//! A reader, or a run that was cut off, never meets half a table or half a picture.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use tempfile::NamedTempFile;

use super::ReportError;

/// Writes the file at `path` through `write`, so that the path holds the old content or all of the new.
///
/// The bytes go to a temporary file in the same folder, are synced to the disk, and replace `path` by one rename.
/// On any failure the temporary file is removed and `path` is untouched. The folder must exist.
///
/// # Errors
/// [`ReportError::Write`] names the path and the step, with the cause as its source: making the temporary file, the
/// writing itself (what `write` returned), syncing, or the rename.
pub fn write_whole(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), ReportError> {
    let path = path.as_ref();
    let failed = |action| move |source| ReportError::Write { path: path.to_path_buf(), action, source };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };

    let (file, temporary) =
        new_file(folder).map_err(failed("making a temporary file beside it"))?.into_parts();
    let mut buffer = BufWriter::new(file);
    write(&mut buffer).map_err(failed("writing"))?;
    let file = buffer.into_inner().map_err(|error| failed("writing")(error.into_error()))?;
    file.sync_all().map_err(failed("syncing"))?;
    drop(file);
    temporary.persist(path).map_err(|error| failed("renaming the finished file")(error.error))?;
    sync_folder(folder).map_err(failed("syncing the folder"))
}

/// A temporary file in `folder`. On Unix it gets the mode that the umask allows: temporary files are private by
/// default, and a report is made to be shared.
fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let shared = std::fs::Permissions::from_mode(0o666);
        tempfile::Builder::new().prefix(".report-").permissions(shared).tempfile_in(folder)
    }
    #[cfg(not(unix))]
    NamedTempFile::new_in(folder)
}

/// Makes the rename itself durable, where a folder can be synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::io::Write;

    use super::*;

    fn write_text(path: &Path, text: &str) -> Result<(), ReportError> {
        write_whole(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn replaces_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        write_text(&path, "a long first version").unwrap();
        write_text(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        write_text(&path, "old").unwrap();
        let error = write_whole(&path, |file| {
            file.write_all(&[b'x'; 100_000])?;
            Err(io::Error::other("the source ended"))
        })
        .unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(error.to_string().contains("table.csv"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("the source ended"), "{cause}");
    }

    #[test]
    fn an_absent_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("table.csv");
        let error = write_text(&path, "x").unwrap_err().to_string();
        assert!(error.contains("absent") && error.contains("temporary file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_text(&ours, "x").unwrap();
        fs::write(&plain, "x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
