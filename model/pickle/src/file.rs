//! A file of tensors: which of the two forms it has, what it holds by name, and the numbers of one tensor.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use gptneo_files::{excerpt, is_git_lfs_pointer};

use crate::archive::{Archive, read_at};
use crate::legacy::{self, Legacy};
use crate::machine::{self, Built};
use crate::value::{Arena, Node, Value};
use crate::view::TensorView;
use crate::{PickleError, error};

/// The largest pickle. Weights of a thousand layers take some hundred kilobytes.
const LARGEST_PICKLE: u64 = 8 << 20;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A tensor.
    Tensor(TensorView),
    /// Something else, by what it is.
    Other(String),
}

/// Where the storages are.
#[derive(Debug)]
enum Storages {
    Records { archive: Archive, prefix: String },
    Places(HashMap<String, (u64, u64)>),
}

/// A file that `torch.save` wrote of a dictionary of tensors.
#[derive(Debug)]
pub struct TorchFile<R = File> {
    file: R,
    storages: Storages,
    entries: BTreeMap<String, Entry>,
    /// The storage that was read last: many tensors can be views of one.
    last: Option<(String, Vec<u8>)>,
}

impl TorchFile {
    /// Opens a file and reads what it holds, but no numbers.
    ///
    /// # Errors
    ///
    /// It cannot be read, is of another kind, was cut or altered, or holds no tensors by name.
    pub fn open(path: &Path) -> Result<Self, PickleError> {
        Self::new(File::open(path)?)
    }
}

impl<R: Read + Seek> TorchFile<R> {
    /// As [`TorchFile::open`], of anything that can be read from any place.
    ///
    /// # Errors
    ///
    /// As [`TorchFile::open`].
    pub fn new(mut file: R) -> Result<Self, PickleError> {
        let size = file.seek(SeekFrom::End(0))?;
        let front = read_at(&mut file, 0, size.min(512))?;
        if legacy::is_legacy(&front) {
            let front = read_at(&mut file, 0, size.min(LARGEST_PICKLE))?;
            let Legacy { built, places } = legacy::open(&mut file, &front, size)?;
            return Ok(Self {
                file,
                storages: Storages::Places(places),
                entries: entries(&built)?,
                last: None,
            });
        }
        if let Some(kind) = other_kind(&front) {
            return Err(PickleError::foreign(kind));
        }
        let archive = Archive::open(&mut file, size)?;
        let prefix = prefix(&archive)?;
        let pickle = archive.read(&mut file, &format!("{prefix}data.pkl"), LARGEST_PICKLE)?;
        let order = format!("{prefix}byteorder");
        if archive.names().any(|name| name == order) && archive.read(&mut file, &order, 64)? != b"little" {
            let what = "its numbers are big-endian; save it again on another machine";
            return Err(PickleError::Unsupported(what.into()));
        }
        let entries = entries(&machine::run(&pickle)?)?;
        Ok(Self { file, storages: Storages::Records { archive, prefix }, entries, last: None })
    }

    /// Everything that has a name, in the order of the names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The tensors, in the order of their names.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorView)> {
        self.entries().filter_map(|(name, entry)| match entry {
            Entry::Tensor(tensor) => Some((name, tensor)),
            Entry::Other(_) => None,
        })
    }

    /// A tensor's numbers in order, the last dimension first, as little-endian bytes of its type.
    ///
    /// # Errors
    ///
    /// There is no such tensor, or its storage is missing, short, or not what its checksum says.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, PickleError> {
        let tensor = match self.entries.get(name) {
            Some(Entry::Tensor(tensor)) => tensor.clone(),
            Some(Entry::Other(kind)) => {
                return Err(PickleError::Unsupported(format!(
                    "{} is {kind}, expected a tensor",
                    excerpt(name)
                )));
            }
            None => return Err(PickleError::Unsupported(format!("it has no tensor {}", excerpt(name)))),
        };
        let storage = match self.last.take() {
            Some((key, bytes)) if key == tensor.key => bytes,
            _ => self.storage(&tensor)?,
        };
        if storage.len() as u64 != tensor.storage_bytes {
            let (found, expected) = (storage.len(), tensor.storage_bytes);
            let what = format!("the storage of {} has {found} bytes, expected {expected}", excerpt(name));
            return Err(PickleError::damaged(what));
        }
        let numbers = tensor.gather(&storage);
        self.last = Some((tensor.key, storage));
        numbers
    }

    fn storage(&mut self, tensor: &TensorView) -> Result<Vec<u8>, PickleError> {
        match &self.storages {
            Storages::Records { archive, prefix } => {
                archive.read(&mut self.file, &format!("{prefix}data/{}", tensor.key), tensor.storage_bytes)
            }
            Storages::Places(places) => {
                let missing =
                    || PickleError::damaged(format!("its storage {} is missing", excerpt(&tensor.key)));
                let (begin, size) = *places.get(&tensor.key).ok_or_else(missing)?;
                read_at(&mut self.file, begin, size)
            }
        }
    }
}

