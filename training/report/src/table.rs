//! CSV files with a header: written whole, read by the names of their columns.
//!
//! The headers are a contract with the people and notebooks that read the files, so each table spells its own once,
//! apart from the names of fields.

use std::io;
use std::path::Path;

use gptneo_files::{read_table as read_bytes, write_file};
use serde::de::DeserializeOwned;

use crate::error::ReportError;

/// Writes a header and records as one whole file. Cells may hold commas, quotes and newlines; they are quoted as
/// RFC 4180 says.
pub(crate) fn write_table<const COLUMNS: usize, Cell: AsRef<[u8]>>(
    path: &Path,
    columns: &[&str; COLUMNS],
    records: impl Iterator<Item = [Cell; COLUMNS]>,
) -> Result<(), ReportError> {
    write_file(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns)?;
        for record in records {
            writer.write_record(&record)?;
        }
        writer.flush()
    })?;
    Ok(())
}

/// Reads the rows of a table. Columns are found by name, so their order may differ and further ones are passed over.
pub(crate) fn read_table<Row: DeserializeOwned>(
    path: &Path,
    columns: &[&str],
) -> Result<Vec<Row>, ReportError> {
    let failed = |source| failure(path, columns, source);
    let text = read_bytes(path).map_err(|error| failed(error.into()))?;
    // Written by RFC 4180, where quotes come in pairs.
    if !text.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2) {
        return Err(failed(wrong("it is cut within quotes")));
    }
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let headers = reader.headers().map_err(failed)?;
    let missing: Vec<&str> =
        columns.iter().copied().filter(|column| !headers.iter().any(|held| held == *column)).collect();
    if !missing.is_empty() {
        return Err(failed(wrong(format!("the header lacks {}", missing.join(", ")))));
    }
    reader.deserialize().map(|row| row.map_err(failed)).collect()
}

/// A table with these columns that cannot be read.
pub(crate) fn failure(path: &Path, columns: &[&str], source: csv::Error) -> ReportError {
    ReportError::Read { path: path.to_path_buf(), expected: columns.join(", "), source }
}

/// What is wrong with the content of a table.
pub(crate) fn wrong(message: impl Into<String>) -> csv::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into()).into()
}

/// A number with every digit needed to read back the same one; nothing where it was not measured.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::error::Error;
    use std::fs;

    use super::*;

    #[test]
    fn a_bad_table_says_what_and_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.csv");
        let whole = || {
            let error = read_table::<(String, f64)>(&path, &["Model", "Loss"]).unwrap_err();
            format!("{error}: {}", error.source().unwrap())
        };
        let error = whole();
        assert!(error.contains("bad.csv") && error.contains("the columns Model, Loss"), "{error}");
        fs::write(&path, "Model,Protocol\nBase,text\n").unwrap();
        assert!(whole().contains("lacks Loss"), "{}", whole());
        fs::write(&path, "Model,Loss\nBase,1\nLoRA,one\n").unwrap();
        assert!(whole().contains("line: 3"), "{}", whole());
        fs::write(&path, "Model,Loss\nBase,1\n\"LoRA,1\n").unwrap();
        assert!(whole().contains("cut within quotes"), "{}", whole());
    }

    #[test]
    fn a_table_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent").join("table.csv");
        let error = write_table(&absent, &["Model"], std::iter::once(["Base"])).unwrap_err();
        assert!(error.to_string().contains("table.csv"), "{error}");
    }
}
