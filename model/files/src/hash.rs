//! The hash that files are told apart by.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::FileError;

/// The SHA-256 of a file, in hexadecimal, as `sha256sum` prints it.
///
/// # Errors
/// The file cannot be read.
pub fn sha256(path: &Path) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::on("read", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(FileError::on("read", path))? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
