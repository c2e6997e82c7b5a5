//! In which numbers matrix products are made: one type for the operations, the network, and whoever chooses.

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The numbers that the factors of a matrix product are of, forward and backward. All else is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats, as a network's own numbers are. (An operation whose input is of another type makes its products
    /// in that type.)
    #[default]
    F32,
    /// 16-bit floats with 11 bits of significand, up to 65504; training has to scale the loss.
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
    /// [`ModelError::Precision`], which names the backend.
    pub fn check<B: Backend>(self, device: &B::Device) -> Result<(), ModelError> {
        match self.half() {
            Some(half) if !B::supports_dtype(device, half) => {
                Err(ModelError::Precision { precision: self.name(), backend: B::name(device) })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("precision", name, &Self::ALL.map(Self::name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_those_of_the_settings_and_an_unknown_one_is_refused_with_the_list() {
        for one in Precision::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
            assert_eq!(one.to_string().parse::<Precision>().unwrap(), one);
        }
        let message = "f8".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(message, "precision is \"f8\"; expected f32 or f16 or bf16");
    }
}
