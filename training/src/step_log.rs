//! Files that grow with a run: a JSON line a row, each row of a step, appended as they happen.
//!
//! A run that is cut off leaves at most one torn line, at the end; a resumed run drops it together with the rows
//! that it makes again.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use gptneo_files::{in_plain_words, read_table, write_file};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TrainingError;

/// A row of such a file.
pub trait LogRow: Serialize + DeserializeOwned {
    /// What cannot be of the row, though it reads as one; nothing by default.
    fn fault(&self) -> Option<String> {
        None
    }
}

/// A file of rows, open for more.
#[derive(Debug)]
pub struct StepLog<Row> {
    path: PathBuf,
    file: File,
    row: PhantomData<fn(Row)>,
}

impl<Row: LogRow> StepLog<Row> {
    /// A new file.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Io`] if it exists, so that no run writes over another, or cannot be made.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, TrainingError> {
        let path = path.into();
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(TrainingError::io("create (resume its run, or choose another folder)", &path))?;
        Ok(Self { path, file, row: PhantomData })
    }

    /// The file of a run that goes on: rows that `keep` refuses and a torn last line are dropped, all others stay as
    /// they are, byte by byte. The file is replaced as a whole.
    ///
    /// # Errors
    ///
    /// The file is absent, cannot be written, or has a line that is no row ([`TrainingError::Metrics`]).
    pub fn resume(path: impl Into<PathBuf>, keep: impl Fn(&Row) -> bool) -> Result<Self, TrainingError> {
        let path = path.into();
        let text = read(&path)?;
        let mut kept = String::with_capacity(text.len());
        for (line, row) in rows(&path, &text)? {
            if keep(&row) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        if kept != text {
            write_file(&path, |file| file.write_all(kept.as_bytes()))?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(TrainingError::io("open", &path))?;
        Ok(Self { path, file, row: PhantomData })
    }

    /// Adds a row, in one write, so that a reader meets whole lines.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Io`] if the row cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<(), TrainingError> {
        let written = serde_json::to_string(row).map_err(std::io::Error::from).and_then(|mut line| {
            line.push('\n');
            self.file.write_all(line.as_bytes())?;
            self.file.flush()
        });
        written.map_err(TrainingError::io("append to", &self.path))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The rows of a file in order. A torn last line, as a run that still writes may show, is left out.
///
/// # Errors
///
/// The file cannot be read, or a line is no row ([`TrainingError::Metrics`]).
pub fn read_rows<Row: LogRow>(path: impl AsRef<Path>) -> Result<Vec<Row>, TrainingError> {
    let path = path.as_ref();
    let text = read(path)?;
    Ok(rows(path, &text)?.into_iter().map(|(_, row)| row).collect())
}

/// The file's text; a line torn inside a character reads as torn elsewhere.
fn read(path: &Path) -> Result<String, TrainingError> {
    let bytes = read_table(path).map_err(TrainingError::io("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Each line with its row. Only a last line without its newline may be no row: it was torn.
fn rows<'a, Row: LogRow>(path: &Path, text: &'a str) -> Result<Vec<(&'a str, Row)>, TrainingError> {
    let mut rows = Vec::new();
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end_matches(['\n', '\r']);
        let refuse =
            |reason| Err(TrainingError::Metrics { path: path.to_path_buf(), line: index + 1, reason });
        match serde_json::from_str::<Row>(line) {
            Ok(row) => match row.fault() {
                None => rows.push((line, row)),
                Some(fault) => return refuse(fault),
            },
            Err(_) if !whole.ends_with('\n') => {}
            Err(error) => return refuse(in_plain_words(&error.to_string())),
        }
    }
    Ok(rows)
}
