//! Runs on the same held-out answers: whether their models differ by more than chance, in loss and in what they know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gptneo_datasets::DataOptions;
use gptneo_report::{HeldOutRow, ScoreRow, read_scores};
use gptneo_training::measure::{Bootstrap, McNemar, PairedDifference, RecordLoss, Verdict};
use serde::Serialize;

use super::folder::RunFolder;
use super::manifest::Manifest;
use super::measures::Measures;
use crate::settings::{DataSettings, Settings};
use crate::{Error, Remedy, Result};

/// The measure of true answers told from others, as the table of scores has it.
const DISCRIMINATION: &str = "discrimination";

/// A run as it is compared.
struct Measured {
    name: String,
    settings: Settings,
    manifest: Manifest,
    rows: Vec<HeldOutRow>,
    scores: Vec<ScoreRow>,
    measures: BTreeMap<String, f64>,
}

/// What a comparison finds.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The runs, in the order given.
    pub runs: Vec<RunLoss>,
    /// The second's loss less the first's, row by row.
    #[serde(flatten)]
    pub paired: PairedDifference,
    /// What that says.
    pub verdict: Verdict,
    /// Every further run against the first; the second is the first of these.
    pub differences: Vec<RunDifference>,
}

/// A run's loss on the held-out answers, in nats per token of the answers, and its tuned model's other measures.
#[derive(Clone, Debug, Serialize)]
pub struct RunLoss {
    /// The run's folder.
    pub run: String,
    /// The base's loss.
    pub base_loss: f64,
    /// The tuned model's loss.
    pub loss: f64,
    /// The tuned model's measures, by name, as the run's tables have them.
    pub measures: BTreeMap<String, f64>,
}

/// One run against the first.
#[derive(Clone, Debug, Serialize)]
pub struct RunDifference {
    /// The run's folder.
    pub run: String,
    /// Its loss less the first's, row by row.
    #[serde(flatten)]
    pub paired: PairedDifference,
    /// What that says.
    pub verdict: Verdict,
    /// True answers told from others, question by question, where both runs have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discrimination: Option<McNemar>,
    /// Why the true answers told from others are not compared, where both runs have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_tasks: Option<String>,
    /// The scores of the answers, question by question, where both runs have them and chose them alike.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Bootstrap>,
    /// Why the answers are not compared, where both runs have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_alike: Option<String>,
}

/// Compares the runs in `folders`, at least two, with the first of them.
///
/// # Errors
/// A folder that is no finished run, or runs that did not measure the same rows.
pub fn compare_runs(folders: &[PathBuf]) -> Result<Comparison> {
    let all: Vec<Measured> = folders.iter().map(|folder| Measured::read(folder)).collect::<Result<_>>()?;
    let [first, others @ ..] = &all[..] else {
        return Err(Error::settings("there is no run to compare", Remedy::say("give two runs or more")));
    };
    let differences: Vec<RunDifference> =
        others.iter().map(|other| difference(first, other)).collect::<Result<_>>()?;
    let Some(RunDifference { paired, verdict, .. }) = differences.first() else {
        return Err(Error::settings("there is one run alone", Remedy::say("give two runs or more")));
    };
    let (paired, verdict) = (*paired, *verdict);
    Ok(Comparison { runs: all.iter().map(Measured::loss).collect(), paired, verdict, differences })
}

fn difference(first: &Measured, second: &Measured) -> Result<RunDifference> {
    refuse_other_rows(first, second)?;
    let paired = PairedDifference::of(&first.losses(), &second.losses())
        .ok_or_else(|| other(first, second, "they did not score the same records and tokens"))?;
    let mut measures: Vec<&String> = first.scores.iter().map(|row| &row.measure).collect();
    measures.dedup();
    let (mut discrimination, mut answers) = (None, BTreeMap::new());
    let mut other_tasks = None;
    let mut not_alike = chosen_otherwise(first, second);
    for measure in measures {
        let (one, two) = common(measure, first, second);
        if measure == DISCRIMINATION {
            let right = |values: &[f64]| values.iter().map(|value| *value > 0.5).collect::<Vec<_>>();
            other_tasks = told_from_others(first, second).filter(|_| !one.is_empty());
            discrimination =
                McNemar::of(&right(&one), &right(&two)).filter(|_| !one.is_empty() && other_tasks.is_none());
        } else if let Some(found) = Bootstrap::of(&one, &two).filter(|_| not_alike.is_none()) {
            answers.insert(measure.clone(), found);
        }
    }
    if first.scores.is_empty() || second.scores.is_empty() {
        not_alike = None;
    }
    Ok(RunDifference {
        run: second.name.clone(),
        paired,
        verdict: paired.verdict(),
        discrimination,
        other_tasks,
        answers,
        not_alike,
    })
}

