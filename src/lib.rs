//! Fine-tuning GPT-Neo with LoRA on questions and answers: train, measure honestly, merge with proof, ask.
//!
//! ```
//! use gptneo_lora::{Base, FineTune, Record, TrainingConfig};
//!
//! let records = vec![
//!     Record::new("Which organ pumps blood?", "The heart pumps blood."),
//!     Record::new("What do the lungs take in?", "The lungs take in oxygen."),
//! ];
//! let tuned = FineTune::of(Base::embedded())
//!     .training(TrainingConfig { max_steps: Some(3), ..Default::default() })
//!     .on(records)?;
//! println!("{}", tuned.model().answer("Which organ pumps blood?")?);
//!
//! # let out = tempfile::tempdir().expect("a temporary folder");
//! # let out = out.path();
//! tuned.save_adapter(out.join("adapter"))?; // PEFT loads it
//! tuned.merge()?.save(out.join("merged"))?; // transformers loads it
//! # Ok::<(), gptneo_lora::Error>(())
//! ```
//!
//! [`FineTune`] is the short way: a [`Base`], records in memory, a [`Tuned`] model back. The rooms behind it:
//!
//! - [`run`]: the whole recipe, from [`settings`] and files to one folder with adapter, merged model, tables, charts and
//!   report, as the program `gptneo-lora` does it. Its parts can be had alone.
//! - [`settings`]: every setting of a run, its default, and the file that holds it.
//! - [`backend`]: what computes. The types are generic over Burn's backends and default to the CPU's.
//!
//! Below stand crates of their own: [`model`] (the network, its files, generation), [`datasets`] (records to batches),
//! [`training`] (the training loop and the measures) and [`mod@report`] (tables, charts, page and card).
//!
//! The library reads local files, prints nothing and ends nothing: an [`Error`] tells what was found, what was expected
//! and, as a [`Remedy`], what to do, in terms of settings. A program that trains calls [`use_whole_machine`] first.

pub mod backend;
pub mod run;
pub mod settings;

use std::fmt;
use std::path::PathBuf;

use gptneo_datasets::DataError;
use gptneo_files::{ClaimError, FileError};
use gptneo_model::ModelError;
use gptneo_report::ReportError;
use gptneo_training::TrainingError;
use gptneo_training::measure::{ExportProof, MergeProof};

pub use gptneo_datasets::{self as datasets, DataOptions, PromptTemplate, Record};
pub use gptneo_model::generate::GenerationConfig;
pub use gptneo_model::{self as model, LoraConfig, SamplingConfig};
pub use gptneo_report as report;
pub use gptneo_training::{self as training, TrainingConfig};

pub use self::backend::use_whole_machine;
pub use self::run::{Base, FineTune, Model, Tuned};

// Errors stand on the crate's front page: every room names them, and a caller sees them first.

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings ask for something that cannot be; asked for again, it fails again.
    #[error(transparent)]
    Settings(#[from] Problem),
    /// There is nothing to compute on, or it computes wrongly.
    #[error("{0}")]
    Device(Problem),
    /// A folder or a file is not what it should be.
    #[error("{0}")]
    Input(Problem),
    /// A merged model does not compute what the base with its adapter does; nothing was written.
    #[error(
        "the merged model is not the base with its adapter: over {} prompts the logits differ by up to {:.3e}, where \
         {:.3e} is allowed; nothing was written. The adapter's weights are likely damaged or huge",
        .0.prompts, .0.largest_difference, .0.tolerance
    )]
    Merge(MergeProof),
    /// An exported model does not compute what the model does; nothing was written.
    #[error("the exported model is not the model, so nothing was written: {0}")]
    Export(Box<ExportProof>),
    /// A training run was stopped on request; everything needed to go on stands.
    #[error("interrupted after step {step}; the run in {} can go on from there", folder.display())]
    Interrupted {
        /// Steps done.
        step: usize,
        /// The run's folder.
        folder: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model, its adapter or their files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The records, their tokens or batches.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The training or a measurement.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A table, a picture, the page or the card of a run.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl Error {
    /// The settings ask for `what`, which cannot be.
    pub(crate) fn settings(what: impl Into<String>, remedy: Remedy) -> Self {
        Self::Settings(Problem { what: what.into(), remedy })
    }

    /// A device cannot be used.
    #[cfg(any(feature = "wgpu", feature = "cuda", test))]
    pub(crate) fn device(what: impl Into<String>, remedy: Remedy) -> Self {
        Self::Device(Problem { what: what.into(), remedy })
    }

    /// A folder or a file is not what it should be.
    pub(crate) fn input(what: impl Into<String>, remedy: Remedy) -> Self {
        Self::Input(Problem { what: what.into(), remedy })
    }

    /// What is wrong and the way out, where the error has them apart.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Settings(problem) | Self::Device(problem) | Self::Input(problem) => Some(problem),
            _ => None,
        }
    }
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        let what = error.to_string();
        match error {
            ClaimError::Busy { .. } => {
                Self::input(what, Remedy::say("wait until it ends, or write to another place"))
            }
            ClaimError::Used { .. } => {
                Self::settings(what, Remedy::say("give a new folder, so that nothing is overwritten"))
            }
            ClaimError::Exists { .. } => {
                Self::settings(what, Remedy::say("give a new file, so that nothing is overwritten"))
            }
            ClaimError::NoFolder { .. } => Self::settings(what, Remedy::say("give the path of a folder")),
            ClaimError::File(error) => error.into(),
        }
    }
}

