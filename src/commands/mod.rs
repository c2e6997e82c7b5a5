//! The commands, a file each: flags to settings, settings to one library call, its result to the user.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod devices;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod init;
pub(crate) mod merge;
pub(crate) mod prepare;
pub(crate) mod push;
pub(crate) mod run;
pub(crate) mod serve;
mod served;
pub(crate) mod sweep;
pub(crate) mod train;

use std::path::PathBuf;

use gptneo_lora::run::ModelFolder;

use crate::terminal::notes;

/// The model of a folder, with a note where something in it is not used.
///
/// # Errors
/// As [`ModelFolder::open`].
fn open_model(folder: PathBuf) -> gptneo_lora::Result<ModelFolder> {
    let model = ModelFolder::open(folder)?;
    if let Some(note) = model.note() {
        notes::say(note);
    }
    Ok(model)
}

/// Says of records that were left out because they cannot be used how many they are, and what is wrong with the first.
fn warn_of_skipped(reasons: &[String]) {
    reasons.iter().for_each(|reason| notes::warn(format_args!("warning: {reason}")));
}
