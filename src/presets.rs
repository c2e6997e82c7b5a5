//! Complete settings for a run, under a name: TOML files that the program carries and prints.

use clap::ValueEnum;

/// A preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// The embedded base and flashcards: minutes on a laptop, no network
    Quick,
    /// The full recipe: GPT-Neo-125M and 33,955 flashcards
    Medical,
}

impl Preset {
    /// The settings file, with its comments.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Quick => include_str!("presets/quick.toml"),
            Self::Medical => include_str!("presets/medical.toml"),
        }
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Medical => "medical",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{Flags, Origin, Settings};

    #[test]
    fn every_preset_is_valid_and_has_its_flags_name() {
        for preset in Preset::value_variants() {
            assert_eq!(preset.to_possible_value().unwrap().get_name(), preset.name());
            let settings = Settings::resolve(Origin::Preset(*preset), Flags::default()).unwrap();
            assert!(settings.model.path.is_some() && settings.data.path.is_some());
        }
    }

    #[test]
    fn the_medical_preset_is_the_recipe() {
        let settings = Settings::resolve(Origin::Preset(Preset::Medical), Flags::default()).unwrap();
        assert_eq!((settings.lora.r, settings.lora.alpha, settings.lora.dropout), (16, 32.0, 0.1));
        let training = &settings.training;
        assert_eq!((training.epochs, training.batch_size, training.learning_rate), (3, 8, 2e-4));
        assert_eq!(settings.data.options.max_seq_length, Some(256));
    }
}
