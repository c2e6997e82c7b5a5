//! The weights of a model's folder by the names of the network's parameters: which file and tensor each is, what is
//! missing or does not fit, and what the network has no use for. No number is read for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use gptneo_files::{FileError, excerpt, read_small};
use serde_json::Value;

use super::shards::{INDEX_FILE, WHOLE_FILE};
use super::tensor_file::{Found, TensorFile};
use crate::ModelError;
use crate::error::{PROBLEMS_SHOWN, list_problems};

/// The token embedding.
pub(super) const EMBEDDING: &str = "transformer.wte.weight";
/// The head, where it is not the token embedding.
pub(super) const HEAD: &str = "lm_head.weight";
/// What the names of the network but for its head begin with; a backbone that was saved alone has them without.
const PREFIX: &str = "transformer.";
/// How the names of a backbone that was saved alone begin.
const BACKBONE: [&str; 4] = ["wte.", "wpe.", "h.", "ln_f."];
/// Masks of published checkpoints, which are worked out anew.
const BUFFERS: [&str; 2] = [".attn.attention.bias", ".attn.attention.masked_bias"];

const PICKLE: &str = "pytorch_model.bin";
const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// The weight files of a folder, the best format first.
///
/// # Errors
///
/// None of the known files is there, or an index names no shard.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    Ok(find(folder)?.0)
}

/// The weight files, and which of them each tensor is in where an index says so.
fn find(folder: &Path) -> Result<(Vec<PathBuf>, HashMap<String, PathBuf>), ModelError> {
    // In transformers' order.
    for (whole, index) in [(WHOLE_FILE, INDEX_FILE), (PICKLE, PICKLE_INDEX)] {
        let [whole, index] = [whole, index].map(|name| folder.join(name));
        if whole.is_file() {
            return Ok((vec![whole], HashMap::new()));
        }
        if index.is_file() {
            let places = read_index(&index)?;
            let mut files: Vec<PathBuf> = places.values().cloned().collect();
            files.sort();
            files.dedup();
            return Ok((files, places));
        }
    }
    Err(ModelError::NoWeights { path: folder.into() })
}

/// Which file beside `index` each tensor is in.
fn read_index(index: &Path) -> Result<HashMap<String, PathBuf>, ModelError> {
    let refuse = |reason: String| ModelError::Format { path: index.into(), reason };
    let bytes = read_small(index).map_err(FileError::on("read", index))?;
    let value = crate::error::json_object(index, &bytes)?;
    let Some(map) = value.get("weight_map").and_then(Value::as_object) else {
        return Err(refuse("weight_map is missing, expected the file of each tensor".into()));
    };
    if map.is_empty() {
        return Err(refuse("weight_map is empty".into()));
    }
    let place = |(tensor, file): (&String, &Value)| {
        // A name with a folder in it could lead anywhere, and one that a message cannot show is no file's.
        let plain = |name: &&str| {
            Path::new(name).file_name().is_some_and(|plain| plain == *name) && excerpt(name) == *name
        };
        let name = file.as_str().filter(plain);
        let name = name.ok_or_else(|| {
            let (tensor, file) = (excerpt(tensor), excerpt(&file.to_string()));
            refuse(format!("weight_map names {file} for {tensor}, expected a file of this folder"))
        })?;
        Ok((tensor.clone(), index.with_file_name(name)))
    };
    map.iter().map(place).collect()
}

/// Where a parameter is.
#[derive(Debug)]
struct Place {
    file: usize,
    /// Its name there.
    name: String,
    found: Found,
}

/// The weights of a folder.
#[derive(Debug)]
pub(super) struct Weights {
    folder: PathBuf,
    files: Vec<TensorFile>,
    places: BTreeMap<String, Place>,
    /// Tensors of other parts than a language model has, by their names in the file.
    unused: Vec<String>,
    /// Whether the head is a matrix of its own.
    pub(super) own_head: bool,
}

impl Weights {
    /// Finds the weights of `folder`, for a model whose head is the token embedding or not, as its configuration says.
    ///
    /// A head that the file holds is kept where it differs from the embedding, whatever the configuration says, and
    /// stands for a missing embedding where the two are one.
    ///
    /// # Errors
    ///
    /// A file is missing, damaged or of another kind; or a tensor is in two files.
    pub(super) fn open(folder: &Path, tied: bool) -> Result<Self, ModelError> {
        let (paths, index) = find(folder)?;
        let files = paths.iter().map(|path| TensorFile::open(path)).collect::<Result<Vec<_>, _>>()?;
        let entries: Vec<Vec<(String, Found)>> = files.iter().map(TensorFile::entries).collect();
        let names = || entries.iter().flatten().map(|(name, _)| name);
        let prefixed = names().any(|name| name.starts_with(PREFIX));
        let mut weights = Self {
            folder: folder.into(),
            files,
            places: BTreeMap::new(),
            unused: Vec::new(),
            own_head: false,
        };
        for (file, entries) in entries.into_iter().enumerate() {
            for (name, found) in entries {
                if index.get(&name).is_some_and(|meant| *meant != paths[file]) {
                    continue;
                }
                weights.place(file, name, found, prefixed)?;
            }
        }
        weights.unused.sort();
        weights.settle_head(tied)?;
        Ok(weights)
    }

