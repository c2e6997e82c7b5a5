//! A safetensors file: its header, checked as a whole before any number is read, and the numbers of one tensor at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use gptneo_files::{excerpt, is_git_lfs_pointer};
use gptneo_pickle::Number;
use serde_json::{Map, Value};

/// The largest header; some hundred bytes for each tensor.
const LARGEST_HEADER: u64 = 16 << 20;
/// The bytes that say how long the header is.
const LENGTH: u64 = 8;

/// A tensor as the header has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub(super) number: Number,
    pub(super) shape: Vec<usize>,
    /// Its bytes behind the header: the first, and the one behind the last.
    range: (u64, u64),
}

/// An open file.
#[derive(Debug)]
pub(super) struct SafetensorsFile {
    file: File,
    /// Where the numbers begin.
    data: u64,
    pub(super) tensors: BTreeMap<String, Described>,
}

impl SafetensorsFile {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, as a phrase.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
        let mut file = File::open(path).map_err(cannot)?;
        let size = file.metadata().map_err(cannot)?.len();
        let mut front = Vec::new();
        (&mut file).take(64).read_to_end(&mut front).map_err(cannot)?;
        if is_git_lfs_pointer(&front) {
            return Err(
                "it is a pointer of Git LFS, which stands for a file that was not fetched: git lfs pull \
                        fetches it"
                    .into(),
            );
        }
        let length = front.first_chunk::<{ LENGTH as usize }>().ok_or_else(|| damaged("it has no header"))?;
        let length = u64::from_le_bytes(*length);
        let data = length.checked_add(LENGTH).filter(|data| *data <= size);
        let data = data.ok_or_else(|| damaged("it ends within its header"))?;
        if length > LARGEST_HEADER {
            return Err(format!("its header has {length} bytes, more than a file of weights needs"));
        }
        let mut header = Vec::new();
        file.seek(SeekFrom::Start(LENGTH)).map_err(cannot)?;
        (&mut file).take(length).read_to_end(&mut header).map_err(cannot)?;
        let header: Map<String, Value> =
            serde_json::from_slice(&header).map_err(|_| damaged("its header is no JSON object"))?;
        Ok(Self { file, data, tensors: described(&header, size - data)? })
    }

    /// A tensor's numbers in order, as little-endian bytes of its type.
    ///
    /// # Errors
    ///
    /// As [`SafetensorsFile::open`].
    pub(super) fn read(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let tensor = self.tensors.get(name).ok_or_else(|| format!("it has no tensor {}", excerpt(name)))?;
        let (begin, end) = tensor.range;
        let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
        self.file.seek(SeekFrom::Start(self.data + begin)).map_err(cannot)?;
        let mut bytes = Vec::new();
        (&mut self.file).take(end - begin).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 == end - begin { Ok(bytes) } else { Err(damaged("it ends early")) }
    }
}

/// A file that is not as it was written.
fn damaged(what: &str) -> String {
    format!("{what}; the file may be cut short or of another kind: fetch it again")
}

/// The tensors of a header, whose numbers must fill the `size` bytes behind it without gap or overlap.
fn described(header: &Map<String, Value>, size: u64) -> Result<BTreeMap<String, Described>, String> {
    let mut tensors = BTreeMap::new();
    for (name, value) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let tensor = tensor(value).ok_or_else(|| {
            damaged(&format!("its header does not say type, shape and place of {}", excerpt(name)))
        })?;
        tensors.insert(name.clone(), tensor);
    }
    let mut ranges: Vec<(u64, u64)> = tensors.values().map(|tensor| tensor.range).collect();
    ranges.sort_unstable();
    let end = ranges.iter().try_fold(0, |end, (begin, next)| (*begin == end).then_some(*next));
    match end {
        Some(end) if end == size => Ok(tensors),
        Some(end) => Err(damaged(&format!("its header tells of {end} bytes of numbers, and it has {size}"))),
        None => Err(damaged("its tensors overlap, or leave gaps")),
    }
}

fn tensor(value: &Value) -> Option<Described> {
    let (number, bits) = match value.get("dtype")?.as_str()? {
        "F64" => (Number::F64, 64),
        "F32" => (Number::F32, 32),
        "F16" => (Number::F16, 16),
        "BF16" => (Number::Bf16, 16),
        "C64" | "I64" | "U64" => (Number::Other { bytes: 8 }, 64),
        "I32" | "U32" => (Number::Other { bytes: 4 }, 32),
        "I16" | "U16" => (Number::Other { bytes: 2 }, 16),
        "BOOL" | "I8" | "U8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => (Number::Other { bytes: 1 }, 8),
        // Several to a byte.
        "F6_E2M3" | "F6_E3M2" => (Number::Other { bytes: 1 }, 6),
        "F4" => (Number::Other { bytes: 1 }, 4),
        _ => return None,
    };
    let sizes = value.get("shape")?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?;
    let places =
        value.get("data_offsets")?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?;
    let [begin, end] = places[..] else { return None };
    let bits = sizes.iter().try_fold(bits, |bits: u64, size| bits.checked_mul(*size))?;
    if !bits.is_multiple_of(8) || end.checked_sub(begin)? != bits / 8 {
        return None;
    }
    let shape = sizes.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<_>>()?;
    Some(Described { number, shape, range: (begin, end) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(header: &str, numbers: usize) -> Result<SafetensorsFile, String> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(std::iter::repeat_n(7, numbers));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        SafetensorsFile::open(file.path())
    }

    #[test]
    fn numbers_fill_the_file_without_gap_or_overlap() {
        let header = r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F16", "shape": [1, 3], "data_offsets": [8, 14]}, "__metadata__": {"format": "pt"}}"#;
        let mut file = open(header, 14).unwrap();
        assert_eq!(file.read("b").unwrap(), [7; 6]);
        assert_eq!(file.tensors["b"].shape, [1, 3]);
        for (header, numbers, word) in [
            (header, 13, "14 bytes of numbers, and it has 13"),
            (header, 15, "it has 15"),
            (&header.replace("[8, 14]", "[7, 13]"), 14, "overlap"),
            (&header.replace("[8, 14]", "[9, 15]"), 15, "gaps"),
            (&header.replace("[1, 3]", "[1, 4]"), 14, "place of b"),
            (&header.replace("[1, 3]", "[18446744073709551615, 3]"), 14, "place of b"),
            (&header.replace("F16", "F17"), 14, "place of b"),
            (&header.replace("[0, 8]", "[8, 0]"), 14, "place of a"),
            ("[]", 0, "no JSON object"),
            ("{", 0, "no JSON object"),
        ] {
            let message = open(header, numbers).unwrap_err();
            assert!(message.contains(word) && !message.contains('\n'), "{word}: {message}");
        }
    }

    #[test]
    fn a_pointer_of_git_lfs_and_a_header_that_lies_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (bytes, word) in [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".to_vec(), "git lfs pull"),
            (u64::MAX.to_le_bytes().to_vec(), "ends within its header"),
            (vec![1, 2], "no header"),
        ] {
            std::fs::write(file.path(), bytes).unwrap();
            let message = SafetensorsFile::open(file.path()).unwrap_err();
            assert!(message.contains(word), "{word}: {message}");
        }
    }
}
