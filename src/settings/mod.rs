//! The settings of a run: what is asked for wins over the file, the file over the default. They are resolved once,
//! checked, and saved in the run's folder.
//!
//! What is asked for beside the file, such as the flags of a command line, is a table with the file's own keys
//! ([`Layer`]), which is laid over the file's; so there is one place, the types below, where a key, its default and its
//! values are known.

mod answers;
mod checks;
mod layers;
mod presets;

use std::path::{Path, PathBuf};

use gptneo_datasets::{DEFAULT_LENGTH, DataOptions};
use gptneo_model::checkpoint::{Dtype, SaveFormat, ShardSize};
use gptneo_model::export::{ExportFormat, GgufType};
use gptneo_model::{LoraConfig, WeightFormat};
use gptneo_training::{Activations, Precision, TrainingConfig, TuningKind};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use self::answers::AnswerSettings;
pub(crate) use self::checks::check_base_weights;
pub(crate) use self::layers::with_place;
pub use self::layers::{Layer, Origin};
pub use self::presets::Preset;
use crate::backend::{BackendKind, Place};
use crate::{Error, Remedy, Result};

/// All settings, by the sections of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which model, and what of it is trained.
    pub model: ModelSettings,
    /// Which data, and how they become examples.
    pub data: DataSettings,
    /// The adapter.
    pub lora: LoraConfig,
    /// How it is trained.
    pub training: TrainingConfig,
    /// What is asked.
    pub answers: AnswerSettings,
    /// Where it is computed and written.
    pub run: RunSettings,
}

/// Which model, and what of it is trained.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// The model's folder or name, as the user gave it.
    pub path: Option<PathBuf>,
    /// The folder of an adapter to use or to train on.
    pub adapter: Option<PathBuf>,
    /// What is trained.
    pub tuning: TuningKind,
}

/// Which data, and how they become examples.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// The file, folder or name, as the user gave it.
    pub path: Option<PathBuf>,
    /// The data to validate with: they guide early stopping and the best checkpoint. Without them, a part of the data
    /// does, unless these have such a split.
    pub validation_data: Option<PathBuf>,
    /// The data to test with: they are measured on once, at the end, and are what tables, report and card tell of.
    pub test_data: Option<PathBuf>,
    /// The seed of the split, where it is not the training's: runs with different seeds can measure on the same records.
    pub split_seed: Option<u64>,
    /// All other keys of the section.
    #[serde(flatten)]
    pub options: DataOptions,
}

/// Where a run computes and writes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// The run's folder.
    pub output: Option<PathBuf>,
    /// What computes.
    pub backend: BackendKind,
    /// The number of the backend's device.
    pub device: usize,
    /// The numbers of the devices that train together; none for `device` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<usize>,
    /// The numbers of the matrix products in training.
    pub precision: Precision,
    /// Whether the inside of blocks is computed again in the backward pass instead of being kept.
    pub gradient_checkpointing: bool,
    /// The format that a frozen base is kept in while an adapter is trained over it.
    pub base_weights: WeightFormat,
    /// The format of the written model.
    pub dtype: Dtype,
    /// The size that a file of the written model may have; one file where there is none.
    pub max_shard_size: Option<ShardSize>,
    /// Whether TensorBoard's event files are written.
    pub tensorboard: bool,
    /// What the plain model is written as for other engines, at the end of a whole run; nothing where there is none.
    pub export: Option<ExportFormat>,
    /// The numbers of a GGUF file.
    pub gguf_type: GgufType,
    /// The positions of an export; as many as are exact where there are none.
    pub max_positions: Option<usize>,
}

impl Settings {
    /// How the data become examples, split by a seed of their own or by the run's.
    pub fn data_options(&self) -> DataOptions {
        let seed = self.data.split_seed.unwrap_or(self.training.seed);
        DataOptions { seed, ..self.data.options.clone() }
    }

    /// The settings as the file holds them.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| not_toml(&error))
    }

    fn to_table(&self) -> Result<Table> {
        Table::try_from(self).map_err(|error| not_toml(&error))
    }

    /// The settings that differ from `other`, as `section.key`.
    ///
    /// # Errors
    /// A path is not UTF-8.
    pub fn differences(&self, other: &Self) -> Result<Vec<String>> {
        let (ours, theirs) = (self.to_table()?, other.to_table()?);
        let keys = |table: &Table| -> Vec<(String, Value)> {
            let sections = table.iter().filter_map(|(name, value)| Some((name, value.as_table()?)));
            sections
                .flat_map(|(name, section)| {
                    section.iter().map(move |(key, value)| (format!("{name}.{key}"), value.clone()))
                })
                .collect()
        };
        let (ours, theirs) = (keys(&ours), keys(&theirs));
        let missing = |pair: &&(String, Value), there: &[(String, Value)]| !there.contains(pair);
        let mut names: Vec<String> =
            ours.iter().filter(|pair| missing(pair, &theirs)).map(|p| p.0.clone()).collect();
        names.extend(theirs.iter().filter(|pair| missing(pair, &ours)).map(|p| p.0.clone()));
        names.sort();
        names.dedup();
        Ok(names)
    }
}

