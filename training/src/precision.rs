//! In which numbers a model is trained.
//!
//! Half precision means half products ([`GptNeo::with_half_products`]), forward and backward, in training and in the
//! evaluations during it. What is trained, its gradients and the optimizer's state are f32, and so is what comes out.

mod loss_scale;

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use gptneo_model::GptNeo;
use serde::{Deserialize, Serialize};

pub use self::loss_scale::LossScale;
use crate::TrainingError;

/// The numbers that matrix products are made in; f32 by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats with 11 bits of significand, up to 65504; the loss is scaled.
    F16,
    /// 16-bit floats with the range of f32 and 8 bits of significand.
    Bf16,
}

impl Precision {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The half type, if it is one.
    pub fn half(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
        }
    }

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Refuses a half type that the device cannot compute in.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Settings`], which names the backend.
    pub fn check<B: Backend>(self, device: &B::Device) -> Result<(), TrainingError> {
        match self.half() {
            Some(half) if !B::supports_dtype(device, half) => Err(TrainingError::Settings(format!(
                "the precision is {}, but the backend {} cannot compute in it on this device: train in another \
                 precision (f32 always works) or on another backend",
                self.name(),
                B::name(device)
            ))),
            _ => Ok(()),
        }
    }

    /// The model as it computes in this precision; attach an adapter before.
    pub fn apply<B: Backend>(self, model: GptNeo<B>) -> GptNeo<B> {
        match self.half() {
            Some(half) => model.with_half_products(half),
            None => model,
        }
    }

    /// The loss scaling of a new run; none where there is no need.
    pub fn loss_scale(self) -> Option<LossScale> {
        (self == Self::F16).then(LossScale::default)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = TrainingError;

    fn from_str(name: &str) -> Result<Self, TrainingError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| TrainingError::unknown_name("precision", name, &Self::ALL.map(Self::name)))
    }
}

#[cfg(test)]
mod tests;
