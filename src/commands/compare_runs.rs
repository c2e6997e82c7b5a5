//! `compare RUN RUN`: whether two runs' models differ on the same held-out answers by more than chance.

use std::path::Path;

use anyhow::{Context, Result};
use gptneo_report::{HeldOutRow, read_held_out};
use gptneo_training::evaluate::RecordLoss;
use gptneo_training::paired::{PairedDifference, Verdict};
use serde::Serialize;

use crate::failure::Misuse;
use crate::manifest::Manifest;
use crate::output;
use crate::run_folder::RunFolder;
use crate::settings::{DataSettings, Flags, Origin, Settings};

/// The table that `run` leaves for this.
pub(crate) const HELD_OUT: &str = "held_out_losses.csv";

/// A run as it is compared.
struct Measured {
    name: String,
    settings: Settings,
    manifest: Manifest,
    rows: Vec<HeldOutRow>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    runs: [RunLoss; 2],
    #[serde(flatten)]
    paired: PairedDifference,
    verdict: Verdict,
}

/// A run's loss on the held-out answers.
#[derive(Serialize)]
struct RunLoss {
    run: String,
    /// Nats per token of the answers, base and tuned.
    base_loss: f64,
    loss: f64,
}

/// Compares `second` with `first`.
///
/// # Errors
/// A folder that is no finished `run`, or runs that did not measure the same rows.
pub(crate) fn run(first: &Path, second: &Path, json: bool) -> Result<()> {
    let (first, second) = (Measured::read(first)?, Measured::read(second)?);
    refuse_other_rows(&first, &second)?;
    let paired = PairedDifference::of(&first.losses(), &second.losses())
        .ok_or_else(|| other(&first, &second, "they did not score the same records and tokens"))?;
    let report = Report { runs: [first.loss(), second.loss()], paired, verdict: paired.verdict() };
    if json { output::json(&report) } else { output::line(report.render()) }
}

impl Measured {
    fn read(path: &Path) -> Result<Self> {
        let file = path.join(HELD_OUT);
        if !file.is_file() {
            return Err(Misuse::error(format!(
                "{} has no {HELD_OUT}: give the folder of a run that `run` brought to its end",
                path.display()
            )));
        }
        let folder = RunFolder::existing(path)?;
        let manifest = path.join("manifest.json");
        let text = std::fs::read_to_string(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        Ok(Self {
            name: path.display().to_string(),
            settings: Settings::resolve(Origin::File(&folder.settings_file()), Flags::default())?,
            manifest: serde_json::from_str(&text)
                .with_context(|| format!("{} is not a manifest of this program", manifest.display()))?,
            rows: read_held_out(file)?,
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
        data: DataSettings { path: None, supervise: Default::default(), ..run.settings.data.clone() },
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

fn other(first: &Measured, second: &Measured, reason: &str) -> anyhow::Error {
    Misuse::error(format!(
        "{} and {} cannot be compared: {reason}; compare runs that measured the same rows",
        first.name, second.name
    ))
}

impl Report {
    fn render(&self) -> String {
        let [first, second] = &self.runs;
        let width = first.run.chars().count().max(second.run.chars().count()).max(10);
        let mut text = format!("{:<width$}  {:>12}\n", "response", "loss");
        text += &format!(
            "{:<width$}  {:>12.5}\n{:<width$}  {:>12.5}\n",
            first.run, first.loss, second.run, second.loss
        );
        let PairedDifference { difference, standard_error, records, tokens } = self.paired;
        let error = standard_error.map(|error| format!(" ± {error:.5}")).unwrap_or_default();
        text += &format!(
            "{:<width$}  {difference:>+12.5}{error} nats per token, on the same {records} answers ({tokens} tokens)\n",
            "difference"
        );
        let better = if difference < 0.0 { &second.run } else { &first.run };
        text += &match self.verdict {
            Verdict::Unknown => "one answer alone says nothing about others".to_string(),
            Verdict::WithinError => {
                "the difference is not larger than its standard error: these rows do not tell the runs apart"
                    .into()
            }
            Verdict::LargerThanError => format!(
                "the difference is larger than its standard error, but not than two: {better} may be better"
            ),
            Verdict::LargerThanTwice => {
                format!("the difference is larger than two standard errors: {better} is better on these rows")
            }
        };
        text
    }
}