impl ModelSettings {
    /// The model's folder or name.
    ///
    /// # Errors
    /// None is given.
    pub fn folder(&self) -> Result<&Path> {
        required(&self.path, "model.path")
    }
}

impl DataSettings {
    /// The data file or its name.
    ///
    /// # Errors
    /// None is given.
    pub fn file(&self) -> Result<&Path> {
        required(&self.path, "data.path")
    }

    /// The settings without the names of the data, which say where they are and not what.
    pub(crate) fn without_names(&self) -> Self {
        Self { path: None, validation_data: None, test_data: None, ..self.clone() }
    }

    /// Settles the longest text for a model of `positions`, where one is known: as given, else 256 or fewer.
    ///
    /// # Errors
    /// The length given is more than the model's positions.
    pub fn resolve_length(&mut self, positions: Option<usize>) -> Result<usize> {
        let positions = positions.unwrap_or(usize::MAX);
        let length = self.options.max_seq_length.unwrap_or(DEFAULT_LENGTH.min(positions));
        if length > positions {
            return Err(Error::settings(
                format!("the longest text is {length} tokens, but the model has {positions} positions"),
                Remedy::Set("data.max_seq_length", format!("{positions} or less")),
            ));
        }
        self.options.max_seq_length = Some(length);
        Ok(length)
    }
}

impl RunSettings {
    /// The run's folder.
    ///
    /// # Errors
    /// None is given.
    pub fn folder(&self) -> Result<&Path> {
        required(&self.output, "run.output")
    }

    /// What a training step keeps of the inside of blocks.
    pub fn activations(&self) -> Activations {
        Activations::recomputed_if(self.gradient_checkpointing)
    }

    /// Where the run computes; of several devices, the first.
    pub fn place(&self) -> Place {
        Place { kind: self.backend, device: self.devices.first().copied().unwrap_or(self.device) }
    }

    /// The devices that only take a share of each training step.
    pub fn further_devices(&self) -> &[usize] {
        self.devices.get(1..).unwrap_or_default()
    }

    /// Refuses devices that cannot compute, before anything is read or downloaded for them.
    ///
    /// # Errors
    /// As [`Place::check`]; a device is named twice, or several are where the backend is not CUDA.
    pub fn check_devices(&self) -> Result<()> {
        let named = |device: &&usize| self.devices.iter().filter(|other| other == device).count() > 1;
        if let Some(twice) = self.devices.iter().find(named) {
            return Err(Error::settings(
                format!("the list of devices names device {twice} twice"),
                Remedy::say("give each number once"),
            ));
        }
        if !self.further_devices().is_empty() && self.backend.resolved() != BackendKind::Cuda {
            return Err(Error::settings(
                format!(
                    "several devices train together on the backend cuda alone, but the backend is {}",
                    self.backend.resolved().name()
                ),
                Remedy::Either(vec![
                    Remedy::say("give one device"),
                    Remedy::Set("run.backend", BackendKind::Cuda.name().into()),
                ]),
            ));
        }
        self.place().check()?;
        self.further_devices().iter().try_for_each(|device| Place { device: *device, ..self.place() }.check())
    }

    /// How a whole model is written.
    pub fn save_format(&self) -> SaveFormat {
        SaveFormat { dtype: self.dtype, max_shard_size: self.max_shard_size }
    }
}

fn required<'a>(path: &'a Option<PathBuf>, key: &'static str) -> Result<&'a Path> {
    path.as_deref().ok_or_else(|| Error::settings("a setting is missing", Remedy::Give(key)))
}

