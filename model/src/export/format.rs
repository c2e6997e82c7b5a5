//! The names of the forms that a model is exported in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// What a model is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// A Hugging Face folder of a GPT-2.
    Gpt2,
    /// One file for llama.cpp and what is built on it.
    Gguf,
}

impl ExportFormat {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 2] = [Self::Gpt2, Self::Gguf];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Gguf => "gguf",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ExportFormat {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("format of an export", name, &Self::ALL.map(Self::name)))
    }
}
