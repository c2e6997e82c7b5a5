//! The hashes of a checkpoint's files, in a file beside them that `sha256sum --check` reads too.

use std::fs;
use std::path::Path;

use gptneo_files::{FileError, read_small, sha256};

/// The file of the hashes. Checkpoints of earlier versions have none.
const SUMS: &str = "SHA256SUMS";

/// Writes the hashes of all files in `folder` into it.
///
/// # Errors
///
/// A file cannot be read or written.
pub(super) fn write(folder: &Path) -> Result<(), FileError> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::on("read", folder))? {
        let entry = entry.map_err(FileError::on("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        lines.push(format!("{}  {name}\n", sha256(&entry.path())?));
    }
    lines.sort();
    let path = folder.join(SUMS);
    fs::write(&path, lines.concat()).map_err(FileError::on("write", path))
}

/// What is wrong with the files in `folder`: the first that is not as it was written, and how it differs.
///
/// # Errors
///
/// A file is there and cannot be read.
pub(super) fn fault(folder: &Path) -> Result<Option<String>, FileError> {
    let path = folder.join(SUMS);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_small(&path).map_err(FileError::on("read", &path))?;
    let lines: Option<Vec<(&str, &str)>> = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.lines().map(|line| line.split_once("  ")).collect());
    let Some(lines) = lines.filter(|lines| lines.iter().any(|(_, name)| *name == super::STATE)) else {
        return Ok(Some(format!("{SUMS} is not the list of hashes that was written")));
    };
    for (hash, name) in lines {
        let file = folder.join(name);
        // A damaged name leads nowhere else.
        if Path::new(name).components().count() != 1 || !file.is_file() {
            let name: String = name.chars().take(80).flat_map(char::escape_debug).collect();
            return Ok(Some(format!("its {SUMS} lists {name}, which is not there")));
        }
        if sha256(&file)? != hash {
            return Ok(Some(format!("{name} or its SHA-256 in {SUMS} is not as it was written")));
        }
    }
    Ok(None)
}
