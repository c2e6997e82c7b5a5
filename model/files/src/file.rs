//! Whole files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::lock::{is_at, lock};
use crate::workshop::{PARTIAL, remove_dead_file};
use crate::{FileError, parent, sync_folder};

/// How many letters and digits tell the temporary neighbours of a file apart.
const RANDOM: usize = 6;

/// Writes the file at `path` through `fill`; `path` then holds the old contents or all of the new.
///
/// The bytes go to a temporary file in the same folder, which must exist. On any failure the temporary file is removed
/// and `path` is as it was; what a dead process left of an earlier attempt is removed as well.
///
/// # Errors
/// What `fill` returned, or a file operation that failed.
pub fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FileError> {
    prepare(path, fill)?.persist(path).map_err(|failed| FileError::on("replace", path)(failed.error))?;
    sync_folder(parent(path))
}

/// Writes several files that belong together: all are whole beside their places before the first takes its own, and
/// they appear in the order given, so that the last one says that the others are there.
///
/// Their folders must exist.
///
/// # Errors
/// A file operation that failed. Before the first file appeared everything is as it was; after that, the files up to
/// the one named are new and the others old.
pub fn write_files(files: &[(PathBuf, &[u8])]) -> Result<(), FileError> {
    let prepared = files
        .iter()
        .map(|(path, bytes)| prepare(path, |file| file.write_all(bytes)))
        .collect::<Result<Vec<_>, _>>()?;
    for (file, (path, _)) in prepared.into_iter().zip(files) {
        file.persist(path).map_err(|failed| FileError::on("replace", path)(failed.error))?;
        sync_folder(parent(path))?;
    }
    Ok(())
}

/// The temporary neighbour of `path`, filled and synced.
fn prepare(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<NamedTempFile, FileError> {
    let (file, temporary) = temporary_beside(path)?.into_parts();
    let mut buffer = BufWriter::new(file);
    fill(&mut buffer).map_err(FileError::on("write", path))?;
    let file = buffer.into_inner().map_err(|failed| FileError::on("write", path)(failed.into_error()))?;
    file.sync_all().map_err(FileError::on("sync", path))?;
    Ok(NamedTempFile::from_parts(file, temporary))
}

/// A temporary neighbour of `path` that is locked as long as it is open; what a dead process left of one is removed.
fn temporary_beside(path: &Path) -> Result<NamedTempFile, FileError> {
    let name = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    remove_dead_neighbours(parent(path), &name)?;
    loop {
        let temporary =
            temporary(parent(path), &name).map_err(FileError::on("make a temporary file beside", path))?;
        let locked = lock(temporary.as_file()).map_err(FileError::on("lock", temporary.path()))?;
        // Another process may have taken it for a dead one's, before it was locked.
        if locked && is_at(temporary.as_file(), temporary.path()) {
            return Ok(temporary);
        }
    }
}

fn temporary(folder: &Path, name: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(name).suffix(PARTIAL).rand_bytes(RANDOM);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; this one becomes an ordinary file, with what the umask allows.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Removes the temporary files of this name that no living process writes.
fn remove_dead_neighbours(folder: &Path, name: &str) -> Result<(), FileError> {
    // An absent folder is told of where the file is made.
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let random = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_suffix(PARTIAL));
        let ours = random.is_some_and(|random| {
            random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric())
        });
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            remove_dead_file(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
        write_file(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn replaces_the_old_contents() {
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
        let error = write_file(&path, |file| {
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
    fn what_a_dead_process_left_is_removed_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let beside = |name: &str| folder.path().join(name);
        let [dead, living] = [".table.csv.Ab3dEf.partial", ".table.csv.abcdef.partial"].map(beside);
        let others = [".table.csv.short.partial", ".other.csv.Ab3dEf.partial", "table.csv.Ab3dEf.partial"];
        fs::write(&dead, "half").unwrap();
        fs::write(&living, "half").unwrap();
        others.iter().for_each(|name| fs::write(beside(name), "kept").unwrap());
        let lock = crate::Lock::take(&living).unwrap().unwrap();
        write_text(&beside("table.csv"), "whole").unwrap();
        assert!(!dead.exists() && living.exists());
        assert!(others.iter().all(|name| beside(name).exists()));
        drop(lock);
        write_text(&beside("table.csv"), "whole").unwrap();
        assert!(!living.exists());
    }

    #[test]
    fn an_absent_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("table.csv");
        let error = write_text(&path, "x").unwrap_err().to_string();
        assert!(error.contains("absent") && error.contains("temporary file"), "{error}");
    }

    #[test]
    fn none_of_several_files_appears_where_one_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let [vocabulary, merges] = ["vocab.json", "merges.txt"].map(|name| folder.path().join(name));
        write_files(&[(vocabulary.clone(), b"old".as_slice()), (merges.clone(), b"old")]).unwrap();
        let absent = folder.path().join("absent").join("tokenizer.json");
        write_files(&[(vocabulary.clone(), b"new".as_slice()), (absent, b"new")]).unwrap_err();
        assert_eq!(fs::read_to_string(&vocabulary).unwrap(), "old");
        write_files(&[(vocabulary.clone(), b"new".as_slice()), (merges.clone(), b"newer")]).unwrap();
        assert_eq!(fs::read_to_string(&vocabulary).unwrap(), "new");
        assert_eq!(fs::read_to_string(&merges).unwrap(), "newer");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
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
