//! Folders that appear whole or not at all: written beside their place, then renamed into it.

use std::fs::{self, File};
use std::path::Path;

use crate::ModelError;

/// Fills a new folder through `write` and moves it to `folder`, in place of one that may be there.
///
/// Until the last moment the old folder stands; an interrupt leaves either the old or the new one under the
/// name, never a mixture.
///
/// # Errors
///
/// Whatever `write` says, or a file operation that failed; `folder` is then as it was.
pub fn write_folder<E: From<ModelError>>(
    folder: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(ModelError::io("create", parent))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fresh = temporary_beside(parent, &name)?;
    write(fresh.path())?;
    sync_files(fresh.path())?;
    let old = if folder.exists() {
        let old = temporary_beside(parent, &name)?;
        // Renaming onto an empty folder replaces it.
        fs::rename(folder, old.path()).map_err(ModelError::io("replace", folder))?;
        Some(old)
    } else {
        None
    };
    let fresh = fresh.keep();
    fs::rename(&fresh, folder).map_err(ModelError::io("write", folder))?;
    if let Ok(parent) = File::open(parent) {
        // Not every file system can sync a folder; the rename itself has already happened.
        let _ = parent.sync_all();
    }
    drop(old);
    Ok(())
}

fn temporary_beside(parent: &Path, name: &str) -> Result<tempfile::TempDir, ModelError> {
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{name}.");
    builder.prefix(&prefix).suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary folders are private by default; this one becomes an ordinary folder.
        builder.permissions(fs::Permissions::from_mode(0o755));
    }
    builder.tempdir_in(parent).map_err(ModelError::io("create a folder in", parent))
}

/// Sees to it that the contents are on the disk before the name is.
fn sync_files(folder: &Path) -> Result<(), ModelError> {
    for entry in fs::read_dir(folder).map_err(ModelError::io("read", folder))? {
        let path = entry.map_err(ModelError::io("read", folder))?.path();
        if path.is_file() {
            let file = File::open(&path).map_err(ModelError::io("read", &path))?;
            file.sync_all().map_err(ModelError::io("write", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_folder_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("model");
        let fill = |text: &'static str| {
            move |path: &Path| fs::write(path.join("file"), text).map_err(ModelError::io("write", path))
        };
        write_folder(&folder, fill("old")).unwrap();
        let failed: Result<(), ModelError> = write_folder(&folder, |path| {
            fill("half")(path)?;
            Err(ModelError::Lora("stop".into()))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "old");
        write_folder(&folder, fill("new")).unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "new");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left behind");
    }
}