/// Something wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: what was found and what was expected.
    pub what: String,
    /// What to do.
    pub remedy: Remedy,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remedy {
            Remedy::None => f.write_str(&self.what),
            _ => write!(f, "{}: {}", self.what, self.remedy),
        }
    }
}

impl std::error::Error for Problem {}

impl serde::Serialize for Problem {
    /// As it is displayed.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A way out. Settings are named by section and key, as in the settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// What is wrong says it all.
    None,
    /// Something that no setting does.
    Do(String),
    /// The setting has no value and needs one.
    Give(&'static str),
    /// Another value of the setting, which a phrase describes: "64 or less".
    Set(&'static str, String),
    /// Any other value of the setting.
    Change(&'static str),
    /// A lower value of the setting.
    Lower(&'static str),
    /// A higher value of the setting.
    Raise(&'static str),
    /// The setting's default.
    LeaveOut(&'static str),
    /// A build with this cargo feature.
    Feature(&'static str),
    /// All of these together.
    Both(Vec<Remedy>),
    /// Any of these.
    Either(Vec<Remedy>),
}

impl Remedy {
    /// A remedy in plain words.
    pub(crate) fn say(words: impl Into<String>) -> Self {
        Self::Do(words.into())
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, all: &[Remedy], between: &str| {
            all.iter().enumerate().try_for_each(|(number, remedy)| {
                write!(f, "{}{remedy}", if number == 0 { "" } else { between })
            })
        };
        match self {
            Self::None => Ok(()),
            Self::Do(words) => f.write_str(words),
            Self::Give(key) => write!(f, "set {key}"),
            Self::Set(key, value) => write!(f, "set {key} to {value}"),
            Self::Change(key) => write!(f, "set another {key}"),
            Self::Lower(key) => write!(f, "lower {key}"),
            Self::Raise(key) => write!(f, "raise {key}"),
            Self::LeaveOut(key) => write!(f, "leave {key} out"),
            Self::Feature(name) => write!(f, "build with the cargo feature {name}"),
            Self::Both(all) => join(f, all, " and "),
            Self::Either(all) => join(f, all, ", or "),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing {
    use std::env;
    use std::process::Command;

    /// Has the test of this path run in a process of its own, where no other test takes memory or draws; false within that
    /// process, where the test goes on.
    pub(crate) fn passed_to_a_process_of_its_own(test: &str) -> bool {
        const CHILD: &str = "GPTNEO_LORA_TEST_CHILD";
        if env::var_os(CHILD).is_some() {
            return false;
        }
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_way_out_in_terms_of_the_settings() {
        let remedy = Remedy::Either(vec![
            Remedy::Both(vec![
                Remedy::Lower("training.batch_size"),
                Remedy::Raise("training.grad_accumulation_steps"),
            ]),
            Remedy::Set("data.max_seq_length", "64 or less".into()),
        ]);
        let problem = Problem { what: "too large".into(), remedy };
        assert_eq!(
            problem.to_string(),
            "too large: lower training.batch_size and raise training.grad_accumulation_steps, or set \
             data.max_seq_length to 64 or less"
        );
        assert_eq!(Problem { what: "gone".into(), remedy: Remedy::None }.to_string(), "gone");
    }
}
