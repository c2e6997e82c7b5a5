//! Complete settings for a run, under a name: TOML files that the library carries.

use std::str::FromStr;

use crate::{Error, Remedy, Result};

/// A preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The embedded base and flashcards: minutes on a laptop, no network
    Quick,
    /// The full recipe: GPT-Neo-125M and 33,955 flashcards
    Medical,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 2] = [Self::Quick, Self::Medical];

    /// The settings file, with its comments.
    pub fn text(self) -> &'static str {
        match self {
            Self::Quick => include_str!("presets/quick.toml"),
            Self::Medical => include_str!("presets/medical.toml"),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Medical => "medical",
        }
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::settings(format!("there is no preset {name:?}, expected one of: {names}"), Remedy::None)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{Layer, Origin, Settings};

    #[test]
    fn every_preset_is_valid_and_is_found_by_its_name() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            let settings = Settings::resolve(Origin::Preset(preset), Layer::default()).unwrap();
            assert!(settings.model.path.is_some() && settings.data.path.is_some());
        }
    }

    #[test]
    fn the_medical_preset_is_the_recipe() {
        let settings = Settings::resolve(Origin::Preset(Preset::Medical), Layer::default()).unwrap();
        assert_eq!((settings.lora.r, settings.lora.alpha, settings.lora.dropout), (16, 32.0, 0.1));
        let training = &settings.training;
        assert_eq!((training.epochs, training.batch_size, training.learning_rate), (3, 8, 2e-4));
        assert_eq!(settings.data.options.max_seq_length, Some(256));
    }
}
