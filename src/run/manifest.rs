//! What a run was made from, so that it can be told apart and repeated: versions, hashes, seed and counts.

use std::collections::BTreeMap;
use std::path::Path;

use gptneo_datasets::{DataFiles, TOKENIZER_FILES};
use gptneo_files::sha256;
use gptneo_model::WeightFormat;
use gptneo_model::checkpoint::weight_files;
use serde::{Deserialize, Serialize};

use super::source::Sources;
use crate::Result;

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
    /// The format that the base was kept in while the adapter was trained, where that was not f32.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub base_weights: WeightFormat,
    /// What went in.
    pub inputs: Inputs,
    /// Where it came from, as far as that is the Hub.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub sources: Sources,
    /// How much of it there is.
    pub counts: Counts,
}

fn is_f32(format: &WeightFormat) -> bool {
    *format == WeightFormat::F32
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
    /// The base model's configuration, weights and tokenizer.
    pub model: BTreeMap<String, String>,
    /// The adapter that training began with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adapter: BTreeMap<String, String>,
    /// The data files; those of a part of its own under its name.
    pub data: BTreeMap<String, String>,
}

/// How much a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Records or documents in the data file.
    pub records: usize,
    /// Examples to learn from.
    pub train_examples: usize,
    /// Examples to validate with.
    pub validation_examples: usize,
    /// Examples to test with, where such data were given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test_examples: usize,
    /// Parameters that are trained.
    pub trainable_parameters: usize,
    /// All parameters.
    pub total_parameters: usize,
}

impl Counts {
    /// Examples that the result is told of.
    pub fn measured_examples(&self) -> usize {
        if self.test_examples > 0 { self.test_examples } else { self.validation_examples }
    }
}

impl Inputs {
    /// Hashes the files.
    ///
    /// # Errors
    /// A file is missing or cannot be read.
    pub fn hash(model: &Path, adapter: Option<&Path>, data: &DataFiles) -> Result<Self> {
        let mut files = vec![model.join("config.json")];
        files.extend(weight_files(model)?);
        // Which tensor is in which file, and which numbers a text becomes.
        let others = ["model.safetensors.index.json"].into_iter().chain(TOKENIZER_FILES);
        files.extend(others.map(|name| model.join(name)).filter(|file| file.is_file()));
        let adapter_files = adapter.map(gptneo_model::adapter::adapter_files);
        Ok(Self {
            model: hashes(files.iter())?,
            adapter: hashes(adapter_files.iter().flatten())?,
            data: data_hashes(data)?,
        })
    }
}

/// The hashes of the data files: of those to learn from by their names, of the others by part and name. A second file of
/// a name gets a number.
fn data_hashes(files: &DataFiles) -> Result<BTreeMap<String, String>> {
    let DataFiles { training, validation, test, .. } = files;
    let mut all = BTreeMap::new();
    for (part, files) in [("", training), ("validation/", validation), ("test/", test)] {
        for file in files {
            for (name, hash) in hashes(std::iter::once(file))? {
                let names = (1..).map(|number| match number {
                    1 => format!("{part}{name}"),
                    _ => format!("{part}{name} ({number})"),
                });
                let free = names.into_iter().find(|name| !all.contains_key(name));
                all.extend(free.map(|name| (name, hash)));
            }
        }
    }
    Ok(all)
}

fn is_zero(number: &usize) -> bool {
    *number == 0
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
    fn what_a_text_becomes_is_an_input_as_the_weights_are() {
        let model = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/window"));
        let inputs = Inputs::hash(model, None, &DataFiles::default()).unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            assert!(inputs.model.contains_key(name), "{name}: {:?}", inputs.model.keys());
        }
        assert!(!inputs.model.contains_key("model.safetensors.index.json"));
    }

    #[test]
    fn burns_version_is_the_pinned_one() {
        let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).unwrap();
        let pinned = manifest["workspace"]["dependencies"]["burn"]["version"].as_str().unwrap();
        assert_eq!(pinned, format!("={BURN_VERSION}"));
    }
}
