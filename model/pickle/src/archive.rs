//! The zip archive that PyTorch writes: its directory, and records by name with their checksums.
//!
//! Records are stored as they are; a file that was packed again may hold deflated ones, which are read too, under a limit
//! on what they become.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;
use gptneo_files::excerpt;

use crate::PickleError;

/// The largest directory; each record takes some hundred bytes of it.
const LARGEST_DIRECTORY: u64 = 32 << 20;
/// How many times its own size a deflated record may become. Weights hardly shrink; zeros shrink a thousandfold.
const INFLATED: u64 = 64;
/// What a deflated record may become in any case.
const INFLATED_ANYWAY: u64 = 4 << 20;

const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";

/// A record as the directory has it.
#[derive(Clone, Copy, Debug)]
struct Record {
    deflated: bool,
    crc: u32,
    packed: u64,
    size: u64,
    header: u64,
}

/// An archive's records.
#[derive(Debug)]
pub(crate) struct Archive {
    records: HashMap<String, Record>,
    /// PyTorch can be told to write no checksums; all are 0 then.
    checked: bool,
    file_size: u64,
}

impl Archive {
    /// Reads the directory of `file`, which has `file_size` bytes.
    ///
    /// # Errors
    ///
    /// It is no archive, was cut, or two records have one name.
    pub(crate) fn open(file: &mut (impl Read + Seek), file_size: u64) -> Result<Self, PickleError> {
        let (begin, size, count) = directory(file, file_size)?;
        if size > LARGEST_DIRECTORY {
            return Err(PickleError::Limit(format!("its directory has {size} bytes")));
        }
        let bytes = read_at(file, begin, size)?;
        let (mut records, mut rest) = (HashMap::new(), bytes.as_slice());
        for _ in 0..count {
            let (name, record, length) = entry(rest)?;
            if records.insert(name.clone(), record).is_some() {
                return Err(PickleError::damaged(format!("it holds {:?} twice", excerpt(&name))));
            }
            rest = &rest[length..];
        }
        let checked = records.values().any(|record| record.crc != 0);
        Ok(Self { records, checked, file_size })
    }

    /// The names of the records.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.records.keys().map(String::as_str)
    }

    /// A record's content, which has at most `most` bytes.
    ///
    /// # Errors
    ///
    /// It is missing, larger, or not what its checksum says.
    pub(crate) fn read(
        &self,
        file: &mut (impl Read + Seek),
        name: &str,
        most: u64,
    ) -> Result<Vec<u8>, PickleError> {
        let shown = excerpt(name);
        let record = self.records.get(name);
        let record = record.ok_or_else(|| PickleError::damaged(format!("its record {shown} is missing")))?;
        if record.size > most {
            return Err(PickleError::Limit(format!("its record {shown} has {} bytes", record.size)));
        }
        let head = read_at(file, record.header, 30)?;
        if !head.starts_with(LOCAL) {
            return Err(PickleError::damaged(format!("its record {shown} is not where its directory says")));
        }
        let begin = record.header + 30 + u64::from(u16_at(&head, 26)) + u64::from(u16_at(&head, 28));
        if begin.checked_add(record.packed).is_none_or(|end| end > self.file_size) {
            return Err(PickleError::damaged(format!("it ends within its record {shown}")));
        }
        let packed = read_at(file, begin, record.packed)?;
        let content = if record.deflated { inflate(&packed, record, &shown)? } else { packed };
        if content.len() as u64 != record.size {
            let (found, expected) = (content.len(), record.size);
            let what = format!("its record {shown} has {found} bytes, where its directory says {expected}");
            return Err(PickleError::damaged(what));
        }
        if self.checked && crc32fast::hash(&content) != record.crc {
            return Err(PickleError::damaged(format!("its record {shown} is not what its checksum says")));
        }
        Ok(content)
    }
}

fn inflate(packed: &[u8], record: &Record, shown: &str) -> Result<Vec<u8>, PickleError> {
    if record.size > INFLATED_ANYWAY && record.size / INFLATED > record.packed {
        let what = format!("its record {shown} would grow from {} to {} bytes", record.packed, record.size);
        return Err(PickleError::Limit(what));
    }
    let mut content = Vec::new();
    let read = DeflateDecoder::new(packed).take(record.size + 1).read_to_end(&mut content);
    read.map_err(|error| PickleError::damaged(format!("its record {shown} cannot be unpacked ({error})")))?;
    Ok(content)
}

