//! Instruction records and how they come out of a file: the format by extension, the checks the same for all.

mod csv;
mod json;
mod parquet;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{BadRecord, BadRecords, DataError};
use crate::prompt::{DEFAULT_INSTRUCTION, PromptTemplate};

const SUPPORTED: &str = ".json (an array of objects), .jsonl, .ndjson, .csv and .parquet";

/// One question with its answer, verbatim as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// What to do with the question. Empty where the file has none and the template needs none.
    pub instruction: String,
    /// The question.
    pub input: String,
    /// The answer.
    pub output: String,
}

impl Record {
    /// A question with its answer, under [`DEFAULT_INSTRUCTION`].
    pub fn new(question: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { instruction: DEFAULT_INSTRUCTION.into(), input: question.into(), output: answer.into() }
    }
}

/// The names of the columns (or JSON fields) that make a record. By default those of the recipe's data:
/// `instruction`, `input` and `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The column of [`Record::instruction`].
    pub instruction: String,
    /// The column of [`Record::input`].
    pub input: String,
    /// The column of [`Record::output`].
    pub output: String,
}

impl Default for Columns {
    fn default() -> Self {
        Self { instruction: "instruction".into(), input: "input".into(), output: "output".into() }
    }
}

impl Columns {
    /// The names in the order of a [`Row`]'s cells.
    fn names(&self) -> [&str; 3] {
        [&self.instruction, &self.input, &self.output]
    }
}

/// What a file has in one column of one record.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Text(String),
    /// No such column, or null.
    Missing,
    /// Something that is no text: what it is.
    Other(String),
}

/// One record as a file has it: its cells, or why the whole row cannot be read.
struct Row {
    line: Option<u64>,
    cells: Result<[Cell; 3], String>,
}

/// A file's rows, and the names of all its columns.
struct Table {
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// Reads the records of a `.json` (an array of objects), `.jsonl`, `.ndjson`, `.csv` or `.parquet` file.
///
/// Strings are kept verbatim. The instruction's column need not exist if `template` does not use it.
///
/// # Errors
/// The file is missing, damaged, empty or of another format; a column that is needed is nowhere in it
/// ([`DataError::MissingColumns`]); or records have a value that is missing, no text, or, for the question and the
/// answer, blank. Those records are all reported at once ([`DataError::BadRecords`]).
pub fn read_records(
    path: &Path,
    columns: &Columns,
    template: &PromptTemplate,
) -> Result<Vec<Record>, DataError> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let table = match extension.as_deref() {
        Some("json") => json::read_array(path, columns)?,
        Some("jsonl" | "ndjson") => json::read_lines(path, columns)?,
        Some("csv") => csv::read(path, columns)?,
        Some("parquet") => parquet::read(path, columns)?,
        _ => return Err(DataError::UnknownFormat { path: path.to_path_buf(), supported: SUPPORTED }),
    };
    check(path, columns, [template.uses_instruction(), true, true], table)
}

fn check(path: &Path, columns: &Columns, used: [bool; 3], table: Table) -> Result<Vec<Record>, DataError> {
    if table.rows.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf(), what: "records" });
    }
    let names = columns.names();
    let absent = |name: &str| !table.columns.iter().any(|column| column == name);
    let missing: Vec<String> =
        (0..3).filter(|&i| used[i] && absent(names[i])).map(|i| names[i].to_string()).collect();
    // Without a single readable row there are no columns to speak of: the rows' own faults say more.
    if !missing.is_empty() && table.rows.iter().any(|row| row.cells.is_ok()) {
        return Err(DataError::MissingColumns { path: path.to_path_buf(), missing, found: table.columns });
    }

    let count = table.rows.len();
    let mut records = Vec::with_capacity(count);
    let mut bad = Vec::new();
    for (index, row) in table.rows.into_iter().enumerate() {
        match row.cells.and_then(|cells| to_record(cells, names, used)) {
            Ok(record) => records.push(record),
            Err(reason) => bad.push(BadRecord { record: index + 1, line: row.line, reason }),
        }
    }
    match bad.is_empty() {
        true => Ok(records),
        false => {
            Err(DataError::BadRecords { path: path.to_path_buf(), bad: BadRecords { records: count, bad } })
        }
    }
}

/// What [`read_records`] asks of a file, of records that no file holds.
///
/// # Errors
/// There are none, or a question or an answer is blank; all of those at once ([`DataError::Unusable`]).
pub(crate) fn check_given(records: &[Record]) -> Result<(), DataError> {
    if records.is_empty() {
        return Err(DataError::NothingLeft { reason: "no records; expected at least one".into() });
    }
    let blank = |(index, record): (usize, &Record)| {
        let fields = [("question", &record.input), ("answer", &record.output)];
        let blank = fields.iter().filter(|(_, text)| text.trim().is_empty());
        let faults: Vec<String> = blank.map(|(name, _)| format!("its {name} is empty")).collect();
        let reason = faults.join("; ");
        (!reason.is_empty()).then_some(BadRecord { record: index + 1, line: None, reason })
    };
    let bad: Vec<BadRecord> = records.iter().enumerate().filter_map(blank).collect();
    let records = records.len();
    if bad.is_empty() { Ok(()) } else { Err(DataError::Unusable(BadRecords { records, bad })) }
}

/// The record of a row's cells, or everything that is wrong with them.
fn to_record(cells: [Cell; 3], names: [&str; 3], used: [bool; 3]) -> Result<Record, String> {
    let mut faults = Vec::new();
    let mut values = [const { String::new() }; 3];
    for (i, cell) in cells.into_iter().enumerate() {
        let name = names[i];
        match cell {
            Cell::Text(text) if i > 0 && text.trim().is_empty() => faults.push(format!("`{name}` is empty")),
            Cell::Text(text) => values[i] = text,
            _ if !used[i] => {}
            Cell::Missing => faults.push(format!("`{name}` is missing")),
            Cell::Other(what) => faults.push(format!("`{name}` is {what}, expected a string")),
        }
    }
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let [instruction, input, output] = values;
    Ok(Record { instruction, input, output })
}

#[cfg(test)]
mod tests;
