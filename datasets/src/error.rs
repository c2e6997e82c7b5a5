//! What can go wrong between a file and a batch: one typed error that says what was expected, found, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::excerpt::{names, shown};
use crate::leaks::Leaks;

/// How many bad records an error lists before it only counts the rest.
const LISTED: usize = 20;

/// An error of reading, formatting, tokenizing or batching data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file's extension names no format that is read here.
    #[error("{}: the extension says no known format; supported are {supported}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The extensions that are read.
        supported: &'static str,
    },
    /// A JSON file is no array of objects, or no JSON at all.
    #[error(
        "{}, line {line}, column {column}: expected a JSON array of objects, or one object a line: {reason}",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// The line of the fault, from 1.
        line: usize,
        /// The column of the fault, from 1.
        column: usize,
        /// What the parser found.
        reason: String,
    },
    /// A CSV or Parquet file is damaged, or a text file is not UTF-8.
    #[error("{}: expected {expected}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the file should have been.
        expected: &'static str,
        /// What the reader found.
        reason: String,
    },
    /// Columns that the template uses are nowhere in the file.
    #[error(
        "{}: no column {}; the file has {}. Name the columns of instruction, question and answer as the file does",
        path.display(), names(missing, "no columns"), names(found, "no columns")
    )]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// The names that were looked for.
        missing: Vec<String>,
        /// The names that are there.
        found: Vec<String>,
    },
    /// The columns are those of no multiple-choice layout.
    #[error(
        "{}: no multiple-choice questions; the file has {}. Expected the columns question, choices and answer; or, as \
         MedMCQA has them, question, opa, opb, opc, opd and cop; or, as MedQA has them, question, options and \
         answer_idx, or sent1, ending0, ending1, ... and label",
        path.display(), names(found, "no columns")
    )]
    UnknownLayout {
        /// The file.
        path: PathBuf,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// Records that cannot be used, all of them.
    #[error("{}{}: {bad}", path.display(), format.as_ref().map(|format| format!(" ({format})")).unwrap_or_default())]
    BadRecords {
        /// The file.
        path: PathBuf,
        /// The form that its data have, where that was found out.
        format: Option<String>,
        /// The records and what is wrong with each.
        bad: BadRecords,
    },
    /// A file whose records would all be read wrongly, as one of them shows.
    #[error("{} ({format}), record {record}: {reason}", path.display())]
    Misread {
        /// The file.
        path: PathBuf,
        /// The form that its data have.
        format: &'static str,
        /// The record that shows it, from 1.
        record: usize,
        /// What it shows, and what to do.
        reason: &'static str,
    },
    /// Records that were handed over and cannot be used, all of them.
    #[error("{0}")]
    Unusable(BadRecords),
    /// A file without any record or document.
    #[error("{}: no {what} in it; expected at least one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// "records" or "documents".
        what: &'static str,
    },
    /// More data than the limit allows.
    #[error(
        "{}: more than {limit} of data, the most that is read; text counts as it is unpacked, and each record {} bytes \
         more",
        path.display(), per_record
    )]
    TooLarge {
        /// The file that goes over the limit.
        path: PathBuf,
        /// The limit.
        limit: String,
        /// What each record counts beside its text, in bytes.
        per_record: u64,
    },
    /// A file holds where the data are, and not the data.
    #[error("{}: a pointer of Git LFS, not the data; fetch them with `git lfs pull`", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// The files of a data set do not go together.
    #[error("{}: {found}, but the files before it hold {expected}; files of one data set have one form", path.display())]
    Mixed {
        /// The first file that is otherwise.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What the others hold.
        expected: String,
    },
    /// Of several files it is not clear which are meant.
    #[error("{}: {reason}", folder.display())]
    Unclear {
        /// The folder or the name of the data set.
        folder: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
    /// What is measured on was seen in training, and that is not allowed.
    #[error("{0}")]
    Leaks(Leaks),
    /// A prompt template that cannot be used.
    #[error("prompt template \"{}\": {reason}", shown(template))]
    Template {
        /// The template as given.
        template: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// A folder without a tokenizer.
    #[error("{}: no tokenizer; looked for tokenizer.json, then vocab.json with merges.txt", folder.display())]
    NoTokenizer {
        /// The folder.
        folder: PathBuf,
    },
    /// The tokenizer's files do not load, or an end-of-text token is missing.
    #[error("tokenizer in {}: {reason}", folder.display())]
    TokenizerFiles {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tokenizer that a format for GPT-2's kind cannot hold.
    #[error(
        "only GPT-2's kind of tokenizer, byte-level BPE, can be written as plain tables, and this one is another: {problems}"
    )]
    NotByteLevel {
        /// In what it differs.
        problems: String,
    },
    /// The tokenizer refused a text or ids.
    #[error("the tokenizer cannot {action}: {reason}")]
    Tokenize {
        /// What was tried: "encode", "decode", "train", ...
        action: &'static str,
        /// The tokenizer's answer.
        reason: String,
    },
    /// A setting outside its range.
    #[error("{name} is {found}; expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The value given.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// No example is left to learn from.
    #[error("{reason}")]
    NothingLeft {
        /// Why, and what to do.
        reason: String,
    },
}

impl DataError {
    /// An [`DataError::Io`] for `path`, as a closure for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A [`DataError::Setting`].
    pub(crate) fn setting(name: &'static str, found: impl ToString, expected: impl ToString) -> Self {
        Self::Setting { name, found: found.to_string(), expected: expected.to_string() }
    }

    /// A [`DataError::Misread`].
    pub(crate) fn misread(path: &Path, format: &'static str, record: usize, reason: &'static str) -> Self {
        Self::Misread { path: path.to_path_buf(), format, record, reason }
    }

    /// A [`DataError::Setting`] for a word that is none of `names`.
    pub(crate) fn unknown_name(setting: &'static str, found: &str, names: &[&str]) -> Self {
        Self::setting(setting, format_args!("\"{}\"", shown(found)), or(names))
    }
}

/// One record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// The record's number, from 1.
    pub record: usize,
    /// The line it begins on, from 1, where the format has lines.
    pub line: Option<u64>,
    /// Everything that is wrong with it.
    pub reason: String,
}

/// All bad records of a file or of records that were handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecords {
    /// How many records there are, good and bad.
    pub records: usize,
    /// How many of them are bad.
    pub count: usize,
    /// The first of them, in order.
    pub bad: Vec<BadRecord>,
}

impl BadRecords {
    /// Those of `records` records; of many, the first few are kept.
    pub(crate) fn of(records: usize, mut bad: Vec<BadRecord>) -> Self {
        let count = bad.len();
        bad.truncate(LISTED);
        bad.shrink_to_fit();
        Self { records, count, bad }
    }
}

impl fmt::Display for BadRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} records cannot be used:", self.count, self.records)?;
        for bad in &self.bad {
            match bad.line {
                Some(line) => write!(f, "\n  record {} (line {line}): {}", bad.record, bad.reason)?,
                None => write!(f, "\n  record {}: {}", bad.record, bad.reason)?,
            }
        }
        match self.count.saturating_sub(self.bad.len()) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Names to choose from: "a, b or c".
fn or(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
