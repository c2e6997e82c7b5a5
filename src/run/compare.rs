//! Two runs on the same held-out answers: whether their models differ by more than chance.

use std::path::Path;

use gptneo_datasets::DataOptions;
use gptneo_report::HeldOutRow;
use gptneo_training::measure::{PairedDifference, RecordLoss, Verdict};
use serde::Serialize;

use super::folder::RunFolder;
use super::manifest::Manifest;
use crate::error::{Error, Remedy, Result};
use crate::settings::{DataSettings, Settings};

/// A run as it is compared.
struct Measured {
    name: String,
    settings: Settings,
    manifest: Manifest,
    rows: Vec<HeldOutRow>,
}

/// What a comparison finds.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The two runs, in the order given.
    pub runs: [RunLoss; 2],
    /// The second's loss less the first's, row by row.
    #[serde(flatten)]
    pub paired: PairedDifference,
    /// What that says.
    pub verdict: Verdict,
}

/// A run's loss on the held-out answers, in nats per token of the answers.
#[derive(Clone, Debug, Serialize)]
pub struct RunLoss {
    /// The run's folder.
    pub run: String,
    /// The base's loss.
    pub base_loss: f64,
    /// The tuned model's loss.
    pub loss: f64,
}

/// Compares the run in the folder `second` with the one in `first`.
///
/// # Errors
/// A folder that is no finished run, or runs that did not measure the same rows.
pub fn compare_runs(first: &Path, second: &Path) -> Result<Comparison> {
    let (first, second) = (Measured::read(first)?, Measured::read(second)?);
    refuse_other_rows(&first, &second)?;
    let paired = PairedDifference::of(&first.losses(), &second.losses())
        .ok_or_else(|| other(&first, &second, "they did not score the same records and tokens"))?;
    Ok(Comparison { runs: [first.loss(), second.loss()], paired, verdict: paired.verdict() })
}

impl Measured {
    fn read(path: &Path) -> Result<Self> {
        let folder = RunFolder::at(path);
        Ok(Self {
            name: path.display().to_string(),
            rows: folder.held_out()?,
            settings: folder.settings()?,
            manifest: folder.manifest()?,
        })
    }

    fn losses(&self) -> Vec<RecordLoss> {
        let rows = self.rows.iter();
        rows.map(|row| RecordLoss { record: row.record, loss: row.tuned, tokens: row.tokens }).collect()
    }

    fn loss(&self) -> RunLoss {
        let tokens = self.rows.iter().map(|row| row.tokens).sum::<u64>().max(1) as f64;
        let mean = |of: fn(&HeldOutRow) -> f64| self.rows.iter().map(of).sum::<f64>() / tokens;
        RunLoss { run: self.name.clone(), base_loss: mean(|row| row.base), loss: mean(|row| row.tuned) }
    }
}

/// Refuses runs whose losses are not about the same texts.
fn refuse_other_rows(first: &Measured, second: &Measured) -> Result<()> {
    let data = |run: &Measured| -> Vec<String> { run.manifest.inputs.data.values().cloned().collect() };
    if data(first) != data(second) {
        return Err(other(first, second, "their data files differ (the hashes in manifest.json)"));
    }
    // What is learned of a text does not change which tokens are the answer's.
    let texts = |run: &Measured| Settings {
        data: DataSettings {
            options: DataOptions { supervise: Default::default(), ..run.settings.data.options.clone() },
            ..DataSettings::default()
        },
        ..Settings::default()
    };
    let differences = texts(first).differences(&texts(second))?;
    if !differences.is_empty() {
        let reason = format!("their texts were made with other settings: {}", differences.join(", "));
        return Err(other(first, second, &reason));
    }
    let records = |run: &Measured| -> Vec<usize> { run.rows.iter().map(|row| row.record).collect() };
    if records(first) != records(second) {
        let seeds = (first.manifest.seed, second.manifest.seed);
        let reason = format!(
            "they held out other records (the split follows the seed, here {} and {})",
            seeds.0, seeds.1
        );
        return Err(other(first, second, &reason));
    }
    Ok(())
}

fn other(first: &Measured, second: &Measured, reason: &str) -> Error {
    Error::settings(
        format!("{} and {} cannot be compared: {reason}", first.name, second.name),
        Remedy::say("compare runs that measured the same rows"),
    )
}
