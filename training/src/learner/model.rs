//! How Burn's `Learner` trains and evaluates the model.

use burn::backend::Autodiff;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use gptneo_datasets::TokenBatch;
use gptneo_model::NeoBackend;

use crate::fine_tune::FineTune;
use crate::gradients::{batch_loss, gradients};
use crate::step_input::{StepInput, StepLoss};

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