/// What a file that begins so is, if it is known to be something else.
fn other_kind(front: &[u8]) -> Option<&'static str> {
    let is = |begin: &[u8]| front.starts_with(begin);
    if front.is_empty() {
        Some("empty")
    } else if is_git_lfs_pointer(front) {
        Some("a pointer of Git LFS, which stands for a file that was not fetched (git lfs pull fetches it)")
    } else if front.get(257..262) == Some(b"ustar") {
        Some("a tar archive, as PyTorch wrote before 0.2")
    } else if is(b"PK\x03\x04") || is(b"PK\x05\x06") {
        None
    } else if is(b"\x80") {
        Some("a pickle that PyTorch did not write")
    } else if is(b"<") {
        Some("a web page")
    } else if is(b"\x93NUMPY") {
        Some("an array of NumPy")
    } else if is(b"\x89HDF") {
        Some("a file of Keras")
    } else {
        Some("a file of an unknown kind")
    }
}

/// The folder in the archive that everything is in, with its slash.
fn prefix(archive: &Archive) -> Result<String, PickleError> {
    let mut found = archive
        .names()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .filter(|front| front.is_empty() || (front.ends_with('/') && front.matches('/').count() == 1));
    let prefix = found.next().map(String::from);
    let prefix = prefix.filter(|_| found.next().is_none());
    let prefix = prefix.ok_or_else(|| PickleError::foreign("a zip archive without a data.pkl"))?;
    let program = format!("{prefix}constants.pkl");
    if archive.names().any(|name| name == program) {
        return Err(PickleError::foreign("a TorchScript program"));
    }
    Ok(prefix)
}

/// The entries of the dictionary that a pickle built.
fn entries(built: &Built) -> Result<BTreeMap<String, Entry>, PickleError> {
    let Built { arena, value, .. } = built;
    let Some(Node::Dict(items)) = arena.node(*value) else {
        let what = kind(arena, *value);
        return Err(PickleError::Unsupported(format!(
            "it holds {what}, expected tensors by name: {}",
            error::SAVE_AGAIN
        )));
    };
    let mut entries = BTreeMap::new();
    for (key, value) in items {
        // Settings that stand beside tensors may have any key.
        let Some(name) = arena.text(*key) else { continue };
        let entry = match arena.node(*value) {
            Some(Node::Tensor(tensor)) => Entry::Tensor(tensor.clone()),
            _ => Entry::Other(kind(arena, *value)),
        };
        entries.insert(name.to_string(), entry);
    }
    if entries.values().all(|entry| matches!(entry, Entry::Other(_)))
        && let Some(name) = dictionary_of_tensors(arena, items)
    {
        let name = excerpt(name);
        let what =
            format!("its tensors are under {name:?}: load it with PyTorch and save that dictionary alone");
        return Err(PickleError::Unsupported(what));
    }
    Ok(entries)
}

/// The name of a dictionary of tensors among others: of a training's state, mostly.
fn dictionary_of_tensors<'a>(arena: &'a Arena, items: &[(Value, Value)]) -> Option<&'a str> {
    items.iter().find_map(|(key, value)| match arena.node(*value) {
        Some(Node::Dict(inner)) => {
            let any = inner.iter().any(|(_, value)| matches!(arena.node(*value), Some(Node::Tensor(_))));
            arena.text(*key).filter(|_| any)
        }
        _ => None,
    })
}

/// What a value is, in words.
fn kind(arena: &Arena, value: Value) -> String {
    match (value, arena.node(value)) {
        (Value::None, _) => "nothing".into(),
        (Value::Bool(_), _) => "a truth value".into(),
        (Value::Int(_), _) => "a number".into(),
        (_, Some(Node::Text(_))) => "a text".into(),
        (_, Some(Node::Tuple(_) | Node::List(_))) => "a list".into(),
        (_, Some(Node::Dict(_))) => "a dictionary".into(),
        (_, Some(Node::Tensor(_))) => "a single tensor".into(),
        (_, Some(Node::Global(name) | Node::Opaque(name))) => excerpt(name),
        (_, Some(Node::Storage(_)) | None) => "a storage".into(),
    }
}

#[cfg(test)]
mod tests;
