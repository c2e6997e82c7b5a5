//! A data file opened for reading: unpacked on the way, counted against a limit, and never held as a whole.
//!
//! Its name says the format, its first bytes whether it is packed. A pointer of Git LFS is told from data here.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use crate::error::DataError;
use crate::size::DataSize;

/// What a file holds, as its name says, `.gz` or `.zst` at its end aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// `.json`: an array of objects, or an object a line.
    Json,
    /// `.jsonl`, `.ndjson`: an object a line.
    JsonLines,
    /// `.csv`, `.tsv`: a header, then a row a record, with this between the fields.
    Separated(u8),
    /// `.parquet`.
    Parquet,
    /// `.txt`.
    Text,
}

/// The endings that are read, for messages.
pub(crate) const SUPPORTED: &str = ".json (an array of objects, or one a line), .jsonl, .ndjson, .csv, .tsv, .parquet and .txt; all but \
     Parquet also with .gz or .zst after it";

/// Those of them that hold records.
pub(crate) const RECORDS: &str = ".json (an array of objects, or one a line), .jsonl, .ndjson, .csv, .tsv and .parquet; all but Parquet \
     also with .gz or .zst after it";

/// What Git leaves in place of a file in its large file storage.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Bytes that a record counts for beside its text, so that many empty ones are not free.
pub(crate) const RECORD_COST: u64 = 128;

impl FileFormat {
    /// What the name of `path` says.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let (plain, packed) = match name.strip_suffix(".gz").or(name.strip_suffix(".zst")) {
            Some(plain) => (plain, true),
            None => (name.as_str(), false),
        };
        match plain.rsplit_once('.')?.1 {
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "csv" => Some(Self::Separated(b',')),
            "tsv" => Some(Self::Separated(b'\t')),
            "txt" => Some(Self::Text),
            // Its pages are packed one by one, and its index stands at its end.
            "parquet" if !packed => Some(Self::Parquet),
            _ => None,
        }
    }

    /// What the name of `path` says, or the error that lists what could be.
    pub(crate) fn expect(path: &Path) -> Result<Self, DataError> {
        Self::of(path).ok_or(DataError::UnknownFormat { path: path.to_path_buf(), supported: SUPPORTED })
    }
}

/// Whether a file's name says that it holds data that can be read.
pub fn is_data(path: &Path) -> bool {
    FileFormat::of(path).is_some()
}

/// What may still be read. Clones share it, so that the files of a data set count together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    limit: DataSize,
    used: Rc<Cell<u64>>,
}

/// More was read than the limit allows; an I/O error while a reader of others stands between.
#[derive(Debug, thiserror::Error)]
#[error("larger than allowed")]
struct OverLimit;

impl Budget {
    pub(crate) fn new(limit: DataSize) -> Self {
        Self { limit, used: Rc::default() }
    }

    /// Counts `bytes` of the file `path`.
    pub(crate) fn spend(&self, bytes: u64, path: &Path) -> Result<(), DataError> {
        self.fits(bytes).map_err(|OverLimit| self.too_large(path))
    }

    /// The error that the file `path` went over the limit.
    pub(crate) fn too_large(&self, path: &Path) -> DataError {
        DataError::TooLarge {
            path: path.to_path_buf(),
            limit: self.limit.to_string(),
            per_record: RECORD_COST,
        }
    }

    /// How much is left.
    pub(crate) fn left(&self) -> u64 {
        self.limit.bytes().saturating_sub(self.used.get())
    }

    fn fits(&self, bytes: u64) -> Result<(), OverLimit> {
        self.used.set(self.used.get().saturating_add(bytes));
        if self.used.get() > self.limit.bytes() { Err(OverLimit) } else { Ok(()) }
    }
}

/// A file's text, from its beginning on.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    reader: BufReader<Metered>,
    /// What it is packed as.
    packed: Option<&'static str>,
    budget: Budget,
    /// Bytes of text that were handed over line by line.
    passed: usize,
}

/// Reads and counts.
struct Metered {
    inner: Box<dyn Read>,
    budget: Budget,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.budget.fits(read as u64).map_err(io::Error::other)?;
        Ok(read)
    }
}

/// Reads as much as there is room for, so that what comes next can be looked at: files come in parts.
struct Filled {
    inner: Box<dyn Read>,
    /// What went wrong behind what was read last.
    failed: Option<io::Error>,
}

impl Read for Filled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(filled)
    }
}