/// Where the directory begins, its size, and how many records it names.
fn directory(file: &mut (impl Read + Seek), file_size: u64) -> Result<(u64, u64, u64), PickleError> {
    let cut = || PickleError::damaged("its end is missing");
    // The end has 22 bytes and a comment of at most 65,535.
    let tail_size = file_size.min(22 + 65_535);
    let tail_begin = file_size - tail_size;
    let tail = read_at(file, tail_begin, tail_size)?;
    let end = (0..tail.len().saturating_sub(21)).rev().find(|place| tail[*place..].starts_with(END));
    let place = end.ok_or_else(cut)?;
    let end = &tail[place..];
    let (count, size, begin) =
        (u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    let locator =
        place.checked_sub(20).map(|place| &tail[place..]).filter(|bytes| bytes.starts_with(LOCATOR_64));
    let (begin, size, count) = match locator {
        None => (begin, size, count),
        Some(locator) => {
            let end = read_at(file, u64_at(locator, 8), 56)?;
            if !end.starts_with(END_64) {
                return Err(cut());
            }
            (u64_at(&end, 48), u64_at(&end, 40), u64_at(&end, 32))
        }
    };
    match begin.checked_add(size) {
        Some(end) if end <= file_size => Ok((begin, size, count)),
        _ => Err(cut()),
    }
}

/// The first entry of a directory: its name, what it says, and its length.
fn entry(bytes: &[u8]) -> Result<(String, Record, usize), PickleError> {
    let cut = || PickleError::damaged("its directory is cut");
    if bytes.len() < 46 || !bytes.starts_with(ENTRY) {
        return Err(cut());
    }
    let [name_length, extra_length, comment_length] =
        [28, 30, 32].map(|place| usize::from(u16_at(bytes, place)));
    let name = bytes.get(46..46 + name_length).ok_or_else(cut)?;
    let name = String::from_utf8_lossy(name).into_owned();
    let extra = bytes.get(46 + name_length..46 + name_length + extra_length).ok_or_else(cut)?;
    let length = 46 + name_length + extra_length + comment_length;
    if length > bytes.len() {
        return Err(cut());
    }
    let deflated = match u16_at(bytes, 10) {
        0 => false,
        8 => true,
        other => {
            let what = format!("its record {} is packed by method {other}", excerpt(&name));
            return Err(PickleError::Unsupported(format!("{what}; unpack it and save it again")));
        }
    };
    if u16_at(bytes, 8) & 1 != 0 {
        return Err(PickleError::Unsupported(format!("its record {} is encrypted", excerpt(&name))));
    }
    let mut record = Record {
        deflated,
        crc: u32_at(bytes, 16),
        packed: u64::from(u32_at(bytes, 20)),
        size: u64::from(u32_at(bytes, 24)),
        header: u64::from(u32_at(bytes, 42)),
    };
    large_sizes(&mut record, extra).ok_or_else(cut)?;
    Ok((name, record, length))
}

/// Sizes that do not fit into 32 bits stand in the extra field of number 1, in this order.
fn large_sizes(record: &mut Record, mut extra: &[u8]) -> Option<()> {
    while extra.len() >= 4 {
        let (number, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let field = extra.get(4..4 + length)?;
        if number == 1 {
            let mut place = 0;
            for size in [&mut record.size, &mut record.packed, &mut record.header] {
                if *size == u64::from(u32::MAX) {
                    field.get(place..place + 8)?;
                    *size = u64_at(field, place);
                    place += 8;
                }
            }
        }
        extra = &extra[4 + length..];
    }
    Some(())
}

/// `size` bytes from `begin`.
pub(crate) fn read_at(file: &mut (impl Read + Seek), begin: u64, size: u64) -> Result<Vec<u8>, PickleError> {
    file.seek(SeekFrom::Start(begin))?;
    // It grows as bytes come, so that a size that is not true costs nothing.
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(PickleError::damaged("it ends early"));
    }
    Ok(bytes)
}

/// The two bytes at `place`, which are there.
fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from(u16_at(bytes, place)) | u32::from(u16_at(bytes, place + 2)) << 16
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from(u32_at(bytes, place)) | u64::from(u32_at(bytes, place + 4)) << 32
}
