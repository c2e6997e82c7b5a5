//! The same run under several seeds: how much of a result is the seed's.
//!
//! Each seed decides the adapter's first weights, the order and the dropout of a run of its own in `seed-N`; the split is
//! that of the first seed for all, so that every run learns from the same records and is measured on the same others.

use std::ops::Range;
use std::path::{Path, PathBuf};

use gptneo_files::remove_dead;
use gptneo_report::{SpreadRow, write_spread};
use gptneo_training::metrics::MetricsRow;
use serde_json::json;

use super::folder::{RunFolder, refuse_used};
use super::measures::{Measures, Name};
use super::opening::Opening;
use crate::settings::{Layer, Settings};
use crate::{Error, Remedy, Result};

/// Where a seed's run goes, behind which its number stands.
const PREFIX: &str = "seed-";

/// How far each run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The whole way, with all measures.
    Whole,
    /// The training alone.
    Training,
}

/// Runs that differ in their seed alone.
pub struct Seeds {
    extent: Extent,
    folder: PathBuf,
    /// Those of the first seed.
    settings: Settings,
    /// What goes over the settings of a run that goes on.
    layer: Layer,
    seeds: Range<u64>,
}

impl Seeds {
    /// New runs under `count` seeds, from the settings' own on, in the folder that the settings name.
    ///
    /// # Errors
    /// No seed, or a used folder.
    pub fn new(settings: Settings, count: usize, extent: Extent) -> Result<Self> {
        let folder = settings.run.folder()?.to_path_buf();
        remove_dead(&folder)?;
        refuse_used(&folder)?;
        let seeds = seeds(settings.training.seed, count)?;
        Ok(Self { extent, folder, settings, layer: Layer::default(), seeds })
    }

    /// The runs in `folder` go on, those that came to their end aside; with `layer` over their own settings.
    ///
    /// # Errors
    /// There are none, or more; the first one's settings cannot be read, or those of `layer` would make other runs.
    pub fn resume(folder: &Path, layer: &Layer, count: usize, extent: Extent) -> Result<Self> {
        let (first, last) = begun_seeds(folder)?;
        let run = RunFolder::existing(run_folder(folder, first))?;
        let settings = run.settings_with(layer.clone())?;
        run.check_settings(&settings)?;
        let seeds = seeds(first, count)?;
        if last >= seeds.end {
            let what = format!("{} has runs up to {PREFIX}{last}, beyond {count} seeds", folder.display());
            return Err(Error::settings(what, Remedy::say("ask for as many seeds as there are, or more")));
        }
        Ok(Self { extent, folder: folder.to_path_buf(), settings, layer: layer.clone(), seeds })
    }

    /// The folder of all runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many seeds there are.
    pub fn count(&self) -> usize {
        (self.seeds.end - self.seeds.start) as usize
    }

    /// The runs that are still to be done, each with its seed, and opened when its turn comes.
    ///
    /// # Errors
    /// As [`Opening::new`] and [`Opening::resume`].
    pub fn openings(&self) -> impl Iterator<Item = Result<(u64, Opening)>> {
        self.seeds.clone().filter_map(|seed| Some(self.opening(seed).transpose()?.map(|run| (seed, run))))
    }

    /// The run of a seed; none where it came to its end before.
    fn opening(&self, seed: u64) -> Result<Option<Opening>> {
        let run = RunFolder::at(run_folder(&self.folder, seed));
        if self.extent.is_done(&run) {
            return Ok(None);
        }
        if run.settings_file().is_file() {
            let output = json!({ "output": run.path() });
            return Opening::resume(run.path(), self.layer.clone().with("run", &output)?).map(Some);
        }
        let first = RunFolder::at(run_folder(&self.folder, self.seeds.start));
        let opening = Opening::new(of_seed(&self.settings, &self.folder, self.seeds.start, seed))?;
        // The first one is not there yet before it begins.
        Ok(Some(if first.manifest_file().is_file() { opening.beside(first) } else { opening }))
    }

    /// Mean and spread of every measure over the runs, which have all come to their end; written to `seeds.csv` too.
    ///
    /// # Errors
    /// A run's table is missing or damaged, or the file cannot be written.
    pub fn summarise(&self) -> Result<Vec<SpreadRow>> {
        let all: Vec<Measures> = self
            .seeds
            .clone()
            .map(|seed| self.extent.measures(&RunFolder::at(run_folder(&self.folder, seed))))
            .collect::<Result<_>>()?;
        let names: Vec<&Name> = all.iter().take(1).flat_map(|one| &one.0).map(|(name, _)| name).collect();
        let rows: Vec<SpreadRow> = names
            .into_iter()
            .filter_map(|name| {
                let of =
                    |one: &Measures| one.0.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
                let values: Vec<f64> = all.iter().filter_map(of).collect();
                SpreadRow::of(&name.0, &name.1, &values)
            })
            .collect();
        write_spread(self.table(), &rows)?;
        Ok(rows)
    }