impl Source {
    /// Opens the file; a mark that says UTF-8 is passed over.
    ///
    /// # Errors
    /// The file is missing, a pointer of Git LFS, not packed as its name says, or UTF-16.
    pub(crate) fn open(path: &Path, budget: &Budget) -> Result<Self, DataError> {
        let mut file = File::open(path).map_err(DataError::io("read", path))?;
        let head = head(&mut file).map_err(DataError::io("read", path))?;
        refuse_pointer(path, &head)?;
        let zstd = head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let gzip = head.starts_with(&[0x1f, 0x8b]);
        let name = path.to_string_lossy().to_lowercase();
        let malformed = |expected: &'static str| DataError::Malformed {
            path: path.to_path_buf(),
            expected,
            reason: "it begins otherwise".into(),
        };
        let whole = Cursor::new(head).chain(file);
        let (inner, packed): (Box<dyn Read>, _) = if gzip {
            (Box::new(MultiGzDecoder::new(BufReader::new(whole))), Some(GZIP))
        } else if zstd {
            let decoder = zstd::Decoder::new(whole).map_err(DataError::io("read", path))?;
            (Box::new(decoder), Some(ZSTD))
        } else if name.ends_with(".gz") {
            return Err(malformed(GZIP));
        } else if name.ends_with(".zst") {
            return Err(malformed(ZSTD));
        } else {
            (Box::new(whole), None)
        };
        let inner = Box::new(Filled { inner, failed: None });
        let reader = BufReader::with_capacity(1 << 16, Metered { inner, budget: budget.clone() });
        let mut source = Self { path: path.to_path_buf(), reader, packed, budget: budget.clone(), passed: 0 };
        source.pass_mark()?;
        Ok(source)
    }

    fn pass_mark(&mut self) -> Result<(), DataError> {
        let start = self.peek()?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(self.malformed("UTF-8 text", "it is UTF-16: save it as UTF-8"));
        }
        if start.starts_with(&[0xef, 0xbb, 0xbf]) {
            self.reader.consume(3);
        }
        Ok(())
    }

    /// What comes next, without taking it; nothing at the end.
    pub(crate) fn peek(&mut self) -> Result<&[u8], DataError> {
        // Asked twice: what was read stays in the reader.
        match self.reader.fill_buf() {
            Ok(_) => Ok(self.reader.buffer()),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Puts the next line, with its end, in place of what `line` holds.
    ///
    /// # Errors
    /// The file cannot be read on, or goes over the limit.
    pub(crate) fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, DataError> {
        line.clear();
        // A line of the usual length does not keep the room of the longest.
        if line.capacity() > 1 << 20 {
            *line = Vec::new();
        }
        match self.reader.read_until(b'\n', line) {
            Ok(read) => Ok(read > 0),
            Err(error) => Err(self.error(error)),
        }
    }

    /// The next line as text, with its end, in the room of `line`; none at the end.
    ///
    /// # Errors
    /// As [`Source::next_line`]; or the line is not UTF-8: the byte is told as counted from the text's beginning.
    pub(crate) fn next_text<'a>(&mut self, line: &'a mut Vec<u8>) -> Result<Option<&'a str>, DataError> {
        if !self.next_line(line)? {
            return Ok(None);
        }
        let before = self.passed;
        self.passed += line.len();
        match std::str::from_utf8(line) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(self.malformed("UTF-8 text", &no_character(before + error.valid_up_to()))),
        }
    }

    /// What a failed read means.
    pub(crate) fn error(&self, error: io::Error) -> DataError {
        if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) {
            return self.budget.too_large(&self.path);
        }
        match self.packed {
            // How decoders report damage, as opposed to a disk that cannot be read.
            Some(expected) if error.raw_os_error().is_none() => {
                self.malformed(expected, "it is damaged or cut")
            }
            _ => DataError::Io { action: "read", path: self.path.clone(), source: error },
        }
    }

    fn malformed(&self, expected: &'static str, reason: &str) -> DataError {
        DataError::Malformed { path: self.path.clone(), expected, reason: reason.into() }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

const GZIP: &str = "a whole gzip file";
const ZSTD: &str = "a whole Zstandard file";

/// Refuses what Git leaves where large files were not fetched.
///
/// # Errors
/// `head`, the beginning of the file `path`, is such a pointer.
pub(crate) fn refuse_pointer(path: &Path, head: &[u8]) -> Result<(), DataError> {
    match head.starts_with(LFS_POINTER) {
        true => Err(DataError::LfsPointer { path: path.to_path_buf() }),
        false => Ok(()),
    }
}

/// The first few bytes, or all where there are fewer.
pub(crate) fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.take(LFS_POINTER.len() as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Where a text stops being UTF-8.
pub(crate) fn not_utf8(error: std::str::Utf8Error) -> String {
    no_character(error.valid_up_to())
}

fn no_character(at: usize) -> String {
    format!("byte {} begins no character: save it as UTF-8", at + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    fn fault(name: &str, bytes: &[u8], limit: u64) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let read = Source::open(&path, &Budget::new(DataSize::of_bytes(limit))).and_then(|mut source| {
            let mut line = Vec::new();
            while source.next_text(&mut line)?.is_some() {}
            Ok(())
        });
        read.unwrap_err().to_string()
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
        let blank = vec![b' '; 1 << 20];
        for _ in 0..20 {
            gzip.write_all(&blank).unwrap();
            zstd.write_all(&blank).unwrap();
        }
        let (gzip, zstd) = (gzip.finish().unwrap(), zstd.finish().unwrap());
        assert!(gzip.len() < 50_000 && zstd.len() < 50_000);
        for (name, bytes) in [("a.txt.gz", &gzip), ("a.txt.zst", &zstd)] {
            let message = fault(name, bytes, 10_000_000);
            assert!(message.contains("10MB") && message.contains(name), "{message}");
            let message = fault(name, &bytes[..bytes.len() / 2], 1 << 40);
            assert!(message.contains("damaged or cut"), "{message}");
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
        assert!(fault("a.json", pointer, 99).contains("git lfs pull"));
        assert!(fault("a.txt", &[0xff, 0xfe, 65, 0], 99).contains("UTF-16"));
        assert!(fault("a.txt", b"ab\xffc", 99).contains("byte 3"));
        assert!(fault("a.txt", b"a\nb\n\xffc", 99).contains("byte 5"));
        assert!(fault("a.csv.zst", b"a,b\n", 99).contains("Zstandard"));
        for (name, format) in [
            ("a.JSON.GZ", Some(FileFormat::Json)),
            ("a.b.tsv.zst", Some(FileFormat::Separated(b'\t'))),
            ("a.parquet.gz", None),
            ("json", None),
        ] {
            assert_eq!(FileFormat::of(Path::new(name)), format, "{name}");
        }
    }
}
