//! Records in CSV and TSV: a header line with the columns' names, then a row a record; quoted fields may hold newlines.

use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use csv::{ByteRecord, Error, ErrorKind, ReaderBuilder};

use super::{Row, Take};
use crate::error::DataError;
use crate::source::{Source, not_utf8};
use crate::value::{Fields, Names, Value};

const EXPECTED: &str = "a table with a header line";

/// Reads a table whose fields stand apart by `separator`.
///
/// # Errors
/// The file cannot be read, its header is not UTF-8, it ends within quotes, or what `take` says.
pub(super) fn read(
    source: Source,
    separator: u8,
    names: &mut Names,
    take: &mut Take<'_>,
) -> Result<(), DataError> {
    let path = source.path.clone();
    let malformed = |reason| DataError::Malformed { path: path.clone(), expected: EXPECTED, reason };
    let watched =
        Quotes { source, separator, state: State::FieldBegins, line: 1, opened: 1, returned: false };
    // Flexible, because a row of the wrong length is that row's fault and must not hide the others.
    let mut reader =
        ReaderBuilder::new().flexible(true).has_headers(false).delimiter(separator).from_reader(watched);
    let mut row = ByteRecord::new();
    let mut columns: Vec<Option<Rc<str>>> = Vec::new();
    let mut first = true;
    loop {
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(failure(error, &reader.get_ref().source, &path)),
        }
        if std::mem::take(&mut first) {
            for name in &row {
                let name = std::str::from_utf8(name)
                    .map_err(|error| malformed(format!("in its header, {}", not_utf8(error))))?;
                let column = names.see(name);
                if column.is_some() && columns.contains(&column) {
                    let name = crate::excerpt::shown(name);
                    return Err(malformed(format!("the column `{name}` stands in its header twice")));
                }
                columns.push(column);
            }
            continue;
        }
        let line = row.position().map(|position| position.line());
        let fields = match row.len() == columns.len() {
            true => fields(&row, &columns),
            false => Err(format!("{} fields, expected {} as in the header", row.len(), columns.len())),
        };
        take(Row { line, fields }, names)?;
    }
    let Quotes { state, opened, .. } = reader.get_ref();
    match state {
        State::Quoted => Err(malformed(format!(
            "the quote that opens on line {opened} is never closed: the file is cut, or a quote is missing"
        ))),
        _ => Ok(()),
    }
}

fn fields(row: &ByteRecord, columns: &[Option<Rc<str>>]) -> Result<Fields, String> {
    let mut fields = Fields::default();
    for (name, bytes) in columns.iter().zip(row) {
        if let Some(name) = name {
            let text =
                std::str::from_utf8(bytes).map_err(|error| format!("`{name}`: {}", not_utf8(error)))?;
            fields.put(name, Value::Text(text.to_string()));
        }
    }
    Ok(fields)
}

fn failure(error: Error, source: &Source, path: &Path) -> DataError {
    match error.into_kind() {
        ErrorKind::Io(error) => source.error(error),
        _ => DataError::Malformed {
            path: path.to_path_buf(),
            expected: EXPECTED,
            reason: "its rows cannot be told apart".into(),
        },
    }
}

/// Passes a table on and keeps in mind whether it is within quotes, which its reader does not tell at the end.
struct Quotes {
    source: Source,
    separator: u8,
    state: State,
    line: u64,
    /// The line on which the last quotes opened.
    opened: u64,
    /// The last byte ended a line as old Macs do, or is the first of two that end one.
    returned: bool,
}

/// Where in a field the table is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldBegins,
    Bare,
    Quoted,
    /// After a quote within quotes: the end of them, or the first of two that stand for one.
    QuoteInQuotes,
}

impl Quotes {
    fn see(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::QuoteInQuotes,
            (State::Quoted, _) | (State::QuoteInQuotes, b'"') => State::Quoted,
            (_, b'\n') => State::FieldBegins,
            (_, byte) if byte == self.separator => State::FieldBegins,
            (State::FieldBegins, b'"') => {
                self.opened = self.line;
                State::Quoted
            }
            _ => State::Bare,
        };
        self.line += u64::from(byte == b'\n');
    }
}

impl Read for Quotes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.source.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                let byte = buffer[at];
                let second = std::mem::take(&mut self.returned) && byte == b'\n';
                // The table's reader takes the second byte of a line's end for the next line's first.
                if self.state != State::Quoted && (second || byte == b'\r') {
                    self.returned = byte == b'\r';
                    if second {
                        continue;
                    }
                    buffer[kept] = b'\n';
                } else {
                    buffer[kept] = byte;
                }
                self.see(buffer[kept]);
                kept += 1;
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}
