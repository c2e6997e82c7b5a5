//! The files of a data set, or of one part of it, as records or documents: the same for all that needs them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::document::{self, DocumentEnd, is_plain_text};
use crate::error::{BadRecords, DataError};
use crate::form::DataFormat;
use crate::options::DataOptions;
use crate::prompt::PromptTemplate;
use crate::record::Record;
use crate::rows::collect::{Content, read_file};
use crate::source::Budget;
use crate::tokenizer::DEFAULT_END_OF_TEXT;

/// What files hold, in their order.
#[derive(Debug, Clone)]
pub struct ReadData {
    /// How it was read.
    pub reading: Reading,
    /// The records; none of documents.
    pub records: Vec<Record>,
    /// The documents; none of records.
    pub documents: Vec<String>,
}

/// How files were read, for people to check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The form of the data.
    pub format: DataFormat,
    /// What ends a document; none of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_end: Option<DocumentEnd>,
    /// How many files there are.
    pub files: usize,
    /// Records that were left out because they cannot be used.
    pub skipped: usize,
    /// The first of them, with the reason, as a sentence for each file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Reading {
    /// Counts another part of the data set, whose first file is `path`; the form told stays the first's.
    pub(crate) fn join(&mut self, part: &ReadData, path: &Path) -> Result<(), DataError> {
        let other = &part.reading;
        if self.document_end.is_some() != other.document_end.is_some() {
            let (found, expected) = (other.format.to_string(), self.format.to_string());
            return Err(DataError::Mixed { path: path.to_path_buf(), found, expected });
        }
        self.files += other.files;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons.iter().cloned());
        Ok(())
    }
}

impl fmt::Display for Reading {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.format)?;
        match self.document_end {
            Some(end) => write!(f, "{}, ended by {end}", self.format.description())?,
            None => f.write_str(self.format.description())?,
        }
        match self.files {
            1 => Ok(()),
            files => write!(f, "; {files} files"),
        }
    }
}

/// Reads a file or several, which count as one, in the form that `options` name or that the fields have.
///
/// # Errors
/// As [`read_records`](crate::read_records) and [`read_documents`](crate::read_documents); or the files hold different
/// forms of data.
pub fn read_data(files: &[PathBuf], options: &DataOptions) -> Result<ReadData, DataError> {
    read_part(files, options, DEFAULT_END_OF_TEXT, &Budget::new(options.max_data_size))
}

/// As [`read_data`], where documents may also end with `marker`, and other parts of the data set share the limit.
pub(crate) fn read_part(
    files: &[PathBuf],
    options: &DataOptions,
    marker: &str,
    budget: &Budget,
) -> Result<ReadData, DataError> {
    let mut whole: Option<ReadData> = None;
    for file in files {
        let next = read_one(file, options, marker, budget)?;
        match &mut whole {
            None => whole = Some(next),
            Some(whole) => whole.append(next, file)?,
        }
    }
    whole.ok_or_else(|| DataError::NothingLeft { reason: "no file of data; expected at least one".into() })
}

fn read_one(
    path: &Path,
    options: &DataOptions,
    marker: &str,
    budget: &Budget,
) -> Result<ReadData, DataError> {
    let reading = |format, document_end, skipped: Option<BadRecords>| Reading {
        format,
        document_end,
        files: 1,
        skipped: skipped.as_ref().map_or(0, |bad| bad.count),
        reasons: skipped.into_iter().map(|bad| left_out(path, &bad)).collect(),
    };
    if is_plain_text(path) {
        if let Some(format) = options.format.filter(|format| *format != DataFormat::Text) {
            let expected = format!("none, or text, because {} is plain text", path.display());
            return Err(DataError::setting("format", format, expected));
        }
        let (documents, end) = document::read(path, marker, budget)?;
        return Ok(ReadData {
            reading: reading(DataFormat::Text, Some(end), None),
            records: Vec::new(),
            documents,
        });
    }
    let instruction = options.prompt_template.uses_instruction();
    let found = read_file(path, options.form(), instruction, options.bad_records, budget)?;
    let Content { records, documents } = found.content;
    let end = (!documents.is_empty()).then_some(DocumentEnd::Record);
    Ok(ReadData { reading: reading(found.format, end, found.skipped), records, documents })
}

/// That bad records of the file `path` were left out, with the first of them.
pub(crate) fn left_out(path: &Path, bad: &BadRecords) -> String {
    let first = bad.bad.first().map(|bad| format!("; record {}: {}", bad.record, bad.reason));
    let (path, count, records) = (path.display(), bad.count, bad.records);
    format!("{path}: {count} of {records} records were left out{}", first.unwrap_or_default())
}

impl ReadData {
    /// Adds what the file `path` holds.
    fn append(&mut self, next: Self, path: &Path) -> Result<(), DataError> {
        let (ours, theirs) = (&mut self.reading, next.reading);
        let compatible = |format| {
            matches!(format, DataFormat::Instruction | DataFormat::Alpaca)
                && matches!(ours.format, DataFormat::Instruction | DataFormat::Alpaca)
        };
        if ours.format != theirs.format && !compatible(theirs.format) {
            let (found, expected) = (theirs.format.to_string(), ours.format.to_string());
            return Err(DataError::Mixed { path: path.to_path_buf(), found, expected });
        }
        if theirs.document_end == Some(DocumentEnd::BlankLine) {
            ours.document_end = theirs.document_end;
        }
        ours.files += theirs.files;
        ours.skipped += theirs.skipped;
        ours.reasons.extend(theirs.reasons);
        self.records.extend(next.records);
        self.documents.extend(next.documents);
        Ok(())
    }
}

/// The texts of a file as the default template writes them, for example to train a tokenizer on.
///
/// # Errors
/// As [`read_data`].
pub fn read_texts(path: &Path) -> Result<Vec<String>, DataError> {
    let files = crate::files::DataFiles::of(path)?;
    let data = read_data(&files.training, &DataOptions::default())?;
    let template = PromptTemplate::default();
    let texts = data.records.iter().map(|record| template.turns(record).concat());
    Ok(texts.chain(data.documents).collect())
}
