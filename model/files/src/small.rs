//! Files that are read whole, which is safe only under a limit: what stands in for one may be of any size, or have no end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most bytes of a small file: some hundred times what settings have, and several times a tokenizer.
const SMALL: u64 = 16 << 20;
/// The most bytes of a table: one of a few million rows.
const TABLE: u64 = 256 << 20;

/// Reads a file of settings, tables of names or the like.
///
/// # Errors
/// The file cannot be read, or is larger than 16 MB.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("config.json");
/// std::fs::File::create(&path)?.set_len(1 << 40)?;
/// let error = gptneo_files::read_small(&path).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, SMALL)
}

/// Reads a table that a run wrote, or a log of its steps.
///
/// # Errors
/// The file cannot be read, or is larger than 256 MB.
pub fn read_table(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, TABLE)
}

fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let reason = format!("it is larger than {} MB, which no such file is", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// As [`read_small`], of text.
///
/// # Errors
/// As [`read_small`]; or the file is not UTF-8.
pub fn read_small_text(path: &Path) -> io::Result<String> {
    let not_utf8 = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(read_small(path)?).map_err(not_utf8)
}
