//! Prompts continued by a model of a folder.

use std::path::Path;
use std::time::Instant;

use gptneo_model::generate::{Generation, GenerationConfig, generate as continue_prompts};
use gptneo_model::{NeoBackend, WeightFormat};

use super::model_folder::ModelFolder;
use crate::Result;
use crate::backend::{Job, Place, dispatch};

/// What is continued, and how.
#[derive(Clone, Copy)]
pub struct Generate<'a> {
    /// The model.
    pub model: &'a ModelFolder,
    /// The folder of an adapter over it.
    pub adapter: Option<&'a Path>,
    /// The format that the weights are kept in.
    pub weights: WeightFormat,
    /// The prompts' tokens.
    pub prompts: &'a [Vec<u32>],
    /// How far and how.
    pub config: &'a GenerationConfig,
}

/// The texts in the prompts' order, and the seconds they took. `on_token` hears each new token as it comes: the prompt's
/// index and the token's id.
///
/// # Errors
/// The device lacks room, a file does not fit, or a prompt leaves no room for an answer.
pub fn generate(
    place: Place,
    what: Generate<'_>,
    on_token: &mut (dyn FnMut(usize, u32) + Send),
) -> Result<(Vec<Generation>, f64)> {
    what.config.sampling.validate()?;
    place.check_weights(what.weights)?;
    let longest = what.prompts.iter().map(Vec::len).max().unwrap_or_default();
    place.check_room_for(what.weights, what.model.config(), what.prompts.len(), longest)?;
    dispatch(place, Continue { what, on_token })
}

struct Continue<'a> {
    what: Generate<'a>,
    on_token: &'a mut (dyn FnMut(usize, u32) + Send),
}

impl Job for Continue<'_> {
    type Output = (Vec<Generation>, f64);

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        let Generate { model, adapter, weights, prompts, config } = self.what;
        let model = model.load_adapted::<B>(adapter, weights, &device)?;
        let started = Instant::now();
        let texts = continue_prompts(&model, prompts, config, self.on_token)?;
        Ok((texts, started.elapsed().as_secs_f64()))
    }
}
