//! How records come out of a file: a reader for each format, row by row.

pub(crate) mod collect;
mod csv;
mod json;
mod parquet;

use std::path::Path;

use crate::error::{BadRecord, BadRecords, DataError};
use crate::form::{Form, OnBadRecord};
use crate::prompt::PromptTemplate;
use crate::record::{Columns, Record};
use crate::size::DataSize;
use crate::source::{Budget, FileFormat, RECORDS, Source};
use crate::value::{Fields, Names};

/// One record as a file has it: its fields, or why it cannot be read at all.
pub(crate) struct Row {
    /// The line that it begins on, where the format has lines.
    pub(crate) line: Option<u64>,
    pub(crate) fields: Result<Fields, String>,
}

/// Takes the rows of a file one by one, with the names of all fields so far.
pub(crate) type Take<'a> = dyn FnMut(Row, &Names) -> Result<(), DataError> + 'a;

/// Reads the rows of a file of records.
///
/// # Errors
/// The file is missing, damaged, of another format or over the limit, or what `take` says.
pub(crate) fn read_rows(
    path: &Path,
    budget: &Budget,
    names: &mut Names,
    take: &mut Take<'_>,
) -> Result<(), DataError> {
    match FileFormat::expect(path)? {
        FileFormat::Json => json::read(Source::open(path, budget)?, names, take),
        FileFormat::JsonLines => json::read_lines_or_array(Source::open(path, budget)?, names, take),
        FileFormat::Separated(separator) => csv::read(Source::open(path, budget)?, separator, names, take),
        FileFormat::Parquet => parquet::read(path, budget, names, take),
        FileFormat::Text => Err(DataError::UnknownFormat { path: path.to_path_buf(), supported: RECORDS }),
    }
}

/// Reads the records of a JSON, JSON Lines, CSV, TSV or Parquet file by the columns that are named; `.gz` and `.zst`
/// files are unpacked on the way. [`read_data`](crate::read_data) finds out by itself which fields are what.
///
/// Strings are kept verbatim. The instruction's column need not exist if `template` does not use it.
///
/// # Errors
/// The file is missing, damaged, empty, of another format or larger than [`DataSize::DEFAULT`]; a column that is
/// needed is nowhere in it ([`DataError::MissingColumns`]); or records have a value that is missing, no text, or, for
/// the question and the answer, blank. Those records are all reported at once ([`DataError::BadRecords`]).
pub fn read_records(
    path: &Path,
    columns: &Columns,
    template: &PromptTemplate,
) -> Result<Vec<Record>, DataError> {
    let form = Form::Columns { columns: columns.clone(), instruction: template.uses_instruction() };
    let budget = Budget::new(DataSize::DEFAULT);
    Ok(collect::read_file(path, Some(form), template.uses_instruction(), OnBadRecord::Refuse, &budget)?
        .content
        .records)
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
    if bad.is_empty() { Ok(()) } else { Err(DataError::Unusable(BadRecords::of(records, bad))) }
}

#[cfg(test)]
mod tests;
