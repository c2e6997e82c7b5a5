//! The model as Burn's `Learner` trains and evaluates it.

use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use gptneo_datasets::TokenBatch;
use gptneo_model::{GptNeo, NeoBackend};

use crate::step::{StepInput, StepLoss, batch_loss, gradients};

/// A model under training. It wraps [`GptNeo`] because Burn's traits and the model are both of other crates.
#[derive(Module, Debug)]
pub(crate) struct FineTune<B: Backend> {
    /// The model, with its adapter if it has one.
    pub(crate) model: GptNeo<B>,
}

impl ItemLazy for StepLoss {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl<B: NeoBackend> TrainStep for FineTune<Autodiff<B>> {
    type Input = StepInput;
    type Output = StepLoss;

    fn step(&self, input: StepInput) -> TrainOutput<StepLoss> {
        let tokens = input.supervised_tokens();
        let (grads, sum) = gradients(self, &input, tokens);
        TrainOutput { grads, item: StepLoss { sum, tokens } }
    }
}

impl<B: NeoBackend> InferenceStep for FineTune<B> {
    type Input = TokenBatch;
    type Output = StepLoss;

    fn step(&self, batch: TokenBatch) -> StepLoss {
        batch_loss(&self.model, &batch)
    }
}
