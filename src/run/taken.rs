//! A run's folder in the hands of one process: taken at once, held to the end, and, of a new run, appearing when the run
//! can be resumed from it.

use std::path::{Path, PathBuf};

use gptneo_files::{Claim, Lock, recover, remove_dead};

use super::folder::RunFolder;
use super::manifest::Manifest;
use crate::settings::Settings;
use crate::{Error, Remedy, Result};

/// A run's folder that no other process can write into as long as this lives. The system ends it with the process.
pub(crate) struct Taken {
    folder: RunFolder,
    /// The folder of a new run before it appears; dropped, it leaves nothing.
    claim: Option<Claim>,
    _lock: Lock,
}

impl Taken {
    /// The folder of a new run, which must be absent or empty.
    ///
    /// # Errors
    /// Another process has it, it holds something, or it cannot be made.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let folder = RunFolder::at(path);
        // A run that goes on there is told of as such, not as a folder that is not empty.
        let lock = folder.lock_file();
        if lock.is_file() && Lock::take(&lock).is_ok_and(|taken| taken.is_none()) {
            return Err(busy(folder.path()));
        }
        if folder.settings_file().is_file() {
            return Err(Error::settings(
                format!("{} holds a run", folder.path().display()),
                Remedy::say("resume it, or give a new folder, so that nothing is overwritten"),
            ));
        }
        let claim = Claim::new(folder.path())?;
        let lock = hold(&RunFolder::at(claim.folder()))?;
        Ok(Self { folder, claim: Some(claim), _lock: lock })
    }

    /// The folder of a run that has begun. What dead processes left unfinished in it is removed.
    ///
    /// # Errors
    /// There is no run, or another process has it.
    pub(crate) fn begun(path: &Path) -> Result<Self> {
        recover(path)?;
        let folder = RunFolder::existing(path)?;
        let lock = hold(&folder)?;
        remove_dead(folder.path())?;
        Ok(Self { folder, claim: None, _lock: lock })
    }

    /// The folder as it is named.
    pub(crate) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Where the run's files are written for the time being.
    pub(crate) fn room(&self) -> RunFolder {
        self.claim.as_ref().map_or_else(|| self.folder.clone(), |claim| RunFolder::at(claim.folder()))
    }

    /// Lets a new run begin: its folder appears with all that it needs to go on. Of a run that goes on, it is compared
    /// with what stands there.
    ///
    /// # Errors
    /// A file cannot be written, something else has come to be there, or a run cannot go on like this.
    pub(crate) fn begin(&mut self, settings: &Settings, manifest: &Manifest) -> Result<()> {
        match self.claim.take() {
            None => self.folder.check_continues(settings, manifest),
            Some(claim) => {
                RunFolder::at(claim.folder()).save(settings, manifest)?;
                Ok(claim.settle()?)
            }
        }
    }
}

/// The lock of a folder that has begun or is about to.
pub(super) fn hold(folder: &RunFolder) -> Result<Lock> {
    Lock::take(&folder.lock_file())?.ok_or_else(|| busy(folder.path()))
}

fn busy(folder: &Path) -> Error {
    Error::input(
        format!("another process is at work on the run in {}", folder.display()),
        Remedy::say("wait until it ends, or give another folder"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::run::folder::tests::manifest;

    fn message(taken: Result<Taken>) -> String {
        taken.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_run_is_there_when_it_can_be_resumed_and_no_sooner() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        let mut taken = Taken::new(&path).unwrap();
        assert!(message(Taken::new(&path)).contains("another process"));
        assert!(message(Taken::begun(&path)).contains("another process"));
        std::fs::write(taken.room().data(), "unpacked").unwrap();
        assert!(!path.exists());
        taken.begin(&Settings::default(), &manifest("a")).unwrap();
        assert!(path.join("settings.toml").exists() && path.join("data").exists());
        for taken in [Taken::new(&path), Taken::begun(&path)] {
            assert!(message(taken).contains("at work on the run"));
        }
        drop(taken);
        assert!(message(Taken::new(&path)).contains("holds a run"));
        std::fs::create_dir(path.join(".merged.partial")).unwrap();
        std::fs::write(path.join(".merged.partial/.lock"), "").unwrap();
        let mut taken = Taken::begun(&path).unwrap();
        assert!(!path.join(".merged.partial").exists());
        taken.begin(&Settings::default(), &manifest("a")).unwrap();
    }

    #[test]
    fn a_run_that_does_not_begin_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let taken = Taken::new(place.path().join("runs/first")).unwrap();
        std::fs::write(taken.room().data(), "unpacked").unwrap();
        drop(taken);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        assert!(message(Taken::begun(&place.path().join("runs/first"))).contains("settings.toml is missing"));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
