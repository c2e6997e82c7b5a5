//! Hugging Face model folders: reading any of their weight formats, writing safetensors.
//!
//! | file | key | here |
//! |---|---|---|
//! | all | `transformer.…`, `lm_head.weight` | the parameter at that path, unchanged |
//! | a backbone saved alone (no key begins with `transformer.`) | `wte.…`, `wpe.…`, `h.…`, `ln_f.…` | behind `transformer.` |
//! | published checkpoints | `…attn.attention.bias`, `…attn.attention.masked_bias` | ignored: masks, worked out anew |
//! | tied models | `lm_head.weight` | the embedding where that is missing; a head of its own where it differs from it |
//! | models with further heads | all other keys (`v_head.…`, `score.weight`) | ignored, with a note |
//!
//! Weights are float32 in memory whatever the file holds: mixed types never promote.

mod folder;
mod load;
mod parameters;
mod round;
mod safetensors_file;
mod save;
mod shards;
mod tensor_file;
mod weights;

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;
use safetensors::tensor::Dtype as FileDtype;
use serde::{Deserialize, Serialize};

pub use self::folder::{end_texts_at, end_tokens, kept_files};
pub use self::load::{
    check_loaded, load_base, load_model, load_model_for, load_model_of, load_weights, note_on_weights,
};
pub(crate) use self::parameters::Parameter;
pub use self::round::rounded;
pub(crate) use self::save::write_tensors;
pub use self::save::{GENERATION_FILE, save_model, write_model};
pub use self::shards::{BadShardSize, INDEX_FILE, ShardSize, WHOLE_FILE};
pub(crate) use self::tensor_file::{Found, TensorFile};
pub use self::weights::weight_files;
use crate::ModelError;

/// The number type of saved weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// Brain floats.
    Bf16,
}

impl Dtype {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The name in `config.json`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    pub(crate) fn file(self) -> FileDtype {
        match self {
            Self::F32 => FileDtype::F32,
            Self::F16 => FileDtype::F16,
            Self::Bf16 => FileDtype::BF16,
        }
    }

    /// Bytes of a number.
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    pub(crate) fn burn(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("number type", name, &Self::ALL.map(Self::name)))
    }
}

/// How weights are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveFormat {
    /// The number type.
    pub dtype: Dtype,
    /// The size that a file may have before the next is begun; one file for everything where there is none.
    pub max_shard_size: Option<ShardSize>,
}

impl From<Dtype> for SaveFormat {
    /// In one file.
    fn from(dtype: Dtype) -> Self {
        Self { dtype, max_shard_size: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_those_of_the_settings_and_an_unknown_one_is_refused_with_the_list() {
        for one in Dtype::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
            assert_eq!(one.to_string().parse::<Dtype>().unwrap(), one);
        }
        let message = "f8".parse::<Dtype>().unwrap_err().to_string();
        assert_eq!(message, "number type is \"f8\"; expected f32 or f16 or bf16");
    }
}
