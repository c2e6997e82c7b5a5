//! Records in CSV: a header line with the columns' names, then a row a record; quoted fields may hold newlines.

use std::path::Path;

use csv::{ByteRecord, Error, ErrorKind, ReaderBuilder};

use super::{Cell, Columns, Row, Table};
use crate::error::DataError;

/// Reads a comma-separated file with a header.
pub(super) fn read(path: &Path, columns: &Columns) -> Result<Table, DataError> {
    // Flexible, because a row of the wrong length is that row's fault and must not hide the others.
    let mut reader =
        ReaderBuilder::new().flexible(true).from_path(path).map_err(|error| file_error(path, error))?;
    let header: Vec<String> =
        reader.headers().map_err(|error| file_error(path, error))?.iter().map(str::to_string).collect();
    let places = columns.names().map(|name| header.iter().position(|column| column == name));

    let mut rows = Vec::new();
    for row in reader.byte_records() {
        let row = row.map_err(|error| file_error(path, error))?;
        let cells = match row.len() == header.len() {
            true => Ok(places.map(|place| cell(&row, place))),
            false => Err(format!("{} fields, expected {} as in the header", row.len(), header.len())),
        };
        rows.push(Row { line: row.position().map(|position| position.line()), cells });
    }
    Ok(Table { columns: header, rows })
}

fn cell(row: &ByteRecord, place: Option<usize>) -> Cell {
    match place.and_then(|place| row.get(place)) {
        None => Cell::Missing,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_string()),
            Err(error) => Cell::Other(format!("not UTF-8 ({error})")),
        },
    }
}

fn file_error(path: &Path, error: Error) -> DataError {
    let reason = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::Io { action: "read", path: path.to_path_buf(), source },
        _ => DataError::Malformed { path: path.to_path_buf(), expected: "CSV with a header line", reason },
    }
}
