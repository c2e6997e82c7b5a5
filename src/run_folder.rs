//! A run's folder: taken once, so that no run overwrites another, and read again to go on.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gptneo_files::write_file;

use crate::failure::Misuse;
use crate::hub::Sources;
use crate::loading::refuse_used;
use crate::manifest::Manifest;
use crate::settings::{Flags, Origin, Settings};

const SETTINGS: &str = "settings.toml";
const MANIFEST: &str = "manifest.json";

/// What may change when a run goes on: where things are (the hashes say whether they are the same), what computes,
/// and how the result is written. Anything else would make it another run.
const MAY_CHANGE: [&str; 10] = [
    "model.path",
    "model.adapter",
    "data.path",
    "run.output",
    "run.backend",
    "run.device",
    "run.devices",
    "run.dtype",
    "run.max_shard_size",
    "run.tensorboard",
];

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A folder for a new run, which must be new or empty. It is made when the first file is written.
    ///
    /// # Errors
    /// The folder is not empty or cannot be read.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        refuse_used(path)?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// The folder of a run that is to go on.
    ///
    /// # Errors
    /// There is no run.
    pub(crate) fn existing(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_path_buf() };
        if !run.settings_file().is_file() {
            return Err(Misuse::error(format!(
                "there is no run to resume in {}: {SETTINGS} is missing; start one without --resume",
                path.display()
            )));
        }
        Ok(run)
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The saved settings.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.path.join(SETTINGS)
    }

    /// Writes the settings and the manifest, each whole or not at all.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub(crate) fn save(&self, settings: &Settings, manifest: &Manifest) -> Result<()> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot create the folder {}", self.path.display()))?;
        let mut manifest = serde_json::to_string_pretty(manifest)?;
        manifest.push('\n');
        write_text(&self.path.join(MANIFEST), &manifest)?;
        write_text(&self.settings_file(), &settings.to_toml()?)
    }

    /// Checks that going on with `settings` from the inputs of `manifest` continues the saved run.
    ///
    /// # Errors
    /// A setting that makes the run changed, or an input file did.
    pub(crate) fn check_continues(&self, settings: &Settings, manifest: &Manifest) -> Result<()> {
        let saved = Settings::resolve(Origin::File(&self.settings_file()), Flags::default())?;
        let mut changed = settings.differences(&saved)?;
        changed.retain(|key| !MAY_CHANGE.contains(&key.as_str()));
        if !changed.is_empty() {
            return Err(Misuse::error(format!(
                "--resume goes on with the settings of the run in {}, but these differ: {}; leave them out, or start \
                 a new run",
                self.path.display(),
                changed.join(", ")
            )));
        }
        let before = self.manifest()?;
        if before.inputs != manifest.inputs {
            anyhow::bail!(
                "the model, adapter or data changed since the run in {} began (their hashes in {MANIFEST} differ): \
                 bring the old files back, or start a new run",
                self.path.display()
            );
        }
        Ok(())
    }

    /// Where the run's model and data came from when it began.
    ///
    /// # Errors
    /// The manifest is missing or damaged.
    pub(crate) fn sources(&self) -> Result<Sources> {
        Ok(self.manifest()?.sources)
    }

    fn manifest(&self) -> Result<Manifest> {
        let path = self.path.join(MANIFEST);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a manifest of this program", path.display()))
    }
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(write_file(path, |file| file.write_all(text.as_bytes()))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manifest::{Counts, Inputs};

    fn manifest(hash: &str) -> Manifest {
        let data = [("data.json".to_string(), hash.to_string())].into();
        Manifest {
            version: "1".into(),
            burn: "2".into(),
            backend: "flex".into(),
            seed: 42,
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
