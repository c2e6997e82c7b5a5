//! The linear layers that can carry an adapter, and the names that pick some of them.

use std::fmt;
use std::str::FromStr;

use gptneo_files::excerpt;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A kind of linear layer that can carry an adapter, by its name in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Attention queries.
    QProj,
    /// Attention keys.
    KProj,
    /// Attention values.
    VProj,
    /// Attention output.
    OutProj,
    /// Feed-forward input.
    CFc,
    /// Feed-forward output.
    CProj,
}

impl Target {
    /// All targets.
    pub const ALL: [Target; 6] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OutProj, Self::CFc, Self::CProj];

    /// The name in the checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OutProj => "out_proj",
            Self::CFc => "c_fc",
            Self::CProj => "c_proj",
        }
    }

    /// The path in the checkpoint, counting layers from 0.
    pub fn path(self, layer: usize) -> String {
        let part = match self {
            Self::CFc | Self::CProj => "mlp",
            _ => "attn.attention",
        };
        format!("transformer.h.{layer}.{part}.{}", self.name())
    }
}

/// A name for one or more linear layers, as PEFT reads it: a layer's whole path, or the end of one behind a dot.
///
/// `q_proj` names the queries of every layer, `h.0.attn.attention.q_proj` those of the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleName(String);

impl ModuleName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the layer at `path` is meant.
    pub fn matches(&self, path: &str) -> bool {
        names(&self.0, path)
    }
}

/// Whether `name` is `path`, or what follows one of its dots.
pub(crate) fn names(name: &str, path: &str) -> bool {
    path.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

impl FromStr for ModuleName {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let layer = name.split('.').find_map(|part| part.parse().ok()).unwrap_or(0);
        if !name.is_empty() && Target::ALL.iter().any(|target| names(name, &target.path(layer))) {
            return Ok(Self(name.to_string()));
        }
        let known = Target::ALL.map(Target::name).join(", ");
        Err(ModelError::Lora(format!(
            "unknown target module \"{}\": expected some of {known}, or the path of one layer such as {}",
            excerpt(name),
            Target::QProj.path(0)
        )))
    }
}

impl TryFrom<String> for ModuleName {
    type Error = ModelError;

    fn try_from(name: String) -> Result<Self, ModelError> {
        name.parse()
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.0
    }
}

impl From<Target> for ModuleName {
    /// The layers of this kind in every block.
    fn from(target: Target) -> Self {
        Self(target.name().to_string())
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_a_path_or_the_end_of_one_behind_a_dot() {
        let path = Target::QProj.path(11);
        for name in ["q_proj", "attn.attention.q_proj", "11.attn.attention.q_proj", &path] {
            assert!(name.parse::<ModuleName>().unwrap().matches(&path), "{name}");
        }
        for name in ["1.attn.attention.q_proj", "v_proj", "h.1.attn.attention.q_proj"] {
            assert!(!name.parse::<ModuleName>().unwrap().matches(&path), "{name}");
        }
    }

    #[test]
    fn names_of_nothing_are_refused() {
        for name in ["", "proj", "query", "wte", "mlp.q_proj", "h.01.mlp.c_fc", "q_proj.", ".q_proj", "h.0"] {
            let error = name.parse::<ModuleName>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{name}\"")) && error.contains("c_proj"), "{error}");
        }
    }
}
