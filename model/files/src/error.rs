//! A file operation that failed.

use std::io;
use std::path::PathBuf;

/// A file or folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried, as a verb: "read", "write", "sync", ...
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's word.
    pub source: io::Error,
}

impl FileError {
    /// The closure for `map_err` on a file operation.
    ///
    /// ```
    /// use gptneo_files::FileError;
    /// use std::path::Path;
    ///
    /// let path = Path::new("no/such/file");
    /// let error = std::fs::read(path).map_err(FileError::on("read", path)).unwrap_err();
    /// assert!(error.to_string().starts_with("cannot read no/such/file: "));
    /// ```
    pub fn on(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self { action, path, source }
    }
}
