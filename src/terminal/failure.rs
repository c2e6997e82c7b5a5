//! How a command fails: the misuse marker, the printed chain of causes and the exit code.
//!
//! Exit code 2 means that the command was called wrongly and would fail again, as clap itself says it; 1 is for
//! everything else, 130 for a run that the user interrupted.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Error;
use gptneo_datasets::DataError;
use gptneo_model::ModelError;
use gptneo_training::TrainingError;

use super::{interrupt, notes, wording};

/// The command line or the settings file asks for something that cannot be.
#[derive(Debug)]
pub(crate) struct Misuse(String);

impl Misuse {
    /// The error with its message.
    pub(crate) fn error(message: impl Into<String>) -> Error {
        Error::new(Self(message.into()))
    }
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// The user stopped a training run; everything needed to go on stands.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// Steps done.
    pub(crate) step: usize,
    /// The run's folder.
    pub(crate) folder: PathBuf,
    /// The command that goes on with it.
    pub(crate) command: String,
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { step, folder, command } = self;
        write!(f, "interrupted after step {step}; {}", interrupt::goes_on(command, folder))
    }
}

impl std::error::Error for Interrupted {}

/// The error of a run, or of what goes on with it: an interrupt is told with the command that goes on.
pub(crate) fn of_run(command: impl Into<String>) -> impl FnOnce(gptneo_lora::Error) -> Error {
    move |error| match error {
        gptneo_lora::Error::Interrupted { step, folder } => {
            Interrupted { step, folder, command: command.into() }.into()
        }
        error => error.into(),
    }
}

/// As [`of_run`], of one of several runs that go on together in `whole`.
pub(crate) fn of_part(command: impl Into<String>, whole: &Path) -> impl FnOnce(gptneo_lora::Error) -> Error {
    move |error| match error {
        gptneo_lora::Error::Interrupted { step, .. } => {
            Interrupted { step, folder: whole.to_path_buf(), command: command.into() }.into()
        }
        error => error.into(),
    }
}

/// Prints the error with its causes to stderr and returns the exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    if is_closed_pipe(error) {
        // The reader, `head` for example, has what it wanted.
        return ExitCode::SUCCESS;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        notes::warn(interrupted);
        return ExitCode::from(130);
    }
    notes::warn(format_args!("error: {}", chain(error)));
    ExitCode::from(if is_misuse(error) { 2 } else { 1 })
}

/// The error and its causes, a line each; a cause that is already told is left out.
fn chain(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(wording::of_cause) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    text
}

/// Settings that a library refused are misuse as well.
fn is_misuse(error: &Error) -> bool {
    error.downcast_ref::<Misuse>().is_some() || error.chain().any(is_refused_setting)
}

fn is_refused_setting(cause: &(dyn std::error::Error + 'static)) -> bool {
    // Wrappers are transparent, so the chain steps over what they hold.
    match cause.downcast_ref::<gptneo_lora::Error>() {
        Some(gptneo_lora::Error::Settings(_)) => return true,
        Some(gptneo_lora::Error::Training(inner)) => return is_refused_setting(inner),
        Some(gptneo_lora::Error::Model(inner)) => return is_refused_setting(inner),
        Some(gptneo_lora::Error::Data(inner)) => return is_refused_setting(inner),
        _ => {}
    }
    match cause.downcast_ref::<TrainingError>() {
        Some(TrainingError::Settings(_) | TrainingError::Setting { .. } | TrainingError::NoTokens { .. }) => {
            return true;
        }
        Some(TrainingError::Model(inner)) => return is_refused_setting(inner),
        Some(TrainingError::Data(inner)) => return is_refused_setting(inner),
        _ => {}
    }
    let data = matches!(
        cause.downcast_ref::<DataError>(),
        Some(
            DataError::Setting { .. }
                | DataError::Template { .. }
                | DataError::UnknownFormat { .. }
                | DataError::NothingLeft { .. }
        )
    );
    let model = matches!(
        cause.downcast_ref::<ModelError>(),
        Some(ModelError::Lora(_) | ModelError::Generation(_) | ModelError::Precision { .. })
    );
    data || model
}

fn is_closed_pipe(error: &Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    error.chain().any(|cause| kind(cause) == Some(ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anyhow::Context;
    use gptneo_files::FileError;

    use super::*;

    #[test]
    fn misuse_is_known_beneath_context_and_in_library_errors() {
        let nested = Err::<(), _>(Misuse::error("no model")).context("settings").unwrap_err();
        assert!(is_misuse(&nested));
        assert!(is_misuse(&ModelError::Lora("rank".into()).into()));
        assert!(is_misuse(&TrainingError::Model(ModelError::Lora("rank".into())).into()));
        assert!(!is_misuse(&ModelError::NoWeights { path: "x".into() }.into()));
    }

    #[test]
    fn a_cause_that_is_already_told_is_not_told_twice() {
        let full = FileError::on("write", "file")(std::io::Error::other("no room"));
        let error = Error::new(ModelError::File(full));
        assert_eq!(chain(&error), "cannot write file: no room");
        let error = Error::msg("no room").context("saving failed");
        assert_eq!(chain(&error), "saving failed\n  because: no room");
    }
}
