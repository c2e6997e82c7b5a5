//! What a forward pass keeps for the backward pass: gradient checkpointing (Chen et al. 2016, "Training deep nets with
//! sublinear memory cost"), with a block as the stretch that is computed again.

use burn::tensor::backend::Backend;

use crate::GptNeo;

/// What a training step keeps of the inside of blocks between its forward and its backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// All that the backward pass reads.
    #[default]
    Kept,
    /// Nothing: of each block what enters it is kept, and its inside is computed again when the backward pass comes to it.
    Recomputed,
}

impl Activations {
    /// As gradient checkpointing says.
    pub fn recomputed_if(gradient_checkpointing: bool) -> Self {
        if gradient_checkpointing { Self::Recomputed } else { Self::Kept }
    }
}

impl<B: Backend> GptNeo<B> {
    /// The model, to be trained in this way. Losses and gradients are the same either way, to the last bit.
    ///
    /// It is for whoever takes the step: [`GptNeo::hidden`] on an autodiff backend keeps all.
    #[must_use]
    pub fn with_activations(mut self, activations: Activations) -> Self {
        self.activations = activations;
        self
    }

    /// What a training step keeps.
    pub fn activations(&self) -> Activations {
        self.activations
    }
}
