//! The loss scaling that f16 needs.
//!
//! f16 holds nothing below 6e-8, and gradients are often smaller. So the loss is multiplied by a scale before the
//! backward pass, and the gradients are divided by it before they are clipped. The scale finds itself as in PyTorch's
//! `torch.amp.GradScaler`: too large a one gives gradients that are not finite; that step is skipped and the scale
//! halved; after 2000 good steps in a row it is doubled. bf16 has the range of f32 and needs none of it.
//!
//! A skipped step has used its texts and counts as a step of the run, but the learning rate does not move on: so it is
//! in transformers' `Trainer`, which steps its scheduler only where `optimizer_step_was_skipped` is false and counts
//! `global_step` all the same.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::cast::ToElement;
use burn::tensor::{Bool, Tensor};
use gptneo_model::Precision;
use serde::{Deserialize, Serialize};

/// Where the scale starts.
const FIRST_SCALE: f64 = 65536.0;
/// What the scale is multiplied with after enough good steps, and divided by after a bad one.
const FACTOR: f64 = 2.0;
/// Good steps in a row before the scale grows.
const GROWTH_INTERVAL: usize = 2000;
/// Gradients that are not finite at this scale are not a matter of the scale. (PyTorch goes on for ever.)
const SMALLEST_SCALE: f64 = 1.0;

/// What the loss is multiplied with, and what that becomes. By default 65536, which grows after 2000 good steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossScale {
    /// The factor.
    pub scale: f64,
    /// Good steps since the factor last changed.
    pub good_steps: usize,
    /// Good steps in a row before it grows.
    pub growth_interval: usize,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { scale: FIRST_SCALE, good_steps: 0, growth_interval: GROWTH_INTERVAL }
    }
}

impl LossScale {
    /// That of a new run in this precision; none where there is no need.
    pub fn of(precision: Precision) -> Option<Self> {
        (precision == Precision::F16).then(Self::default)
    }

    /// Divides the gradients of a scaled loss by the scale and moves the scale on; whether all of them are finite, so
    /// that the step may be taken.
    pub fn unscale<AB: AutodiffBackend, M: AutodiffModule<AB>>(
        &mut self,
        model: &M,
        gradients: &mut GradientsParams,
    ) -> bool {
        let mut visitor = Unscale::<AB> { gradients, factor: 1.0 / self.scale, finite: Vec::new() };
        model.visit(&mut visitor);
        let finite = visitor.finite;
        let finite = finite.is_empty() || Tensor::cat(finite, 0).all().into_scalar().to_bool();
        self.update(finite);
        finite
    }

    /// The rule of `torch.amp.GradScaler.update`.
    pub(super) fn update(&mut self, finite: bool) {
        if !finite {
            self.scale /= FACTOR;
            self.good_steps = 0;
            return;
        }
        self.good_steps += 1;
        if self.good_steps >= self.growth_interval {
            self.good_steps = 0;
            // The loss is f32: a scale beyond its range is none.
            if ((self.scale * FACTOR) as f32).is_finite() {
                self.scale *= FACTOR;
            }
        }
    }

    /// Whether no smaller scale can help.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.scale < SMALLEST_SCALE
    }
}

/// Scales each gradient and asks whether it is finite, for all of them in one answer from the device.
struct Unscale<'a, AB: AutodiffBackend> {
    gradients: &'a mut GradientsParams,
    factor: f64,
    finite: Vec<Tensor<AB::InnerBackend, 1, Bool>>,
}

impl<AB: AutodiffBackend> ModuleVisitor<AB> for Unscale<'_, AB> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AB, D>>) {
        if let Some(gradient) = self.gradients.remove::<AB::InnerBackend, D>(param.id) {
            // Not `contains_nan`, which sums in the tensor's own type.
            self.finite.push(gradient.clone().is_finite().all());
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}
