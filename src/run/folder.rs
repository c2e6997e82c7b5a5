//! A run's folder: read again to go on, to compare or to publish. The one place that knows the names of a run's files.
//! How a process comes to write into one stands in `taken.rs`.

use std::io::Write;
use std::path::{Path, PathBuf};

use gptneo_files::{FileError, in_plain_words, is_free, read_small_text, write_file};
use gptneo_report::{HeldOutRow, read_held_out};
use gptneo_training::metrics::{MetricsRow, read_metrics};
use gptneo_training::samples::{SampleRow, read_samples};

use super::manifest::{Inputs, Manifest};
use crate::settings::{Layer, Origin, Settings};
use crate::{Error, Remedy, Result};

/// What may change when a run goes on: where things are (the hashes say whether they are the same), what computes,
/// and how the result is written. Anything else would make it another run.
const MAY_CHANGE: [&str; 16] = [
    "model.path",
    "model.adapter",
    "data.path",
    "data.validation_data",
    "data.test_data",
    "run.output",
    "run.backend",
    "run.device",
    "run.devices",
    "run.gradient_checkpointing",
    "run.dtype",
    "run.max_shard_size",
    "run.tensorboard",
    "run.export",
    "run.gguf_type",
    "run.max_positions",
];

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// Defines where each file of a run stands.
macro_rules! files {
    ($($(#[$doc:meta])* $method:ident: $name:literal,)+) => {
        impl RunFolder {
            $($(#[$doc])* pub fn $method(&self) -> PathBuf { self.path.join($name) })+
        }
    };
}

files! {
    /// The settings, resolved.
    settings_file: "settings.toml",
    /// What the run was made from.
    manifest_file: "manifest.json",
    /// Every training step and every measurement.
    metrics_file: "metrics.jsonl",
    /// The questions that the model was asked while it learned, and its answers.
    samples_file: "samples.jsonl",
    /// What training goes on from.
    checkpoints: "checkpoints",
    /// The trained adapter, in PEFT's format.
    adapter: "adapter",
    /// The plain model: base and adapter as one, or what full tuning made.
    merged: "merged",
    /// The plain model for other engines.
    export: "export",
    /// Where an embedded base is unpacked.
    base: "base",
    /// Where embedded data are unpacked.
    data: "data",
    /// The curves, for TensorBoard.
    tensorboard: "tensorboard",
    /// The curve of the loss.
    loss_chart: "loss_chart.png",
    /// Loss and perplexity before and after.
    performance_table: "model_performance_comparison.csv",
    /// The perplexity before and after.
    perplexity_chart: "perplexity_chart.png",
    /// What each held-out answer lost before and after.
    held_out_table: "held_out_losses.csv",
    /// The answers before and after.
    answers_table: "generation_comparison.csv",
    /// The answers in numbers.
    answer_metrics_table: "answer_metrics.csv",
    /// What the models know, in numbers.
    knowledge_table: "what_it_knows.csv",
    /// What the models know, drawn.
    knowledge_chart: "knowledge_chart.png",
    /// What each held-out record scored before and after.
    held_out_scores_table: "held_out_scores.csv",
    /// What the process that writes into the folder has locked.
    lock_file: ".lock",
    /// The page that tells it all.
    report: "report.html",
    /// The model card.
    card: "README.md",
}

/// The file in a merged model's folder that proves the merge.
pub const MERGE_PROOF: &str = "merge_proof.json";
/// The file in an exported model's folder that proves the export.
pub const EXPORT_PROOF: &str = "export_proof.json";

impl RunFolder {
    /// A folder for a new run, which must be new or empty. It is made when the first file is written.
    ///
    /// # Errors
    /// The folder is not empty or cannot be read.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        refuse_used(&path)?;
        Ok(Self { path })
    }

    /// The folder of a run that has begun.
    ///
    /// # Errors
    /// There is no run.
    pub fn existing(path: impl Into<PathBuf>) -> Result<Self> {
        let run = Self { path: path.into() };
        if !run.settings_file().is_file() {
            let (what, remedy) = match runs_in(&run.path)[..] {
                [] => ("settings.toml is missing".into(), "give the folder of a run, or start a new one"),
                [.., ref last] => (
                    format!("it holds runs, such as {}", last.display()),
                    "give one of them, or, of several seeds, how many there are",
                ),
            };
            return Err(Error::settings(
                format!("there is no run in {}: {what}", run.path.display()),
                Remedy::say(remedy),
            ));
        }
        Ok(run)
    }

    /// A folder that may or may not hold a run.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the settings and the manifest, each whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, settings: &Settings, manifest: &Manifest) -> Result<()> {
        std::fs::create_dir_all(&self.path).map_err(FileError::on("create the folder", &self.path))?;
        write_text(&self.manifest_file(), &format!("{}\n", manifest.to_json()))?;
        write_text(&self.settings_file(), &settings.to_toml()?)
    }

    /// The settings that the run began with.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn settings(&self) -> Result<Settings> {
        self.settings_with(Layer::default())
    }

    /// The settings that the run began with, those of `layer` over them.
    ///
    /// # Errors
    /// As [`RunFolder::settings`]; or together they cannot be.
    pub fn settings_with(&self, layer: Layer) -> Result<Settings> {
        let file = self.settings_file();
        // What this program wrote and cannot read was not asked for by anybody.
        Settings::resolve(Origin::File(&file), Layer::default()).map_err(|error| match error {
            Error::Settings(problem) => Error::Input(problem),
            other => other,
        })?;
        Settings::resolve(Origin::File(&file), layer)
    }

    /// What the run was made from.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn manifest(&self) -> Result<Manifest> {
        let path = self.manifest_file();
        let text = read_small_text(&path).map_err(FileError::on("read", &path))?;
        serde_json::from_str(&text).map_err(|error| {
            let reason = in_plain_words(&error.to_string());
            let what = format!("{} is not a manifest of this program: {reason}", path.display());
            Error::input(what, Remedy::say("bring the file back, or start a new run"))
        })
    }

    /// The training steps and measurements so far.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn metrics(&self) -> Result<Vec<MetricsRow>> {
        Ok(read_metrics(self.metrics_file())?)
    }

    /// What the model answered while it learned; nothing where it was not asked.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn samples(&self) -> Result<Vec<SampleRow>> {
        let path = self.samples_file();
        if path.exists() { Ok(read_samples(path)?) } else { Ok(Vec::new()) }
    }

    /// What each held-out answer lost, of a run that was brought to its end.
    ///
    /// # Errors
    /// The table is missing or damaged.
    pub fn held_out(&self) -> Result<Vec<HeldOutRow>> {
        let path = self.held_out_table();
        if !path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::settings(
                format!("{} has no {name}", self.path.display()),
                Remedy::say("give the folder of a whole run that came to its end"),
            ));
        }
        Ok(read_held_out(path)?)
    }

    /// Checks that going on with `settings` from the inputs of `manifest` continues the saved run.
    ///
    /// # Errors
    /// A setting that makes the run changed, or an input file did.
    pub fn check_continues(&self, settings: &Settings, manifest: &Manifest) -> Result<()> {
        self.check_settings(settings)?;
        self.check_inputs(&manifest.inputs)
    }

    /// Refuses settings that make another run than this one.
    ///
    /// # Errors
    /// As said.
    pub(super) fn check_settings(&self, settings: &Settings) -> Result<()> {
        let mut changed = settings.differences(&self.settings()?)?;
        changed.retain(|key| !MAY_CHANGE.contains(&key.as_str()));
        if !changed.is_empty() {
            return Err(Error::settings(
                format!(
                    "a run goes on with its own settings, but of those in {} these differ: {}",
                    self.path.display(),
                    changed.join(", ")
                ),
                Remedy::say("leave them out, or start a new run"),
            ));
        }
        Ok(())
    }

    /// Refuses other inputs than this run was made from.
    ///
    /// # Errors
    /// As said.
    pub(super) fn check_inputs(&self, inputs: &Inputs) -> Result<()> {
        if self.manifest()?.inputs != *inputs {
            return Err(Error::input(
                format!(
                    "the model, its tokenizer, the adapter or data changed since the run in {} began (their hashes in \
                     its manifest.json differ)",
                    self.path.display()
                ),
                Remedy::say("bring the old files back, or start a new run"),
            ));
        }
        Ok(())
    }
}

