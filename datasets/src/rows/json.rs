//! Records in JSON: an array of objects, or one object a line. Both are read record by record.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Deserializer, Error};

use super::{Row, Take};
use crate::error::DataError;
use crate::excerpt::shown;
use crate::source::{Source, not_utf8};
use crate::value::{Names, RecordSeed};

/// Reads a `.json` file: an array of objects, or, where it begins with a whole object on a line, an object a line.
///
/// # Errors
/// The file cannot be read or is neither, or what `take` says.
pub(super) fn read(mut source: Source, names: &mut Names, take: &mut Take<'_>) -> Result<(), DataError> {
    let start = source.peek()?;
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
    match first {
        Some(b'{') if begins_with_an_object(start) => read_lines(source, names, take),
        Some(b'[') => read_array(source, names, take),
        // Nothing but blanks, as far as one can see.
        None if start.len() < 1 << 16 => Ok(()),
        None => read_array(source, names, take),
        Some(byte) => {
            let what = match byte {
                b'{' => "one object over several lines".to_string(),
                _ => format!("it begins with `{}`", shown(&String::from_utf8_lossy(&[byte]))),
            };
            Err(DataError::Json { path: source.path, line: 1, column: 1, reason: what })
        }
    }
}

/// Reads a `.jsonl` file: an object a line or, where it begins as an array, an array.
///
/// # Errors
/// As [`read`].
pub(super) fn read_lines_or_array(
    mut source: Source,
    names: &mut Names,
    take: &mut Take<'_>,
) -> Result<(), DataError> {
    match source.peek()?.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => read_array(source, names, take),
        _ => read_lines(source, names, take),
    }
}

/// Whether the first line that is not blank is a whole object, as far as it is in sight.
fn begins_with_an_object(start: &[u8]) -> bool {
    let begin = start.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or_default();
    match start[begin..].iter().position(|byte| *byte == b'\n') {
        Some(end) => serde_json::from_slice::<IgnoredAny>(&start[begin..begin + end]).is_ok(),
        None => true,
    }
}

fn read_array(mut source: Source, names: &mut Names, take: &mut Take<'_>) -> Result<(), DataError> {
    let mut stopped = None;
    let result = {
        let mut json = Deserializer::from_reader(&mut source);
        let array = Array { names, take, stopped: &mut stopped };
        json.deserialize_seq(array).and_then(|()| json.end())
    };
    match (stopped, result) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(source.error(error.into())),
        (None, Err(error)) => Err(DataError::Json {
            path: source.path,
            line: error.line(),
            column: error.column(),
            reason: reason(&error),
        }),
    }
}

/// Takes the records of an array one by one.
struct Array<'a, 'b> {
    names: &'a mut Names,
    take: &'a mut Take<'b>,
    /// Why it went no further, where that is not the JSON's fault.
    stopped: &'a mut Option<DataError>,
}

impl<'de> Visitor<'de> for Array<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(fields) = records.next_element_seed(RecordSeed(self.names))? {
            let fields = fields.map_err(|kind| format!("{kind}, expected an object"));
            if let Err(error) = (self.take)(Row { line: None, fields }, self.names) {
                *self.stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// Reads an object on each line; blank lines do not count.
fn read_lines(mut source: Source, names: &mut Names, take: &mut Take<'_>) -> Result<(), DataError> {
    let (mut line, mut number) = (Vec::new(), 0);
    while source.next_line(&mut line)? {
        number += 1;
        let fields = match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => read_line(text, names),
            Err(error) => Err(not_utf8(error)),
        };
        take(Row { line: Some(number), fields }, names)?;
    }
    Ok(())
}

fn read_line(text: &str, names: &mut Names) -> Result<crate::value::Fields, String> {
    let mut json = Deserializer::from_str(text);
    let fields = RecordSeed(names).deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
    match fields {
        Ok(fields) => fields.map_err(|kind| format!("{kind}, expected an object")),
        Err(error) => Err(format!("no JSON, column {}: {}", error.column(), reason(&error))),
    }
}

/// The parser's reason without the place it appends, which is said apart from it.
fn reason(error: &Error) -> String {
    if error.is_eof() {
        return "it ends before the value does".to_string();
    }
    let reason = error.to_string();
    shown(reason.split(" at line ").next().unwrap_or(&reason))
}
