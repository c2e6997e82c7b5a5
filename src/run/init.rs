//! A model with random weights, of a given shape.

use std::path::Path;

use gptneo_datasets::Tokenizer;
use gptneo_files::Claim;
use gptneo_model::adapter::count_parameters;
use gptneo_model::checkpoint::{Dtype, save_model};
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, WeightFormat};

use crate::backend::{Job, Load, Place, Work, dispatch};
use crate::{Error, Remedy, Result};

/// Refuses a shape that the machine has no memory for, or a tokenizer of more tokens than the shape has.
///
/// # Errors
/// One of these.
pub fn check(place: Place, config: &GptNeoConfig, tokens: usize) -> Result<()> {
    place.check_room(config, 0, 0)?;
    place.check_memory(&Load {
        model: config,
        weights: WeightFormat::F32,
        work: Work::Answering,
        positions: 0.0,
        smaller: Remedy::None,
    })?;
    if config.vocab_size < tokens {
        return Err(Error::settings(
            format!(
                "the configuration's vocab_size is {}, but the tokenizer has {tokens} tokens",
                config.vocab_size
            ),
            Remedy::say("set vocab_size to that or more, or take fewer tokens"),
        ));
    }
    Ok(())
}

/// Makes a model of shape `config` for the tokenizer, writes it into the folder that was claimed, and says how many
/// parameters it has. The same seed gives the same weights.
///
/// # Errors
/// As [`check`], or the folder cannot be written.
pub fn init(
    place: Place,
    config: &GptNeoConfig,
    tokenizer: &Tokenizer,
    seed: u64,
    output: Claim,
) -> Result<usize> {
    check(place, config, tokenizer.vocab_size())?;
    // A larger vocabulary is kept: GPT-Neo's own rows may be padded to a round number.
    let config = config.clone().with_vocabulary(config.vocab_size, tokenizer.end_of_text());
    let parameters = dispatch(place, Init { config, tokenizer, seed, folder: &output.folder() })?;
    output.settle()?;
    Ok(parameters)
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
