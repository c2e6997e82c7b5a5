//! A folder's model at work on a thread of its own, with adapters of other folders over it.

use std::path::PathBuf;

use gptneo_model::engine::{Engine, EngineLimits};
use gptneo_model::{NeoBackend, WeightFormat};

use super::model_folder::ModelFolder;
use crate::Result;
use crate::backend::{Job, Place, dispatch};

/// What the engine answers with.
#[derive(Clone, Copy)]
pub struct Served<'a> {
    /// The base.
    pub model: &'a ModelFolder,
    /// Adapters over it: their names, and their folders.
    pub adapters: &'a [(String, PathBuf)],
    /// The format that the base's weights are kept in.
    pub weights: WeightFormat,
    /// How much the engine takes on.
    pub limits: EngineLimits,
}

/// Loads the model and its adapters and starts the engine.
///
/// # Errors
/// The device lacks room, a file does not fit, or a limit is 0.
pub fn start_engine(place: Place, served: Served<'_>) -> Result<Engine> {
    place.check_weights(served.weights)?;
    let EngineLimits { max_batch, prompt_chunk, .. } = served.limits;
    place.check_room_for(served.weights, served.model.config(), max_batch, prompt_chunk)?;
    dispatch(place, served)
}

impl Job for Served<'_> {
    type Output = Engine;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Engine> {
        let (model, adapters) = self.model.load_with::<B>(self.adapters, self.weights, &device)?;
        Ok(Engine::start(model, adapters, self.limits)?)
    }
}
