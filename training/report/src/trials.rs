//! The trials of a sweep, a row each: what was tried, how far it was trained and what it reached.

use std::path::Path;

use gptneo_files::write_file;
use serde::Serialize;

use crate::error::ReportError;
use crate::table::cell;

/// The columns before those of the settings.
const BEFORE: [&str; 1] = ["Trial"];
/// The columns behind them.
const BEHIND: [&str; 5] = ["Steps", "Of", "Rungs", "Validation Loss", "Chosen"];

/// One trial of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialRow {
    /// Its number, from 1.
    pub trial: usize,
    /// The settings that it differs in: each key, and its value as the settings file has it.
    pub settings: Vec<(String, String)>,
    /// Optimizer steps done.
    pub steps: usize,
    /// Optimizer steps that its settings ask for.
    pub total_steps: usize,
    /// How many rungs it was trained for.
    pub rungs: usize,
    /// The lowest validation loss, in nats per token.
    pub validation_loss: Option<f64>,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// Writes the trials, a column for each setting that varies.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_trials(path: impl AsRef<Path>, rows: &[TrialRow]) -> Result<(), ReportError> {
    let keys = rows.iter().take(1).flat_map(|row| row.settings.iter().map(|(key, _)| key.as_str()));
    let header: Vec<&str> = BEFORE.into_iter().chain(keys).chain(BEHIND).collect();
    write_file(path.as_ref(), |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(&header)?;
        for row in rows {
            let values = row.settings.iter().map(|(_, value)| value.clone());
            let behind = [
                row.steps.to_string(),
                row.total_steps.to_string(),
                row.rungs.to_string(),
                cell(row.validation_loss),
                if row.chosen { "yes".into() } else { "no".into() },
            ];
            writer.write_record(std::iter::once(row.trial.to_string()).chain(values).chain(behind))?;
        }
        writer.flush()
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_varied_setting_has_its_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.csv");
        let row = TrialRow {
            trial: 2,
            settings: vec![
                ("lora.r".into(), "4".into()),
                ("lora.target_modules".into(), "[\"a\", \"b\"]".into()),
            ],
            steps: 5,
            total_steps: 20,
            rungs: 1,
            validation_loss: Some(2.5),
            chosen: false,
        };
        write_trials(&path, &[row]).unwrap();
        let expected = "Trial,lora.r,lora.target_modules,Steps,Of,Rungs,Validation Loss,Chosen\n\
                        2,4,\"[\"\"a\"\", \"\"b\"\"]\",5,20,1,2.5,no\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}