    fn place(&mut self, file: usize, name: String, found: Found, prefixed: bool) -> Result<(), ModelError> {
        let backbone = !prefixed && BACKBONE.iter().any(|front| name.starts_with(front));
        let own = if backbone { format!("{PREFIX}{name}") } else { name.clone() };
        if own.starts_with(PREFIX) && BUFFERS.iter().any(|buffer| own.ends_with(buffer)) {
            return Ok(());
        }
        if !own.starts_with(PREFIX) && !own.starts_with("lm_head.") {
            self.unused.push(name);
            return Ok(());
        }
        if let Some(before) = self.places.insert(own, Place { file, name: name.clone(), found }) {
            let (first, second) =
                (self.files[before.file].path().display(), self.files[file].path().display());
            let name = excerpt(&name);
            return Err(ModelError::Format {
                path: self.folder.clone(),
                reason: format!("{name} is in both {first} and {second}: keep the one that is meant"),
            });
        }
        Ok(())
    }

    /// Decides what the head is.
    fn settle_head(&mut self, tied: bool) -> Result<(), ModelError> {
        if !tied {
            self.own_head = true;
            return Ok(());
        }
        match (self.places.contains_key(EMBEDDING), self.places.contains_key(HEAD)) {
            (true, true) if self.same(EMBEDDING, HEAD)? => drop(self.places.remove(HEAD)),
            (true, true) => self.own_head = true,
            (false, true) => {
                let head = self.places.remove(HEAD);
                self.places.extend(head.map(|head| (EMBEDDING.to_string(), head)));
            }
            (_, false) => {}
        }
        Ok(())
    }

    /// Whether two tensors hold the same numbers; of other shapes, they do not.
    fn same(&mut self, one: &str, other: &str) -> Result<bool, ModelError> {
        let shapes = [one, other].map(|name| match &self.places[name].found {
            Found::Tensor(shape) => Some(shape.clone()),
            Found::Other(_) => None,
        });
        match shapes {
            [Some(one_shape), Some(other_shape)] if one_shape == other_shape => {
                Ok(self.read(one)?.as_bytes() == self.read(other)?.as_bytes())
            }
            _ => Ok(false),
        }
    }

    /// Compares what there is with the network's parameters, by name and shape.
    ///
    /// # Errors
    ///
    /// Every parameter that is missing or of another shape, and every tensor of the network that it does not have.
    pub(super) fn check(&self, parameters: &[(String, Vec<usize>)]) -> Result<(), ModelError> {
        let mut problems = Vec::new();
        for (name, expected) in parameters {
            match self.places.get(name).map(|place| &place.found) {
                Some(Found::Tensor(shape)) if shape == expected => {}
                Some(Found::Tensor(shape)) => {
                    problems.push(format!("{name}: expected shape {expected:?}, found {shape:?}"));
                }
                Some(Found::Other(kind)) => {
                    problems.push(format!("{name}: expected a tensor of floats, found {kind}"))
                }
                None => problems.push(format!("{name}: missing")),
            }
        }
        let known: HashSet<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        let unexpected = self.places.keys().filter(|name| !known.contains(name.as_str()));
        problems.extend(unexpected.map(|name| format!("{}: unexpected", excerpt(name))));
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        let problems = list_problems(&problems, PROBLEMS_SHOWN);
        Err(ModelError::Weights { path: self.folder.clone(), problems })
    }

    /// A parameter's numbers as float32.
    ///
    /// # Errors
    ///
    /// It is not there, or its file is damaged.
    pub(super) fn read(&mut self, name: &str) -> Result<TensorData, ModelError> {
        let place = self.places.get(name).ok_or_else(|| ModelError::Weights {
            path: self.folder.clone(),
            problems: format!("  {name}: missing"),
        })?;
        self.files[place.file].read(&place.name)
    }

    /// Tensors that the network has no use for.
    pub(super) fn unused(&self) -> &[String] {
        &self.unused
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn index(text: &str) -> Result<Vec<PathBuf>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INDEX_FILE), text).unwrap();
        weight_files(folder.path()).map_err(|error| error.to_string())
    }

    /// A folder may have the same weights in several ways, and weights that somebody forgot.
    #[test]
    fn of_several_files_of_weights_those_count_that_transformers_takes() {
        let folder = tempfile::tempdir().unwrap();
        let shards = |shard: &str| format!("{{\"weight_map\": {{\"a\": \"{shard}\"}}}}");
        for (name, text, taken) in [
            (PICKLE_INDEX, shards("1.bin"), "1.bin"),
            (PICKLE, String::new(), PICKLE),
            (INDEX_FILE, shards("1.safetensors"), "1.safetensors"),
            (WHOLE_FILE, String::new(), WHOLE_FILE),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
            assert_eq!(weight_files(folder.path()).unwrap(), [folder.path().join(taken)]);
        }
    }

    #[test]
    fn an_index_names_files_of_its_own_folder() {
        let files =
            index(r#"{"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}"#);
        assert_eq!(files.unwrap().len(), 2);
        for (text, word) in [
            ("[]", "expected a JSON object"),
            ("{", "line 1"),
            ("{}", "weight_map is missing"),
            (r#"{"weight_map": {}}"#, "weight_map is empty"),
            (r#"{"weight_map": {"a": 5}}"#, "names 5 for a"),
            (r#"{"weight_map": {"a": "../b.safetensors"}}"#, "a file of this folder"),
            (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "a file of this folder"),
            (r#"{"weight_map": {"a": ""}}"#, "a file of this folder"),
            (r#"{"weight_map": {"a": "\u001b[2J"}}"#, "a file of this folder"),
        ] {
            let message = index(text).unwrap_err();
            assert!(message.contains(word) && message.contains(INDEX_FILE), "{word}: {message}");
        }
    }
}
