//! The sizes that the pages of a Parquet column announce, read before anything is unpacked: a page of a few bytes may
//! claim gigabytes, and readers make that room first.
//!
//! Page headers are structs of Thrift's compact protocol (Apache Parquet, `parquet.thrift`, `PageHeader`): field 2 is
//! the size unpacked, field 3 the size in the file; in field 7, of a dictionary, field 1 is the number of its values; in
//! field 8, of version 2, fields 5 and 6 are the sizes of what stands before the packed values.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;

/// The deepest nesting of a header's structs.
const DEEPEST: usize = 8;

/// Why a column is not read.
pub(super) enum Fault {
    /// Its pages would unpack to more than may be read.
    TooLarge,
    /// A header is no header, or a dictionary says that it has more values than bytes.
    Damaged,
}

/// Checks that a column's pages, unpacked, take no more than `left` bytes.
///
/// # Errors
/// They take more, or the headers are damaged.
pub(super) fn check(file: &File, column: &ColumnChunkMetaData, left: u64) -> Result<(), Fault> {
    let (start, length) = range(column).ok_or(Fault::Damaged)?;
    let mut file = file;
    file.seek(SeekFrom::Start(start)).map_err(damaged)?;
    let mut chunk = BufReader::new(file.take(length));
    let mut unpacked = 0;
    while !chunk.fill_buf().map_err(damaged)?.is_empty() {
        let page = Header::read(&mut chunk)?;
        if page.dictionary_values > page.unpacked {
            return Err(Fault::Damaged);
        }
        unpacked += page.unpacked;
        if unpacked > left {
            return Err(Fault::TooLarge);
        }
        let mut packed = (&mut chunk).take(page.packed);
        std::io::copy(&mut (&mut packed).take(page.levels), &mut std::io::sink()).map_err(damaged)?;
        // The codecs whose readers go on for as long as there is something to unpack.
        let bytes = match column.compression() {
            Compression::GZIP(_) => unpacked_length(MultiGzDecoder::new(&mut packed), left),
            Compression::BROTLI(_) => unpacked_length(brotli::Decompressor::new(&mut packed, 1 << 12), left),
            _ => 0,
        };
        if bytes > left {
            return Err(Fault::TooLarge);
        }
        std::io::copy(&mut packed, &mut std::io::sink()).map_err(damaged)?;
    }
    Ok(())
}

/// How many bytes `page` unpacks to, as far as it does: what is damaged is told by its reader. No more than one over
/// `most` are looked for.
fn unpacked_length(page: impl Read, most: u64) -> u64 {
    let (mut page, mut buffer) = (page.take(most.saturating_add(1)), [0; 1 << 12]);
    let mut bytes = 0;
    while let Ok(read @ 1..) = page.read(&mut buffer) {
        bytes += read as u64;
    }
    bytes
}

fn damaged(_: std::io::Error) -> Fault {
    Fault::Damaged
}

/// Where a column's pages begin in the file, and how long they are.
fn range(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let data = column.data_page_offset();
    let start = match column.dictionary_page_offset() {
        Some(dictionary) if dictionary > 0 => dictionary.min(data),
        _ => data,
    };
    Some((u64::try_from(start).ok()?, u64::try_from(column.compressed_size()).ok()?))
}

/// What a page's header says of sizes.
#[derive(Default)]
struct Header {
    unpacked: u64,
    packed: u64,
    /// Each takes a byte at least.
    dictionary_values: u64,
    /// The part that is never packed.
    levels: u64,
}

impl Header {
    fn read(from: &mut impl Read) -> Result<Self, Fault> {
        let mut header = Self::default();
        let mut id = 0;
        while let Some(kind) = next_field(from, &mut id)? {
            match (id, kind) {
                (2, I32) => header.unpacked = size(from)?,
                (3, I32) => header.packed = size(from)?,
                (7, STRUCT) => header.read_dictionary(from)?,
                (8, STRUCT) => header.read_version_2(from)?,
                (_, kind) => skip(from, kind, DEEPEST)?,
            }
        }
        Ok(header)
    }

    fn read_dictionary(&mut self, from: &mut impl Read) -> Result<(), Fault> {
        let mut id = 0;
        while let Some(kind) = next_field(from, &mut id)? {
            match (id, kind) {
                (1, I32) => self.dictionary_values = size(from)?,
                (_, kind) => skip(from, kind, DEEPEST)?,
            }
        }
        Ok(())
    }

    fn read_version_2(&mut self, from: &mut impl Read) -> Result<(), Fault> {
        let mut id = 0;
        while let Some(kind) = next_field(from, &mut id)? {
            match (id, kind) {
                (5 | 6, I32) => self.levels = self.levels.saturating_add(size(from)?),
                (_, kind) => skip(from, kind, DEEPEST)?,
            }
        }
        Ok(())
    }
}

// Types of Thrift's compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// The type of a struct's next field, whose number goes into `id`; none at the struct's end.
fn next_field(from: &mut impl Read, id: &mut i64) -> Result<Option<u8>, Fault> {
    let byte = byte(from)?;
    if byte == 0 {
        return Ok(None);
    }
    *id = match byte >> 4 {
        0 => zigzag(from)?,
        delta => id.saturating_add(delta.into()),
    };
    Ok(Some(byte & 0x0f))
}

fn skip(from: &mut impl Read, kind: u8, deeper: usize) -> Result<(), Fault> {
    let deeper = deeper.checked_sub(1).ok_or(Fault::Damaged)?;
    match kind {
        TRUE | FALSE => {}
        BYTE => _ = byte(from)?,
        I16 | I32 | I64 => _ = varint(from)?,
        DOUBLE => skip_bytes(from, 8)?,
        BINARY => {
            let length = varint(from)?;
            skip_bytes(from, length)?;
        }
        LIST | SET => {
            let head = byte(from)?;
            let count = match head >> 4 {
                15 => varint(from)?,
                count => count.into(),
            };
            for _ in 0..count {
                match head & 0x0f {
                    // In a list each takes a byte.
                    TRUE | FALSE => _ = byte(from)?,
                    kind => skip(from, kind, deeper)?,
                }
            }
        }
        STRUCT => {
            let mut id = 0;
            while let Some(kind) = next_field(from, &mut id)? {
                skip(from, kind, deeper)?;
            }
        }
        _ => return Err(Fault::Damaged),
    }
    Ok(())
}

fn skip_bytes(from: &mut impl Read, count: u64) -> Result<(), Fault> {
    let skipped = std::io::copy(&mut from.take(count), &mut std::io::sink()).map_err(damaged)?;
    if skipped == count { Ok(()) } else { Err(Fault::Damaged) }
}

fn byte(from: &mut impl Read) -> Result<u8, Fault> {
    let mut byte = [0];
    from.read_exact(&mut byte).map_err(damaged)?;
    Ok(byte[0])
}

fn varint(from: &mut impl Read) -> Result<u64, Fault> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(from)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Fault::Damaged)
}

fn zigzag(from: &mut impl Read) -> Result<i64, Fault> {
    let value = varint(from)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// A number of bytes, which cannot be below none.
fn size(from: &mut impl Read) -> Result<u64, Fault> {
    u64::try_from(zigzag(from)?).map_err(|_| Fault::Damaged)
}
