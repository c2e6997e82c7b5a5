//! The shapes in which GPT-Neo was published, for random weights of them: EleutherAI's `config.json` of each.

use std::fmt;
use std::str::FromStr;

use serde_json::json;

use crate::{GptNeoConfig, ModelError};

/// A published shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedShape {
    /// `EleutherAI/gpt-neo-125m`: 12 layers of 768, 12 heads of 64.
    M125,
    /// `EleutherAI/gpt-neo-1.3B`: 24 layers of 2048, 16 heads of 128.
    B1_3,
    /// `EleutherAI/gpt-neo-2.7B`: 32 layers of 2560, 20 heads of 128.
    B2_7,
}

impl PublishedShape {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 3] = [Self::M125, Self::B1_3, Self::B2_7];

    /// The name, as the models have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::M125 => "125m",
            Self::B1_3 => "1.3b",
            Self::B2_7 => "2.7b",
        }
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// None: the fields are fit.
    pub fn config(self) -> Result<GptNeoConfig, ModelError> {
        let [layers, hidden, heads] = match self {
            Self::M125 => [12, 768, 12],
            Self::B1_3 => [24, 2048, 16],
            Self::B2_7 => [32, 2560, 20],
        };
        let fields = json!({
            "model_type": "gpt_neo", "hidden_size": hidden, "num_layers": layers, "num_heads": heads,
            "attention_types": [[["global", "local"], layers / 2]], "window_size": 256, "vocab_size": 50257,
            "max_position_embeddings": 2048,
        });
        GptNeoConfig::from_json(fields.as_object().cloned().unwrap_or_default())
    }
}

impl fmt::Display for PublishedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PublishedShape {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| ModelError::name("shape", name, &Self::ALL.map(Self::name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::AttentionKind;

    #[test]
    fn shapes_are_those_of_the_published_models() {
        for (shape, layers, hidden, of_a_head) in [
            (PublishedShape::M125, 12, 768, 64),
            (PublishedShape::B1_3, 24, 2048, 128),
            (PublishedShape::B2_7, 32, 2560, 128),
        ] {
            let config = shape.config().unwrap();
            assert_eq!((config.num_layers(), config.hidden_size), (layers, hidden), "{shape}");
            assert_eq!(config.hidden_size / config.num_heads, of_a_head, "{shape}");
            assert_eq!(config.intermediate_size, 4 * hidden, "{shape}");
            assert!(config.tie_word_embeddings && config.window_size == 256, "{shape}");
            for (layer, kind) in config.attention_layers.iter().enumerate() {
                let local = *kind == AttentionKind::Local;
                assert_eq!(local, layer % 2 == 1, "{shape}, layer {layer}");
            }
            assert_eq!(shape.name().parse::<PublishedShape>().unwrap(), shape);
        }
    }
}
