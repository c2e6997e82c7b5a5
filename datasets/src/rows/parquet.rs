//! Records in Parquet, the format of most data sets on the Hub: only the columns that some form of data uses are read.
//!
//! What the file promises is checked first: the sizes of its pages before they are unpacked, and that each column
//! holds as many rows as its group is said to have.

mod pages;

use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::{Field, Row as ParquetRow};
use parquet::schema::types::Type;

use super::{Row, Take};
use crate::error::DataError;
use crate::excerpt::shown;
use crate::panics::caught;
use crate::source::{Budget, head, refuse_pointer};
use crate::value::{Fields, Names, Value};

/// Rows that are counted at a time.
const AT_ONCE: usize = 1024;
/// The longest part of a reader's reason that is told, in characters.
const REASON: usize = 160;

/// Why reading ended early.
enum Stop {
    /// The file is not what it says.
    Damaged(String),
    /// Something that is told as it is.
    Told(DataError),
}

impl From<ParquetError> for Stop {
    fn from(error: ParquetError) -> Self {
        let text = match error {
            ParquetError::General(text) | ParquetError::NYI(text) | ParquetError::EOF(text) => text,
            other => other.to_string(),
        };
        Self::Damaged(shown(&text.chars().take(REASON).collect::<String>()))
    }
}

/// Reads the top-level columns that `names` wants.
///
/// # Errors
/// The file is missing, damaged or over the limit, or what `take` says.
pub(super) fn read(
    path: &Path,
    budget: &Budget,
    names: &mut Names,
    take: &mut Take<'_>,
) -> Result<(), DataError> {
    let mut file = File::open(path).map_err(DataError::io("read", path))?;
    refuse_pointer(path, &head(&mut file).map_err(DataError::io("read", path))?)?;
    // The reader checks much, but not all: for the rest it panics.
    let stop = match caught(|| read_rows(path, file, budget, names, take)) {
        Some(Ok(())) => return Ok(()),
        Some(Err(stop)) => stop,
        None => Stop::Damaged("it is damaged".into()),
    };
    Err(match stop {
        Stop::Told(error) => error,
        Stop::Damaged(reason) => {
            DataError::Malformed { path: path.to_path_buf(), expected: "a Parquet file", reason }
        }
    })
}

fn read_rows(
    path: &Path,
    file: File,
    budget: &Budget,
    names: &mut Names,
    take: &mut Take<'_>,
) -> Result<(), Stop> {
    let pages = file.try_clone().map_err(|error| Stop::Told(DataError::io("read", path)(error)))?;
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema();
    let mut wanted: Vec<Arc<Type>> = Vec::new();
    let mut stored: Vec<Rc<str>> = Vec::new();
    for field in schema.get_fields() {
        if let Some(name) = names.see(field.name()) {
            wanted.push(field.clone());
            stored.push(name);
        }
    }
    let spend = |bytes: u64| budget.spend(bytes, path).map_err(Stop::Told);
    if wanted.is_empty() {
        // A projection on nothing has no rows; one without a field, so that the columns are blamed.
        if reader.metadata().file_metadata().num_rows() > 0 {
            take(Row { line: None, fields: Ok(Fields::default()) }, names).map_err(Stop::Told)?;
        }
        return Ok(());
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
    let metadata = reader.metadata();
    let rows = metadata.row_groups().iter().try_fold(0i64, |rows, group| rows.checked_add(group.num_rows()));
    if rows != Some(metadata.file_metadata().num_rows()) {
        return Err(Stop::Damaged("its groups have other rows than it says".into()));
    }
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        // Some writers say of the pages of a group without rows that they begin at 0.
        if group.metadata().num_rows() == 0 {
            continue;
        }
        check_group(group.as_ref(), &stored, &pages, path, budget)?;
        for row in group.get_row_iter(Some(projection.clone()))? {
            let fields = fields(row?, &stored);
            spend(fields.size() as u64)?;
            take(Row { line: None, fields: Ok(fields) }, names).map_err(Stop::Told)?;
        }
    }
    Ok(())
}

