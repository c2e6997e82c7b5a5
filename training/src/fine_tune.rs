//! The model as it is trained.

use burn::module::Module;
use burn::tensor::backend::Backend;
use gptneo_model::GptNeo;

/// A model under training. It wraps [`GptNeo`] because Burn's traits and the model are both of other crates.
#[derive(Module, Debug)]
pub(crate) struct FineTune<B: Backend> {
    /// The model, with its adapter if it has one.
    pub(crate) model: GptNeo<B>,
}