    /// The table of the measures.
    pub fn table(&self) -> PathBuf {
        self.folder.join("seeds.csv")
    }
}

/// The seeds from the first on.
fn seeds(first: u64, count: usize) -> Result<Range<u64>> {
    // A settings file has no whole number beyond that.
    const LARGEST: u64 = i64::MAX as u64;
    match first.checked_add(count as u64) {
        Some(end) if count > 0 && end - 1 <= LARGEST => Ok(first..end),
        _ => Err(Error::settings(
            format!("{count} seeds from {first} on cannot be had"),
            Remedy::Either(vec![Remedy::say("ask for at least one"), Remedy::Lower("training.seed")]),
        )),
    }
}

/// The settings of a seed's run.
fn of_seed(settings: &Settings, folder: &Path, first: u64, seed: u64) -> Settings {
    let mut settings = settings.clone();
    settings.data.split_seed = settings.data.split_seed.or(Some(first));
    settings.training.seed = seed;
    settings.run.output = Some(run_folder(folder, seed));
    settings
}

fn run_folder(folder: &Path, seed: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{seed}"))
}

/// The smallest seed that has a folder, and the largest.
fn begun_seeds(folder: &Path) -> Result<(u64, u64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let seeds = entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok());
    let seeds: Vec<u64> = seeds.collect();
    seeds.iter().copied().min().zip(seeds.iter().copied().max()).ok_or_else(|| {
        Error::settings(
            format!("there are no runs of several seeds in {}: it has no folder {PREFIX}N", folder.display()),
            Remedy::say("give the folder of such runs, or start new ones"),
        )
    })
}

impl Extent {
    /// Whether a run came to its end. Of a whole one, the page is the last that it writes, and the table of perplexities is
    /// only written after the training.
    fn is_done(self, run: &RunFolder) -> bool {
        match self {
            Self::Whole => run.performance_table().is_file() && run.report().is_file(),
            Self::Training => (run.adapter().exists() || run.merged().exists()) && run.report().is_file(),
        }
    }

    /// What a run measured.
    fn measures(self, run: &RunFolder) -> Result<Measures> {
        if self == Self::Whole {
            return Measures::read(run);
        }
        let (mut training, mut validation) = (None, None::<f64>);
        for row in run.metrics()? {
            match row {
                MetricsRow::Train(row) => training = Some(row.loss),
                MetricsRow::Validation(row) => {
                    validation = Some(validation.map_or(row.loss, |best| best.min(row.loss)));
                }
            }
        }
        let named = [("last training loss", training), ("best validation loss", validation)];
        let found =
            named.into_iter().filter_map(|(name, loss)| Some(((name.to_string(), String::new()), loss?)));
        Ok(Measures(found.collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn seeds_share_a_split_and_have_folders_of_their_own() {
        let mut settings = Settings::default();
        settings.training.seed = 7;
        let folder = Path::new("runs/a");
        let all: Vec<Settings> =
            seeds(7, 3).unwrap().map(|seed| of_seed(&settings, folder, 7, seed)).collect();
        assert_eq!(all.iter().map(|one| one.training.seed).collect::<Vec<_>>(), [7, 8, 9]);
        assert!(all.iter().all(|one| one.data_options().seed == 7));
        assert_eq!(all[2].run.output.as_deref(), Some(Path::new("runs/a/seed-9")));
        settings.data.split_seed = Some(1);
        assert_eq!(of_seed(&settings, folder, 7, 8).data_options().seed, 1);
        assert!(seeds(7, 0).is_err() && seeds(u64::MAX, 2).is_err());
        let largest = i64::MAX as u64;
        assert!(seeds(largest - 1, 2).is_ok() && seeds(largest - 1, 3).is_err());
    }

    #[test]
    fn a_folder_without_seeds_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let message =
            Seeds::resume(folder.path(), &Layer::default(), 2, Extent::Whole).err().unwrap().to_string();
        assert!(message.contains("no runs of several seeds"), "{message}");
        for seed in [12, 9] {
            std::fs::create_dir(run_folder(folder.path(), seed)).unwrap();
        }
        assert_eq!(begun_seeds(folder.path()).unwrap(), (9, 12));
    }
}
