//! A model with its tokenizer and adapter from local folders, and the places where commands write new ones.

use std::path::Path;

use anyhow::Result;
use gptneo_datasets::Tokenizer;
use gptneo_model::adapter::load_adapter;
use gptneo_model::checkpoint::{check_loaded, load_model_for};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, WeightFormat};

use crate::backend::is_gpu;
use crate::failure::Misuse;

/// The shape of the model in `folder`.
///
/// # Errors
/// There is no such folder; or as [`GptNeoConfig::from_file`].
pub(crate) fn read_config(folder: &Path) -> Result<GptNeoConfig> {
    if !folder.is_dir() {
        anyhow::bail!(
            "there is no folder {}: give the folder of a model, or its name on the Hub, OWNER/NAME",
            folder.display()
        );
    }
    Ok(GptNeoConfig::from_folder(folder)?)
}

/// The tokenizer of a model's folder, which must fit the model.
///
/// # Errors
/// As [`Tokenizer::from_folder`]; or it has ids that the model has no embedding for.
pub(crate) fn read_tokenizer(folder: &Path, config: &GptNeoConfig) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::from_folder(folder)?;
    if tokenizer.vocab_size() > config.vocab_size {
        anyhow::bail!(
            "the tokenizer in {} has {} tokens, but the model's vocabulary has {}: they do not belong together",
            folder.display(),
            tokenizer.vocab_size(),
            config.vocab_size
        );
    }
    Ok(tokenizer)
}

/// The model of a folder. On a GPU the weights are read back and compared with the files.
///
/// # Errors
/// As [`load_model_for`]; or the GPU holds other numbers.
pub(crate) fn load_base<B: NeoBackend>(folder: &Path, device: &B::Device) -> Result<GptNeo<B>> {
    load_base_for(WeightFormat::F32, folder, device)
}

fn load_base_for<B: NeoBackend>(
    format: WeightFormat,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>> {
    let model = load_model_for::<B>(format, folder, device)?;
    if is_gpu::<B>(device) {
        check_loaded(&model, folder)?;
    }
    Ok(model)
}

/// The model of a folder, with the adapter where one is given.
///
/// # Errors
/// As [`load_base`] and [`load_adapter`].
pub(crate) fn load<B: NeoBackend>(
    folder: &Path,
    adapter: Option<&Path>,
    device: &B::Device,
) -> Result<GptNeo<B>> {
    load_for(WeightFormat::F32, folder, adapter, device)
}

/// As [`load`], with the weights in this format: for answers and measurements alone.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_for<B: NeoBackend>(
    format: WeightFormat,
    folder: &Path,
    adapter: Option<&Path>,
    device: &B::Device,
) -> Result<GptNeo<B>> {
    let model = load_base_for::<B>(format, folder, device)?;
    let model = match adapter {
        Some(adapter) => load_adapter(model, adapter, device)?.0,
        None => model,
    };
    Ok(model.with_weights(format))
}

/// Refuses an output folder that already holds something.
///
/// # Errors
/// The folder is not empty, is no folder, or cannot be read.
pub(crate) fn refuse_used(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(folder)
        .map_err(|error| Misuse::error(format!("cannot write to {}: {error}", folder.display())))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Misuse::error(format!(
            "{} is not empty: give a new folder, so that nothing is overwritten",
            folder.display()
        ))),
    }
}
