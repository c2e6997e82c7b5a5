//! What can go wrong around a training run: each error says what was expected, what was found and what to do.

use std::path::{Path, PathBuf};

use gptneo_datasets::DataError;
use gptneo_files::FileError;
use gptneo_model::ModelError;

/// How many records an error names before it only counts the rest.
const LISTED: usize = 16;
/// What the numbers of records mean: they are not a file's own where records are left out, or where there are more files.
const COUNTED: &str = "counted from 1 over all that were kept";

/// An error of training or evaluating.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The model, its adapter or their files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The records, their tokens or batches.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The system starts too few threads.
    #[error(
        "a training takes {needed} threads beside its own, but the system starts no more: {source}. Let the program have \
         more threads, or end others"
    )]
    Threads {
        /// How many are needed.
        needed: usize,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Settings that do not work, alone or together.
    #[error("these settings do not work: {0}")]
    Settings(String),
    /// A setting outside its range.
    #[error("{name} is {found}; expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The value given.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// The loss of a step, or its gradient, is no number.
    #[error(
        "step {step}: the loss ({loss}) or its gradient is not a finite number{}. Lower the learning rate, or train \
         in float32",
        of_texts(records)
    )]
    NonFinite {
        /// The step, from 1.
        step: usize,
        /// The loss as computed.
        loss: f64,
        /// The records of the step's batches, from 1; empty for a validation.
        records: Vec<usize>,
    },
    /// The gradients of half precision are no numbers, and it is not for too large a loss scale.
    #[error(
        "step {step}: the gradients are not finite in f16, not even with the loss scaled by no more than 1{}. Train in \
         bf16 or f32, or lower the learning rate",
        of_texts(records)
    )]
    LossScaleExhausted {
        /// The step, from 1.
        step: usize,
        /// The records of the step's batches, from 1.
        records: Vec<usize>,
    },
    /// An optimizer step with nothing to learn from: its mean loss would be 0 / 0.
    #[error(
        "step {step} has no supervised token; expected at least one. Allow longer texts, give more texts to a step, \
         or leave out {}",
        listed(records)
    )]
    NothingSupervised {
        /// The step, from 1.
        step: usize,
        /// The records of the step's batches, from 1.
        records: Vec<usize>,
    },
    /// The losses of whole examples are no numbers.
    #[error(
        "the loss of {} is not finite; expected finite numbers. The model's weights or the device's arithmetic \
         are at fault: evaluate in float32, or take an earlier checkpoint",
        listed(records)
    )]
    NonFiniteScore {
        /// The records, from 1.
        records: Vec<usize>,
    },
    /// Nothing to take a mean over.
    #[error(
        "{examples} examples have no token that {measure} counts; expected at least one. Give records that have some, \
         or a larger longest length where texts are cut before them"
    )]
    NoTokens {
        /// What was to be measured.
        measure: &'static str,
        /// How many examples there were.
        examples: usize,
    },
    /// A checkpoint that cannot be continued from.
    #[error("the checkpoint {} cannot be used: {reason}", path.display())]
    Checkpoint {
        /// Its folder or file.
        path: PathBuf,
        /// What was expected and found, and what to do.
        reason: String,
    },
    /// A checkpoint whose files are not as they were written.
    #[error(
        "the checkpoint {} is damaged: {fault}. Remove that folder, and the run {}",
        path.display(), going_on(*before)
    )]
    DamagedCheckpoint {
        /// Its folder.
        path: PathBuf,
        /// The file and what is wrong with it.
        fault: String,
        /// The step of the checkpoint before it.
        before: Option<usize>,
    },
    /// A row of a run's log that is none.
    #[error(
        "{}, line {line}: expected a row as the others: {reason}. Repair or remove that line",
        path.display()
    )]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser found.
        reason: String,
    },
}

impl TrainingError {
    /// An [`TrainingError::Io`] for `path`, as a closure for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A [`TrainingError::Setting`] for a word that is none of `names`.
    pub(crate) fn unknown_name(name: &'static str, found: &str, names: &[&str]) -> Self {
        Self::Setting { name, found: format!("{found:?}"), expected: names.join(" or ") }
    }
}

impl From<FileError> for TrainingError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

fn going_on(before: Option<usize>) -> String {
    match before {
        Some(step) => format!("goes on from step {step}, whose checkpoint is there"),
        None => "begins again with its first step, as there is no checkpoint before it".into(),
    }
}

fn of_texts(records: &[usize]) -> String {
    if records.is_empty() { String::new() } else { format!("; look at its texts, {}", listed(records)) }
}

fn listed(records: &[usize]) -> String {
    let shown: Vec<String> = records.iter().take(LISTED).map(usize::to_string).collect();
    let what = if records.len() == 1 { "record" } else { "records" };
    match records.len().saturating_sub(LISTED) {
        0 => format!("{what} {} ({COUNTED})", shown.join(", ")),
        more => format!("{what} {} and {more} more ({COUNTED})", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_named_up_to_a_limit() {
        let error = TrainingError::NonFinite { step: 7, loss: f64::NAN, records: (1..21).collect() };
        let text = error.to_string();
        assert!(text.starts_with("step 7: the loss (NaN)"), "{text}");
        assert!(text.contains("15, 16 and 4 more"), "{text}");
        let none = TrainingError::NonFinite { step: 7, loss: 1.0, records: vec![] }.to_string();
        assert!(!none.contains("records"), "{none}");
        let one = TrainingError::NonFiniteScore { records: vec![3] }.to_string();
        assert!(one.starts_with("the loss of record 3 (counted from 1 over all that were kept) is"), "{one}");
    }
}
