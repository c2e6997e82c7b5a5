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

use std::path::{Path, PathBuf};

use gptneo_datasets::{DataOptions, PromptTemplate};
use gptneo_lora::run::ModelFolder;
use gptneo_model::generate::GenerationConfig;

use crate::cli::{GenerationFlags, ReadFlags};
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

/// How texts are continued, with a warning where something says what to draw from and nothing is drawn.
fn generation(flags: &GenerationFlags) -> GenerationConfig {
    if flags.temperature == 0.0 && (flags.top_k.is_some() || flags.top_p.is_some()) {
        notes::warn(
            "--top-k and --top-p do nothing at a temperature of 0, which always takes the likeliest token: give \
             --temperature as well, 1 for example",
        );
    }
    GenerationConfig::from(flags)
}

/// The template to ask with: the one given, else that which the weights were tuned with.
fn prompt_template(
    given: Option<&PromptTemplate>,
    model: &ModelFolder,
    adapter: Option<&Path>,
) -> gptneo_lora::Result<PromptTemplate> {
    given.map_or_else(|| model.template(adapter), |given| Ok(given.clone()))
}

/// Has records become texts by the template that the weights were tuned with, where neither flags nor settings name
/// another than the recipe's.
fn read_as_tuned(
    options: &mut DataOptions,
    flags: &ReadFlags,
    model: &ModelFolder,
    adapter: Option<&Path>,
) -> gptneo_lora::Result<()> {
    if flags.prompt_template.is_none() && options.prompt_template == PromptTemplate::default() {
        options.prompt_template = model.template(adapter)?;
    }
    Ok(())
}

/// Says of records that were left out because they cannot be used how many they are, and what is wrong with the first.
fn warn_of_skipped(reasons: &[String]) {
    reasons.iter().for_each(|reason| notes::warn(format_args!("warning: {reason}")));
}
