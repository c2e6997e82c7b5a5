//! How Burn's `Learner` trains and evaluates the model.

use burn::backend::Autodiff;
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use gptneo_datasets::TokenBatch;
use gptneo_model::NeoBackend;

use crate::fine_tune::FineTune;
use crate::gradients::{batch_loss, gradients};
use crate::step_input::{PendingLoss, StepInput, StepLoss};

impl<B: NeoBackend> TrainStep for FineTune<Autodiff<B>> {
    type Input = StepInput;
    type Output = PendingLoss<B>;

    fn step(&self, input: StepInput) -> TrainOutput<PendingLoss<B>> {
        let tokens = input.supervised_tokens();
        let (grads, sums) = gradients(self, &input, tokens);
        TrainOutput { grads, item: PendingLoss { read: 0.0, sums, tokens } }
    }
}

impl<B: NeoBackend> InferenceStep for FineTune<B> {
    type Input = TokenBatch;
    type Output = StepLoss;

    fn step(&self, batch: TokenBatch) -> StepLoss {
        batch_loss(&self.model, &batch)
    }
}
