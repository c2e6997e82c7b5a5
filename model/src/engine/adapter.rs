//! An adapter apart from a model, so that several can be over one base.

use std::path::Path;

use burn::tensor::backend::Backend;

use crate::adapter::load_adapter;
use crate::{GptNeo, Lora, ModelError};

/// The low-rank updates of all linear layers, in the order of [`GptNeo::linears`]; nothing where a layer has none.
#[derive(Clone, Debug)]
pub struct Adapter<B: Backend> {
    pub(crate) updates: Vec<Option<Lora<B>>>,
}

impl<B: Backend> Adapter<B> {
    /// The adapter of a folder, as PEFT writes it, for this base.
    ///
    /// # Errors
    ///
    /// As [`load_adapter`].
    pub fn load(base: &GptNeo<B>, folder: &Path, device: &B::Device) -> Result<Self, ModelError> {
        let (model, _) = load_adapter(base.clone(), folder, device)?;
        Ok(Self::of(model))
    }

    /// The adapter that a model carries.
    pub fn of(mut model: GptNeo<B>) -> Self {
        Self { updates: model.linears_mut().map(|(_, _, linear)| linear.lora.take()).collect() }
    }
}
