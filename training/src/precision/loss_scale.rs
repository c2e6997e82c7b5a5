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

    /// The rule of `torch.amp.GradScaler.update`: whether all gradients of a step are finite moves the scale.
    pub(crate) fn update(&mut self, finite: bool) {
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
