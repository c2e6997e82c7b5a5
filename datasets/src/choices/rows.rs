//! A file's records as JSON objects, whatever its format, so that a layout is written once.
//!
//! CSV has texts alone; a cell that holds a list or an object holds it as JSON.

use std::fs::File;
use std::path::Path;

use csv::ReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use serde_json::{Map, Value};

use crate::error::DataError;

const SUPPORTED: &str = ".json (an array of objects), .jsonl, .ndjson, .csv and .parquet";

/// One record, or why it cannot be read.
pub(super) struct Row {
    /// The line it begins on, where the format has lines.
    pub(super) line: Option<u64>,
    pub(super) fields: Result<Map<String, Value>, String>,
}

/// Reads all records.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, DataError> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("json") => array(path),
        Some("jsonl" | "ndjson") => lines(path),
        Some("csv") => csv(path),
        Some("parquet") => parquet(path),
        _ => Err(DataError::UnknownFormat { path: path.to_path_buf(), supported: SUPPORTED }),
    }
}

fn array(path: &Path) -> Result<Vec<Row>, DataError> {
    let text = text(path)?;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<Value> = serde_json::from_str(&text).map_err(|error| DataError::Json {
        path: path.to_path_buf(),
        line: error.line(),
        column: error.column(),
        reason: without_place(&error),
    })?;
    Ok(values.into_iter().map(|value| Row { line: None, fields: object(value) }).collect())
}

fn lines(path: &Path) -> Result<Vec<Row>, DataError> {
    let text = text(path)?;
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(index, line): (usize, &str)| {
        let fault = |error: serde_json::Error| {
            format!("no JSON, column {}: {}", error.column(), without_place(&error))
        };
        Row {
            line: Some(index as u64 + 1),
            fields: serde_json::from_str(line).map_err(fault).and_then(object),
        }
    };
    Ok(filled.map(row).collect())
}

fn csv(path: &Path) -> Result<Vec<Row>, DataError> {
    let failed = |error: csv::Error| {
        let reason = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(source) => DataError::Io { action: "read", path: path.to_path_buf(), source },
            _ => {
                DataError::Malformed { path: path.to_path_buf(), expected: "CSV with a header line", reason }
            }
        }
    };
    // Flexible, because a row of the wrong length is that row's fault and must not hide the others.
    let mut reader = ReaderBuilder::new().flexible(true).from_path(path).map_err(failed)?;
    let header: Vec<String> = reader.headers().map_err(failed)?.iter().map(String::from).collect();
    let mut rows = Vec::new();
    for row in reader.byte_records() {
        let row = row.map_err(failed)?;
        let cell = |(name, bytes): (&String, &[u8])| match std::str::from_utf8(bytes) {
            Ok(text) => Ok((name.clone(), Value::String(text.into()))),
            Err(error) => Err(format!("`{name}` is not UTF-8 ({error})")),
        };
        let fields = match row.len() == header.len() {
            true => header.iter().zip(&row).map(cell).collect(),
            false => Err(format!("{} fields, expected {} as in the header", row.len(), header.len())),
        };
        rows.push(Row { line: row.position().map(|position| position.line()), fields });
    }
    Ok(rows)
}

fn parquet(path: &Path) -> Result<Vec<Row>, DataError> {
    let malformed = |error: parquet::errors::ParquetError| DataError::Malformed {
        path: path.to_path_buf(),
        expected: "a Parquet file",
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(malformed)?;
    let rows = reader.get_row_iter(None).map_err(malformed)?;
    rows.map(|row| Ok(Row { line: None, fields: Ok(group(&row.map_err(malformed)?)) })).collect()
}

fn group(row: &ParquetRow) -> Map<String, Value> {
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float(number) => f64::from(*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Str(text) => Value::String(text.clone()),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::Group(row) => Value::Object(group(row)),
        other => Value::String(other.to_string()),
    }
}

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("it is no object; expected {\"question\": …, \"choices\": […], \"answer\": INDEX}".into()),
    }
}

fn text(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|error| DataError::Malformed {
        path: path.to_path_buf(),
        expected: "UTF-8 text",
        reason: error.utf8_error().to_string(),
    })?;
    Ok(text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text))
}

/// The parser's reason without the place it appends, which is said apart from it.
fn without_place(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    reason.split(" at line ").next().unwrap_or(&reason).to_string()
}
