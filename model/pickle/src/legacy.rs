//! The form that PyTorch wrote before 1.6: a magic number, a version, what the machine was, the object, and the keys of
//! the storages, each a pickle; then the storages in that order, each behind the count of its numbers.

use std::collections::HashMap;
use std::io::{Read, Seek};

use crate::PickleError;
use crate::archive::read_at;
use crate::machine::{self, Built};
use crate::value::{Node, Value};

/// How such a file begins, behind the pickle's version: a number of ten bytes, and the pickle's end.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Bytes before it.
const VERSION: usize = 2;
/// The only version there was.
const PROTOCOL: i64 = 1001;

/// Whether a file that begins so is one.
pub(crate) fn is_legacy(begin: &[u8]) -> bool {
    begin.get(VERSION..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// What the object's pickle built, and where each storage's bytes are: begin and size.
pub(crate) struct Legacy {
    pub(crate) built: Built,
    pub(crate) places: HashMap<String, (u64, u64)>,
}

/// Reads the pickles at the file's front, which are in `front`, and finds the storages behind them.
///
/// # Errors
///
/// It was cut or altered.
pub(crate) fn open(
    file: &mut (impl Read + Seek),
    front: &[u8],
    file_size: u64,
) -> Result<Legacy, PickleError> {
    let mut place = VERSION + MAGIC.len();
    let next = |place: &mut usize| -> Result<Built, PickleError> {
        let built = machine::run(front.get(*place..).unwrap_or_default())?;
        *place += built.length;
        Ok(built)
    };
    let (version, machine) = (next(&mut place)?, next(&mut place)?);
    if version.value != Value::Int(PROTOCOL) {
        return Err(PickleError::damaged("its version is unknown"));
    }
    if is_big_endian(&machine) {
        return Err(PickleError::Unsupported(
            "its numbers are big-endian; save it again on another machine".into(),
        ));
    }
    let (built, keys) = (next(&mut place)?, next(&mut place)?);
    let Some(Node::List(keys_found)) = keys.arena.node(keys.value) else {
        return Err(PickleError::damaged("it does not name its storages"));
    };
    let mut sizes = HashMap::new();
    for storage in &built.storages {
        let size =
            storage.bytes().ok_or_else(|| PickleError::damaged("a storage has more bytes than can be"))?;
        sizes.insert(storage.key.as_str(), (storage.length, size));
    }
    let (mut places, mut begin) = (HashMap::new(), place as u64);
    for key in keys_found {
        let key = keys.arena.text(*key).ok_or_else(|| PickleError::damaged("a storage has no name"))?;
        let (length, size) =
            *sizes.get(key).ok_or_else(|| PickleError::damaged("it holds a storage that no tensor has"))?;
        let count =
            read_at(file, begin, 8)?.iter().rev().fold(0, |count, byte| count << 8 | u64::from(*byte));
        if count != length {
            let what = format!("a storage has {count} numbers, where its pickle says {length}");
            return Err(PickleError::damaged(what));
        }
        begin += 8;
        let end = begin.checked_add(size).filter(|end| *end <= file_size);
        let end = end.ok_or_else(|| PickleError::damaged("it ends within a storage"))?;
        places.insert(key.to_string(), (begin, size));
        begin = end;
    }
    Ok(Legacy { built, places })
}

fn is_big_endian(machine: &Built) -> bool {
    let Some(Node::Dict(items)) = machine.arena.node(machine.value) else { return false };
    let says = |(key, value): &(Value, Value)| {
        machine.arena.text(*key) == Some("little_endian") && *value == Value::Bool(false)
    };
    items.iter().any(says)
}
