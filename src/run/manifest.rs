//! What a run was made from, so that it can be told apart and repeated: versions, hashes, seed and counts.

use std::collections::BTreeMap;
use std::path::Path;

use gptneo_files::sha256;
use gptneo_model::checkpoint::weight_files;
use serde::{Deserialize, Serialize};

use super::source::Sources;
use crate::error::Result;

/// The version of Burn that the workspace pins.
pub const BURN_VERSION: &str = "0.21.0";

/// The content of `manifest.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// This program's version.
    pub version: String,
    /// Burn's version.
    pub burn: String,
    /// What computed.
    pub backend: String,
    /// The seed of everything random.
    pub seed: u64,
    /// What went in.
    pub inputs: Inputs,
    /// Where it came from, as far as that is the Hub.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub sources: Sources,
    /// How much of it there is.
    pub counts: Counts,
}

impl Manifest {
    /// The manifest as its file holds it.
    pub fn to_json(&self) -> String {
        // It has names for keys and nothing that JSON lacks.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// The SHA-256 of every input file, by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// The base model's configuration and weights.
    pub model: BTreeMap<String, String>,
    /// The adapter that training began with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adapter: BTreeMap<String, String>,
    /// The data file.
    pub data: BTreeMap<String, String>,
}

/// How much a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Records or documents in the data file.
    pub records: usize,
    /// Examples to learn from.
    pub train_examples: usize,
    /// Examples to measure on.
    pub validation_examples: usize,
    /// Parameters that are trained.
    pub trainable_parameters: usize,
    /// All parameters.
    pub total_parameters: usize,
}

impl Inputs {
    /// Hashes the files.
    ///
    /// # Errors
    /// A file is missing or cannot be read.
    pub fn hash(model: &Path, adapter: Option<&Path>, data: &Path) -> Result<Self> {
        let mut files = vec![model.join("config.json")];
        files.extend(weight_files(model)?);
        let adapter_files = adapter.map(gptneo_model::adapter::adapter_files);
        Ok(Self {
            model: hashes(files.iter())?,
            adapter: hashes(adapter_files.iter().flatten())?,
            data: hashes(std::iter::once(data))?,
        })
    }
}

fn hashes(files: impl Iterator<Item = impl AsRef<Path>>) -> Result<BTreeMap<String, String>> {
    files
        .map(|file| {
            let file = file.as_ref();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, sha256(file)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        // The first example of FIPS 180-2, appendix B.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).unwrap(), expected);
    }

    #[test]
    fn burns_version_is_the_pinned_one() {
        let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).unwrap();
        let pinned = manifest["workspace"]["dependencies"]["burn"]["version"].as_str().unwrap();
        assert_eq!(pinned, format!("={BURN_VERSION}"));
    }
}
