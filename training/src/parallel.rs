//! One optimizer step on several devices: each takes its share of the step's texts, and the gradients add up on the
//! first.
//!
//! A device keeps the whole model. Before each step it gets the values that are trained, and gives their gradients
//! back: with LoRA a few megabytes, so that no library for collective communication is needed. Every share's loss is
//! divided by the supervised tokens of the whole step, so that the sum is the gradient of one large batch, however
//! unequal the shares are.
//!
//! Burn's own engines are not used. Its multi-device step copies the whole model, frozen weights too, for every step
//! and does not weight the gradients; its distributed one is for NCCL, and its feature takes the gradients away from
//! the CPU backends of the same build.

use std::panic::resume_unwind;
use std::thread;

use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::train::TrainOutput;
use gptneo_model::{NeoBackend, device_failure};

use crate::TrainingError;
use crate::fine_tune::FineTune;
use crate::gradients::gradients;
use crate::step_input::{PendingLoss, StepInput, number};

/// The model on the devices beside the first one.
pub(crate) struct Replicas<B: NeoBackend> {
    models: Vec<FineTune<Autodiff<B>>>,
}

impl<B: NeoBackend> Replicas<B> {
    /// Copies `model` to each of `devices`.
    pub(crate) fn new(model: &FineTune<Autodiff<B>>, devices: &[B::Device]) -> Self {
        Self { models: devices.iter().map(|device| model.clone().fork(device)).collect() }
    }

    /// No device beside the first one.
    pub(crate) fn none() -> Self {
        Self { models: Vec::new() }
    }

    /// Whether there is no device beside the first one.
    pub(crate) fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// What [`burn::train::TrainStep::step`] of `leader` gives, computed by all devices at once.
    ///
    /// # Errors
    /// One of the devices failed.
    pub(crate) fn step(
        &mut self,
        leader: &FineTune<Autodiff<B>>,
        input: &StepInput,
    ) -> Result<TrainOutput<PendingLoss<B>>, TrainingError> {
        let (devices, tokens) = (self.models.len() + 1, input.supervised_tokens());
        let home = leader.model.head_weight().device();
        let parts = thread::scope(|scope| {
            let others: Vec<_> = self
                .models
                .iter_mut()
                .zip(1..)
                .map(|(replica, index)| {
                    let (leader, share) = (leader.clone(), input.share(index, devices));
                    scope.spawn(move || {
                        device_failure::watch(|| {
                            follow(replica, &leader);
                            Ok::<_, TrainingError>(read(gradients(replica, &share, tokens)))
                        })
                    })
                })
                .collect();
            let own = read(gradients(leader, &input.share(0, devices), tokens));
            let others = others.into_iter().map(|part| part.join().unwrap_or_else(|p| resume_unwind(p)));
            std::iter::once(Ok(own)).chain(others).collect::<Result<Vec<_>, _>>()
        })?;
        let read = parts.iter().map(|(_, sum)| sum).sum();
        let mut accumulator = GradientsAccumulator::new();
        for (gradients, _) in parts {
            accumulator.accumulate(leader, gradients.to_device(&home, leader));
        }
        Ok(TrainOutput { grads: accumulator.grads(), item: PendingLoss { read, sums: Vec::new(), tokens } })
    }
}

/// Gradients with the loss of their batches as the device's thread reads it: each waits for its own.
fn read<B: NeoBackend>((gradients, sums): (GradientsParams, Vec<Tensor<B, 1>>)) -> (GradientsParams, f64) {
    (gradients, sums.into_iter().map(number).fold(0.0, |all, sum| all + sum))
}

/// Gives `replica` the values of `leader` that are trained.
fn follow<B: NeoBackend>(replica: &mut FineTune<Autodiff<B>>, leader: &FineTune<Autodiff<B>>) {
    let device = replica.model.head_weight().device();
    let mut trained = Trained::<B> { device, values: GradientsParams::new() };
    leader.visit(&mut trained);
    *replica = replica.clone().map(&mut trained);
}

/// Tensors by parameter, which is what Burn's [`GradientsParams`] holds, on a device.
struct Trained<B: NeoBackend> {
    device: B::Device,
    values: GradientsParams,
}

impl<B: NeoBackend> ModuleVisitor<Autodiff<B>> for Trained<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let value = param.val();
        if value.is_require_grad() {
            self.values.register(param.id, value.inner().to_device(&self.device));
        }
    }
}

impl<B: NeoBackend> ModuleMapper<Autodiff<B>> for Trained<B> {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Autodiff<B>, D>>,
    ) -> Param<Tensor<Autodiff<B>, D>> {
        match self.values.remove::<B, D>(param.id) {
            Some(value) => param.map(|_| Tensor::from_inner(value).require_grad()),
            None => param,
        }
    }
}