/// The runs among the folders in a folder, in the order of their names.
fn runs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| RunFolder::at(path).settings_file().is_file())
        .collect();
    runs.sort();
    runs
}

/// Refuses an output folder that already holds something.
///
/// # Errors
/// The folder is not empty, is no folder, or cannot be read.
pub fn refuse_used(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        let what = format!("{} is no folder", folder.display());
        return Err(Error::settings(what, Remedy::say("give the path of a folder")));
    }
    match is_free(folder)? {
        true => Ok(()),
        false => Err(Error::settings(
            format!("{} is not empty", folder.display()),
            Remedy::say("give a new folder, so that nothing is overwritten"),
        )),
    }
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(write_file(path, |file| file.write_all(text.as_bytes()))?)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::manifest::{Counts, Inputs};
    use crate::run::source::Sources;

    pub(crate) fn manifest(hash: &str) -> Manifest {
        let data = [("data.json".to_string(), hash.to_string())].into();
        Manifest {
            version: "1".into(),
            burn: "2".into(),
            backend: "flex".into(),
            seed: 42,
            base_weights: Default::default(),
            inputs: Inputs { model: Default::default(), adapter: Default::default(), data },
            sources: Sources::default(),
            counts: Counts::default(),
        }
    }

    #[test]
    fn a_used_folder_is_refused_and_an_empty_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::new(folder.path()).unwrap();
        run.save(&Settings::default(), &manifest("a")).unwrap();
        let message = RunFolder::new(folder.path()).unwrap_err().to_string();
        assert!(message.contains("not empty"), "{message}");
    }

    #[test]
    fn a_run_goes_on_only_with_its_own_settings_and_inputs() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunFolder::existing(folder.path()).is_err());
        let mut settings = Settings::default();
        RunFolder::new(folder.path()).unwrap().save(&settings, &manifest("a")).unwrap();
        let run = RunFolder::existing(folder.path()).unwrap();
        settings.data.path = Some("moved/data.json".into());
        run.check_continues(&settings, &manifest("a")).unwrap();
        let message = run.check_continues(&settings, &manifest("b")).unwrap_err().to_string();
        assert!(message.contains("hashes"), "{message}");
        settings.lora.r = 3;
        let message = run.check_continues(&settings, &manifest("a")).unwrap_err().to_string();
        assert!(message.contains("lora.r"), "{message}");
    }
}