/// Refuses a group whose pages would unpack to more than may be read, or whose columns hold other rows than it says.
fn check_group(
    group: &dyn RowGroupReader,
    wanted: &[Rc<str>],
    file: &File,
    path: &Path,
    budget: &Budget,
) -> Result<(), Stop> {
    let rows = usize::try_from(group.metadata().num_rows())
        .map_err(|_| Stop::Damaged("a group of rows with less than none".into()))?;
    for (index, column) in group.metadata().columns().iter().enumerate() {
        let parts = column.column_path().parts();
        if !parts.first().is_some_and(|name| wanted.iter().any(|wanted| **wanted == **name)) {
            continue;
        }
        match pages::check(file, column, budget.left()) {
            Ok(()) => {}
            Err(pages::Fault::TooLarge) => return Err(Stop::Told(budget.too_large(path))),
            Err(pages::Fault::Damaged) => {
                return Err(Stop::Damaged("the pages of a column are damaged".into()));
            }
        }
        let found = count(group.get_column_reader(index)?, rows)?;
        if found != rows {
            let name = shown(&parts.join("."));
            return Err(Stop::Damaged(format!(
                "it says that a group has {rows} rows, but the column `{name}` has {}",
                if found > rows { "more".to_string() } else { found.to_string() }
            )));
        }
    }
    Ok(())
}

/// How many rows a column holds; no more than one over `most` is looked for.
fn count(reader: ColumnReader, most: usize) -> Result<usize, ParquetError> {
    macro_rules! counted {
        ($reader:expr) => {{
            let (mut reader, mut rows) = ($reader, 0);
            let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
            while rows <= most {
                definitions.clear();
                repetitions.clear();
                values.clear();
                let wanted = AT_ONCE.min(most + 1 - rows);
                let (read, ..) = reader.read_records(
                    wanted,
                    Some(&mut definitions),
                    Some(&mut repetitions),
                    &mut values,
                )?;
                if read == 0 {
                    break;
                }
                rows += read;
            }
            Ok(rows)
        }};
    }
    match reader {
        ColumnReader::BoolColumnReader(reader) => counted!(reader),
        ColumnReader::Int32ColumnReader(reader) => counted!(reader),
        ColumnReader::Int64ColumnReader(reader) => counted!(reader),
        ColumnReader::Int96ColumnReader(reader) => counted!(reader),
        ColumnReader::FloatColumnReader(reader) => counted!(reader),
        ColumnReader::DoubleColumnReader(reader) => counted!(reader),
        ColumnReader::ByteArrayColumnReader(reader) => counted!(reader),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => counted!(reader),
    }
}

fn fields(row: ParquetRow, stored: &[Rc<str>]) -> Fields {
    let mut fields = Fields::default();
    for (name, field) in row.into_columns() {
        if let Some(name) = stored.iter().find(|stored| ***stored == *name) {
            fields.put(name, value(field));
        }
    }
    fields
}

fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => Value::Text(text),
        Field::Group(row) => {
            Value::Object(row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect())
        }
        Field::ListInternal(list) => Value::List(list.elements().iter().cloned().map(value).collect()),
        Field::Byte(number) => Value::Number(number.into()),
        Field::Short(number) => Value::Number(number.into()),
        Field::Int(number) => Value::Number(number.into()),
        Field::Long(number) => Value::Number(number as f64),
        Field::UByte(number) => Value::Number(number.into()),
        Field::UShort(number) => Value::Number(number.into()),
        Field::UInt(number) => Value::Number(number.into()),
        Field::ULong(number) => Value::Number(number as f64),
        Field::Float(number) => Value::Number(number.into()),
        Field::Double(number) => Value::Number(number),
        Field::Bool(_) => Value::Other("a boolean"),
        Field::Bytes(_) => Value::Other("bytes"),
        Field::MapInternal(_) => Value::Other("a map"),
        Field::Float16(_) | Field::Decimal(_) => Value::Other("a number"),
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Value::Other("a date or time"),
    }
}
