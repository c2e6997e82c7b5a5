//! A model with random weights, of a given shape.

use std::path::Path;

use gptneo_datasets::Tokenizer;
use gptneo_model::adapter::count_parameters;
use gptneo_model::checkpoint::{Dtype, save_model};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend};

use super::folder::refuse_used;
use crate::backend::{Job, Place, dispatch};
use crate::error::{Error, Remedy, Result};

/// Makes a model of shape `config` for the tokenizer, writes it into `folder`, which must be new or empty, and says how
/// many parameters it has. The same seed gives the same weights.
///
/// # Errors
/// The shape's vocabulary is smaller than the tokenizer's, the device lacks room, or the folder cannot be written.
pub fn init(
    place: Place,
    config: &GptNeoConfig,
    tokenizer: &Tokenizer,
    seed: u64,
    folder: &Path,
) -> Result<usize> {
    refuse_used(folder)?;
    place.check_room(config, 0, 0)?;
    if config.vocab_size < tokenizer.vocab_size() {
        return Err(Error::settings(
            format!(
                "the configuration's vocab_size is {}, but the tokenizer has {} tokens",
                config.vocab_size,
                tokenizer.vocab_size()
            ),
            Remedy::say("set vocab_size to that or more"),
        ));
    }
    // A larger vocabulary is kept: GPT-Neo's own rows may be padded to a round number.
    let config = config.clone().with_vocabulary(config.vocab_size, tokenizer.end_of_text());
    dispatch(place, Init { config, tokenizer, seed, folder })
}

struct Init<'a> {
    config: GptNeoConfig,
    tokenizer: &'a Tokenizer,
    seed: u64,
    folder: &'a Path,
}

impl Job for Init<'_> {
    type Output = usize;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<usize> {
        B::seed(&device, self.seed);
        let model = GptNeo::<B>::init(&self.config, &device);
        save_model(&model, self.folder, Dtype::F32, &self.tokenizer.files())?;
        Ok(count_parameters(&model).1)
    }
}