fn not_toml(error: &toml::ser::Error) -> Error {
    Error::settings(format!("the settings cannot be written as TOML ({error})"), Remedy::None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = file("[training]\nbatch_size = 3\nepochs = 7\n[lora]\nr = 4\n");
        let flags = Layer::default().with("training", &json!({"epochs": 2})).unwrap();
        let settings = Settings::resolve(Origin::File(file.path()), flags).unwrap();
        assert_eq!((settings.training.batch_size, settings.training.epochs, settings.lora.r), (3, 2, 4));
        assert_eq!(settings.training.learning_rate, TrainingConfig::default().learning_rate);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused_by_name() {
        let full = Layer::default()
            .with("model", &json!({"tuning": "full"}))
            .and_then(|layer| layer.with("lora", &json!({"r": 4})))
            .unwrap();
        let said = Settings::resolve(Origin::Defaults, full).unwrap_err().to_string();
        assert!(said.contains("some are given (r)"), "{said}");
        for (text, word) in [
            ("[training]\nbatchsize = 3\n", "batchsize"),
            ("[modle]\npath = \"x\"\n", "modle"),
            ("[data]\nprompt_template = \"no answer {input}\"\n", "output"),
            ("[data]\nvalidation_fraction = 1.0\n", "validation_fraction"),
            ("[training]\nbatch_size = 0\n", "batch_size"),
            ("[data]\nvalidation_limit = 0\n", "validation_limit"),
            ("[answers]\nmax_new_tokens = 0\n", "max_new_tokens"),
            ("[run]\nmax_shard_size = \"500\"\n", "500MB"),
            ("[lora.rank_pattern]\nquery = 3\n", "query"),
            ("[lora.rank_pattern]\nq_proj = 0\n", "rank_pattern: q_proj"),
            ("[lora]\nr = -1\n", "line 2"),
            ("[model]\ntuning = \"full\"\nadapter = \"a\"\n", "merge it first"),
        ] {
            let file = file(text);
            let error =
                Settings::resolve(Origin::File(file.path()), Layer::default()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn what_a_file_holds_is_quoted_shortly_and_in_plain_words() {
        for text in [
            format!("[training]\nbatch_size = \"{}\"\n", "x".repeat(100_000)),
            format!("[training]\n{} = 1\n", "x".repeat(100_000)),
            "[training]\nbatch_size = \"\\u001b[2J\\u0007\"\n".to_string(),
            "[training]\nbatch_size = \u{1b}[2J\n".to_string(),
            "[training]\nbatch_size = 1.5\nseed = []\n".to_string(),
            "[training]\nbatch_size = -1\n".to_string(),
            "training = 3\n".to_string(),
            "[lora.rank_pattern]\nq_proj = \"x\"\n".to_string(),
            format!("x = {}", "[".repeat(100_000)),
        ] {
            let file = file(&text);
            let said =
                Settings::resolve(Origin::File(file.path()), Layer::default()).unwrap_err().to_string();
            let said =
                said.strip_prefix(&format!("the settings {} are wrong: ", file.path().display())).unwrap();
            let harmful = |character: char| character.is_control();
            assert!(said.starts_with("line ") && !said.contains(harmful), "{said:?}");
            assert!(said.chars().count() < 500, "{} characters: {said:.600}", said.chars().count());
            for word in ["usize", "u64", "f64", "struct", &"x".repeat(90)] {
                assert!(!said.contains(word), "{word}: {said}");
            }
        }
    }

    #[test]
    fn a_saved_file_reads_back_as_the_same_settings() {
        let mut settings = Settings::default();
        settings.model.path = Some("base".into());
        settings.training.max_steps = Some(5);
        settings.lora.rank_pattern = [("h.0.mlp.c_fc".parse().unwrap(), 3)].into();
        settings.lora.alpha_pattern = [("q_proj".parse().unwrap(), 8.5)].into();
        settings.run.max_shard_size = Some("500MB".parse().unwrap());
        settings.data.options.prompt_template = "Q: {input}\nA: {output}".parse().unwrap();
        let file = file(&settings.to_toml().unwrap());
        let read = Settings::resolve(Origin::File(file.path()), Layer::default()).unwrap();
        assert_eq!(read.differences(&settings).unwrap(), Vec::<String>::new());
        assert_eq!(read.to_toml().unwrap(), settings.to_toml().unwrap());
    }

    #[test]
    fn differences_are_named_by_section_and_key() {
        let mut other = Settings::default();
        other.training.max_steps = Some(5);
        other.lora.r = 3;
        assert_eq!(Settings::default().differences(&other).unwrap(), ["lora.r", "training.max_steps"]);
    }

    #[test]
    fn the_longest_text_is_bounded_by_the_models_positions() {
        let mut data = DataSettings::default();
        assert_eq!(data.clone().resolve_length(None).unwrap(), 256);
        assert_eq!(data.clone().resolve_length(Some(64)).unwrap(), 64);
        data.options.max_seq_length = Some(65);
        assert!(data.resolve_length(Some(64)).unwrap_err().to_string().contains("64 or less"));
    }
}
