//! What of a model is trained, and everything that follows from it: how the model is made ready, what its files hold
//! and what comes out.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use burn::tensor::backend::Backend;
use gptneo_model::adapter::{self, count_parameters};
use gptneo_model::{GptNeo, LoraConfig, checkpoint};
use serde::{Deserialize, Serialize};

use crate::{Precision, TrainingError};

/// What of a model is trained; by default an adapter of the recipe's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Tuning {
    /// A LoRA adapter over a frozen base.
    Lora(LoraConfig),
    /// Every weight.
    Full,
}

/// A [`Tuning`] by its name alone, as settings have it that keep the adapter's shape elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TuningKind {
    /// An adapter.
    #[default]
    Lora,
    /// All weights.
    Full,
}

impl Default for Tuning {
    fn default() -> Self {
        Self::Lora(LoraConfig::default())
    }
}

impl Tuning {
    /// The tuning of a kind; `lora` is the adapter's shape where there is one.
    pub fn of(kind: TuningKind, lora: LoraConfig) -> Self {
        match kind {
            TuningKind::Lora => Self::Lora(lora),
            TuningKind::Full => Self::Full,
        }
    }

    /// The kind of tuning.
    pub fn kind(&self) -> TuningKind {
        match self {
            Self::Lora(_) => TuningKind::Lora,
            Self::Full => TuningKind::Full,
        }
    }

    /// The model ready for its first step: for LoRA with the adapter that it carries, or else a fresh one. Seed the
    /// backend before.
    ///
    /// # Errors
    ///
    /// As [`adapter::attach`]; or the adapter that the model carries is another.
    pub fn prepare<B: Backend>(&self, model: GptNeo<B>) -> Result<GptNeo<B>, TrainingError> {
        let carries_adapter = model.linears().any(|(_, _, linear)| linear.lora.is_some());
        Ok(match self {
            Self::Lora(config) if !carries_adapter => {
                let device = device(&model);
                adapter::attach(model, config, &device)?
            }
            Self::Lora(config) => {
                adapter::check_attached(&model, config)?;
                model
            }
            Self::Full => model,
        })
    }

    /// The parameters that are trained, and all, of the model once it is prepared. No random number is drawn.
    ///
    /// # Errors
    ///
    /// As [`Tuning::prepare`].
    pub fn count_parameters<B: Backend>(&self, model: &GptNeo<B>) -> Result<(usize, usize), TrainingError> {
        Ok(count_parameters(&self.prepare(model.clone())?))
    }

    /// Writes what was trained into a folder that exists, in f32: the adapter as PEFT's files, or the weights.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write<B: Backend>(&self, model: &GptNeo<B>, folder: &Path) -> Result<(), TrainingError> {
        match self {
            Self::Lora(config) => adapter::write_adapter(model, config, "", folder)?,
            Self::Full => checkpoint::write_model(model, folder, checkpoint::Dtype::F32)?,
        }
        Ok(())
    }

    /// The model that [`Tuning::write`] wrote, over the base it was trained from.
    ///
    /// # Errors
    ///
    /// The files cannot be read, or do not fit the base.
    pub fn load<B: Backend>(&self, base: GptNeo<B>, folder: &Path) -> Result<GptNeo<B>, TrainingError> {
        Ok(match self {
            Self::Lora(_) => {
                let device = device(&base);
                adapter::load_adapter(base, folder, &device)?.0
            }
            Self::Full => checkpoint::load_weights(base, folder)?,
        })
    }

    /// The trained model without the rounding that its training was done with, over the very base that it had.
    pub fn in_full<B: Backend>(&self, trained: GptNeo<B>, base: GptNeo<B>) -> GptNeo<B> {
        match self {
            Self::Lora(_) => adapter::hand_over(trained, base),
            Self::Full => trained.with_precision(Precision::F32),
        }
    }
}

/// Where a model is. Random weights are not drawn for it.
pub(crate) fn device<B: Backend>(model: &GptNeo<B>) -> B::Device {
    model.transformer.wte.weight.lazy_device()
}

impl TuningKind {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 2] = [Self::Lora, Self::Full];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for TuningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TuningKind {
    type Err = TrainingError;

    fn from_str(name: &str) -> Result<Self, TrainingError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| TrainingError::unknown_name("tuning", name, &Self::ALL.map(Self::name)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Schedule;

    #[test]
    fn a_tuning_reads_as_it_was_written() {
        assert_eq!(Tuning::default(), Tuning::of(TuningKind::default(), LoraConfig::default()));
        assert_eq!(serde_json::to_value(Tuning::default()).unwrap()["kind"], "lora");
        for kind in TuningKind::ALL {
            let tuning = Tuning::of(kind, LoraConfig { r: 3, ..LoraConfig::default() });
            let text = serde_json::to_string(&tuning).unwrap();
            assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning);
            assert_eq!(tuning.kind(), kind);
        }
    }

    /// The command line and the settings file read the same names.
    #[test]
    fn names_are_those_of_the_settings_and_an_unknown_one_is_refused_with_the_list() {
        fn check<T>(all: &[T])
        where
            T: Copy + PartialEq + fmt::Debug + fmt::Display + FromStr<Err: fmt::Debug> + Serialize,
        {
            for one in all {
                assert_eq!(serde_json::to_value(one).unwrap(), one.to_string());
                assert_eq!(one.to_string().parse::<T>().unwrap(), *one);
            }
        }
        check(&TuningKind::ALL);
        check(&Precision::ALL);
        check(&Schedule::ALL);
        let message = "f8".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(message, "precision is \"f8\"; expected f32 or f16 or bf16");
    }
}