/// What is otherwise in what two runs told their true answers from: among more of them, each is harder to tell.
fn told_from_others(first: &Measured, second: &Measured) -> Option<String> {
    let [one, two] = [first, second].map(|run| run.settings.answers.discriminate);
    (one != two).then(|| format!("wrong answers beside each: {one} and {two}"))
}

/// What is otherwise in how two runs chose the tokens of their answers: such answers tell of that, not of the models.
fn chosen_otherwise(first: &Measured, second: &Measured) -> Option<String> {
    let [one, two] = [first, second].map(|run| &run.settings.answers);
    let differences = [
        ("repetition penalty", one.repetition_penalty, two.repetition_penalty),
        ("longest answer", one.max_new_tokens as f64, two.max_new_tokens as f64),
    ];
    let told: Vec<String> = differences
        .into_iter()
        .filter(|(_, one, two)| one != two)
        .map(|(name, one, two)| format!("{name} {one} and {two}"))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The tuned models' scores of the records that both runs have.
fn common(measure: &str, first: &Measured, second: &Measured) -> (Vec<f64>, Vec<f64>) {
    let of = |run: &Measured| -> BTreeMap<usize, f64> {
        let rows = run.scores.iter().filter(|row| row.measure == measure);
        rows.map(|row| (row.record, row.tuned)).collect()
    };
    let (one, two) = (of(first), of(second));
    one.into_iter().filter_map(|(record, value)| Some((value, *two.get(&record)?))).unzip()
}

impl Measured {
    fn read(path: &Path) -> Result<Self> {
        let folder = RunFolder::at(path);
        let table = folder.held_out_scores_table();
        Ok(Self {
            name: path.display().to_string(),
            rows: folder.held_out()?,
            settings: folder.settings()?,
            manifest: folder.manifest()?,
            // A run from before they were measured has none.
            scores: if table.is_file() { read_scores(table)? } else { Vec::new() },
            measures: match folder.performance_table().is_file() {
                true => Measures::read(&folder)?.tuned(),
                false => BTreeMap::new(),
            },
        })
    }

    fn losses(&self) -> Vec<RecordLoss> {
        let rows = self.rows.iter();
        rows.map(|row| RecordLoss { record: row.record, loss: row.tuned, tokens: row.tokens }).collect()
    }

    fn loss(&self) -> RunLoss {
        let tokens = self.rows.iter().map(|row| row.tokens).sum::<u64>().max(1) as f64;
        let mean = |of: fn(&HeldOutRow) -> f64| self.rows.iter().map(of).sum::<f64>() / tokens;
        RunLoss {
            run: self.name.clone(),
            base_loss: mean(|row| row.base),
            loss: mean(|row| row.tuned),
            measures: self.measures.clone(),
        }
    }
}

/// Refuses runs whose losses are not about the same texts.
fn refuse_other_rows(first: &Measured, second: &Measured) -> Result<()> {
    let data = |run: &Measured| -> Vec<String> { run.manifest.inputs.data.values().cloned().collect() };
    if data(first) != data(second) {
        return Err(other(first, second, "their data files differ (the hashes in manifest.json)"));
    }
    // What is learned of a text does not change which tokens are the answer's; and the records say what was split how.
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
        let seed = |run: &Measured| run.settings.data_options().seed;
        let reason = format!(
            "they held out other records (the split follows the seed, here {} and {})",
            seed(first),
            seed(second)
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
