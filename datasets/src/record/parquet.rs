//! Records in Parquet, the format of most hub data sets: only the columns of a record are read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use parquet::schema::types::Type;

use super::{Cell, Columns, Row, Table};
use crate::error::DataError;

/// Reads the top-level columns that `columns` names.
pub(super) fn read(path: &Path, columns: &Columns) -> Result<Table, DataError> {
    let malformed = |error: ParquetError| DataError::Malformed {
        path: path.to_path_buf(),
        expected: "a Parquet file",
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(malformed)?;
    let schema = reader.metadata().file_metadata().schema();
    let found: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_string()).collect();

    let names = columns.names();
    let wanted: Vec<Arc<Type>> =
        schema.get_fields().iter().filter(|field| names.contains(&field.name())).cloned().collect();
    if wanted.is_empty() {
        // A projection on nothing has no rows; say how many there are, so that the columns are blamed.
        let count = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        let empty = || Row { line: None, cells: Ok([Cell::Missing, Cell::Missing, Cell::Missing]) };
        return Ok(Table { columns: found, rows: (0..count).map(|_| empty()).collect() });
    }
    let projection =
        Type::group_type_builder(schema.name()).with_fields(wanted).build().map_err(malformed)?;
    let mut rows = Vec::new();
    for row in reader.get_row_iter(Some(projection)).map_err(malformed)? {
        let row = row.map_err(malformed)?;
        rows.push(Row { line: None, cells: Ok(names.map(|name| cell(&row, name))) });
    }
    Ok(Table { columns: found, rows })
}

fn cell(row: &ParquetRow, name: &str) -> Cell {
    match row.get_column_iter().find(|(column, _)| *column == name) {
        None | Some((_, Field::Null)) => Cell::Missing,
        Some((_, Field::Str(text))) => Cell::Text(text.clone()),
        Some((_, other)) => Cell::Other(kind(other).to_string()),
    }
}

fn kind(field: &Field) -> &'static str {
    match field {
        Field::Bool(_) => "a boolean",
        Field::Bytes(_) => "bytes",
        Field::Group(_) | Field::MapInternal(_) => "a group",
        Field::ListInternal(_) => "a list",
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => "a date or time",
        _ => "a number",
    }
}
