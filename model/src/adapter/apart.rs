//! An adapter apart from a model, so that several can be over one base.

use std::path::Path;

use burn::tensor::backend::Backend;

use super::files::load_adapter;
use crate::{GptNeo, Lora, ModelError, Target};

/// The low-rank updates of all linear layers, in the order of [`GptNeo::linears`]; nothing where a layer has none.
#[derive(Clone, Debug)]
pub struct Adapter<B: Backend> {
    updates: Vec<Option<Lora<B>>>,
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

    /// Refuses a model whose layers are of other shapes than those that the adapter is for.
    pub(crate) fn check(&self, name: &str, model: &GptNeo<B>) -> Result<(), ModelError> {
        let layers = model.linears().count();
        if self.updates.len() != layers {
            let found = self.updates.len();
            return Err(ModelError::Lora(format!(
                "the adapter {name:?} is for a model of {found} linear layers, and this one has {layers}: take the base that \
                 it was trained on"
            )));
        }
        for ((path, _, linear), update) in model.linears().zip(&self.updates) {
            let Some(lora) = update else { continue };
            if lora.magnitude.is_some() {
                return Err(ModelError::Lora(format!(
                    "the adapter {name:?} is one with DoRA (use_dora), which changes the base's own rows and cannot be beside \
                     others: merge it into its base first"
                )));
            }
            let ([_, input], [output, _]) = (lora.a.lazy_shape().dims(), lora.b.lazy_shape().dims());
            let [expected_output, expected_input] = linear.weight.lazy_shape().dims();
            if [output, input] != [expected_output, expected_input] {
                return Err(ModelError::Lora(format!(
                    "the adapter {name:?} is for a {path} of {output} x {input}, and this model's is of \
                     {expected_output} x {expected_input}: take the base that it was trained on"
                )));
            }
        }
        Ok(())
    }

    /// The update of a linear layer.
    pub(crate) fn update(&self, layer: usize, target: Target) -> Option<&Lora<B>> {
        self.updates.get(layer * Target::ALL.len() + target as usize)?.as_ref()
    }
}
