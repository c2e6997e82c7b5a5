//! Records in JSON: an array of objects, or one object a line.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Cell, Columns, Row, Table};
use crate::error::DataError;

/// Reads a file that is one array of objects.
pub(super) fn read_array(path: &Path, columns: &Columns) -> Result<Table, DataError> {
    let text = read_text(path)?;
    if text.trim().is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf(), what: "records" });
    }
    let values: Vec<Value> = serde_json::from_str(&text).map_err(|error| DataError::Json {
        path: path.to_path_buf(),
        line: error.line(),
        column: error.column(),
        reason: without_place(&error),
    })?;
    let mut table = Table { columns: Vec::new(), rows: Vec::with_capacity(values.len()) };
    for value in values {
        push(&mut table, None, Ok(value), columns);
    }
    Ok(table)
}

/// Reads a file with an object on each line; blank lines do not count.
pub(super) fn read_lines(path: &Path, columns: &Columns) -> Result<Table, DataError> {
    let text = read_text(path)?;
    let mut table = Table { columns: Vec::new(), rows: Vec::new() };
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = serde_json::from_str(line)
            .map_err(|error| format!("no JSON, column {}: {}", error.column(), without_place(&error)));
        push(&mut table, Some(index as u64 + 1), value, columns);
    }
    Ok(table)
}

fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|error| DataError::Malformed {
        path: path.to_path_buf(),
        expected: "UTF-8 text",
        reason: error.utf8_error().to_string(),
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

/// The parser's reason without the place it appends, which is said apart from it.
fn without_place(error: &serde_json::Error) -> String {
    let reason = error.to_string();
    reason.split(" at line ").next().unwrap_or(&reason).to_string()
}

fn push(table: &mut Table, line: Option<u64>, value: Result<Value, String>, columns: &Columns) {
    let cells = value.and_then(|value| match value {
        Value::Object(object) => {
            for name in object.keys() {
                if !table.columns.contains(name) {
                    table.columns.push(name.clone());
                }
            }
            Ok(columns.names().map(|name| cell(&object, name)))
        }
        other => Err(format!("{}, expected an object", kind(&other))),
    });
    table.rows.push(Row { line, cells });
}

fn cell(object: &Map<String, Value>, name: &str) -> Cell {
    match object.get(name) {
        None | Some(Value::Null) => Cell::Missing,
        Some(Value::String(text)) => Cell::Text(text.clone()),
        Some(other) => Cell::Other(kind(other).to_string()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
