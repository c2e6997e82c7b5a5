//! Which settings cannot be, each named by its key, so that whoever shows it can name its flag.

use std::path::PathBuf;

use gptneo_datasets::DataError;
use gptneo_model::{LoraConfig, WeightFormat};
use gptneo_training::{Precision, Unfit};

use super::{Settings, TuningKind};
use crate::{Error, Problem, Remedy, Result};

/// The settings that have a range.
const KEYS: [&str; 30] = [
    "training.learning_rate",
    "training.epsilon",
    "training.weight_decay",
    "training.max_grad_norm",
    "training.beta1",
    "training.beta2",
    "training.epochs",
    "training.max_steps",
    "training.batch_size",
    "training.grad_accumulation_steps",
    "training.eval_steps",
    "training.checkpoint_steps",
    "training.early_stopping_patience",
    "training.warmup_steps",
    "lora.r",
    "lora.alpha",
    "lora.dropout",
    "answers.questions",
    "answers.max_new_tokens",
    "answers.repetition_penalty",
    "answers.samples",
    "answers.scored_questions",
    "answers.discriminate",
    "data.validation_fraction",
    "data.validation_limit",
    "data.max_seq_length",
    "data.bad_records",
    "data.format",
    "data.max_data_size",
    "data.overlong",
];

/// The longest path in bytes, Linux's.
const LONGEST_PATH: usize = 4096;

/// Refuses to keep a base small that is trained itself, or whose products are in half precision, which has it rounded.
///
/// # Errors
/// As said.
pub(crate) fn check_base_weights(
    format: WeightFormat,
    tuning: TuningKind,
    precision: Precision,
) -> Result<()> {
    if format == WeightFormat::F32 {
        return Ok(());
    }
    let (why, way_out) = if !WeightFormat::OF_A_BASE.contains(&format) {
        ("is for answers alone", Remedy::Set("run.base_weights", "f32, bf16 or int8".into()))
    } else if tuning == TuningKind::Full {
        ("is not for full tuning, which trains the base", Remedy::LeaveOut("run.base_weights"))
    } else if precision != Precision::F32 {
        let one =
            Remedy::Either(vec![Remedy::LeaveOut("run.base_weights"), Remedy::LeaveOut("run.precision")]);
        ("goes with products in f32 alone", one)
    } else {
        return Ok(());
    };
    Err(Error::settings(format!("a base in {format} {why}"), way_out))
}

impl Settings {
    /// Refuses what cannot be, all of it at once.
    pub(crate) fn validate(&self) -> Result<()> {
        let mut problems: Vec<Problem> =
            self.training.unfit().iter().map(|unfit| problem("training", unfit)).collect();
        problems.extend(self.unfit_of_lora().iter().map(|unfit| problem("lora", unfit)));
        problems.extend(self.unfit_of_answers().iter().map(|unfit| problem("answers", unfit)));
        problems.extend(self.unfit_paths());
        if !problems.is_empty() {
            return Err(all_of(problems).into());
        }
        // What these two say beside, about names and patterns.
        self.lora.validate()?;
        self.data.options.validate().map_err(|error| match error {
            DataError::Setting { name, found, expected } => {
                let (found, expected) = (found.to_string(), expected.to_string());
                let problem = problem("data", &Unfit { name, found, expected });
                // What clashes with other settings has no better value.
                let clashes = self.data.options.format.is_some() && name == "format";
                let remedy = if clashes { Remedy::LeaveOut("data.format") } else { problem.remedy };
                Problem { remedy, ..problem }.into()
            }
            other => Error::from(other),
        })?;
        if let (TuningKind::Full, Some(adapter)) = (self.model.tuning, &self.model.adapter) {
            return Err(Error::settings(
                format!(
                    "full tuning trains the model itself, but the adapter {} is given",
                    adapter.display()
                ),
                Remedy::say("merge it first, or tune with lora"),
            ));
        }
        check_base_weights(self.run.base_weights, self.model.tuning, self.run.precision)
    }

    fn unfit_of_lora(&self) -> Vec<Unfit> {
        let lora = &self.lora;
        let found = [
            Unfit::count("r", lora.r).or_else(|| {
                let (found, most) = (lora.r.to_string(), LoraConfig::HIGHEST_RANK);
                (lora.r > most).then(|| Unfit { name: "r", found, expected: format!("at most {most}") })
            }),
            Unfit::number("alpha", lora.alpha, |_| true, "a finite number"),
            Unfit::number(
                "dropout",
                lora.dropout,
                |rate| (0.0..1.0).contains(&rate),
                "0 or more and less than 1",
            ),
        ];
        found.into_iter().flatten().collect()
    }

    fn unfit_of_answers(&self) -> Vec<Unfit> {
        let answers = &self.answers;
        // None of these is a choice.
        let some = |name, value| if value == 0 { None } else { Unfit::count(name, value) };
        let found = [
            Unfit::count("max_new_tokens", answers.max_new_tokens),
            Unfit::number("repetition_penalty", answers.repetition_penalty, |x| x > 0.0, "a positive number"),
            some("questions", answers.questions),
            some("samples", answers.samples),
            some("scored_questions", answers.scored_questions),
            some("discriminate", answers.discriminate),
        ];
        found.into_iter().flatten().collect()
    }
}

impl Settings {
    /// Paths that no system takes: a message that names one would be as long.
    fn unfit_paths(&self) -> Vec<Problem> {
        let paths = [
            ("model.path", &self.model.path),
            ("model.adapter", &self.model.adapter),
            ("data.path", &self.data.path),
            ("data.validation_data", &self.data.validation_data),
            ("data.test_data", &self.data.test_data),
            ("run.output", &self.run.output),
        ];
        let too_long = |(key, path): (&'static str, &Option<PathBuf>)| {
            let found = path.as_ref()?.as_os_str().len();
            let what = format!("{key} has {found} bytes, expected at most {LONGEST_PATH}");
            (found > LONGEST_PATH).then_some(Problem { what, remedy: Remedy::Change(key) })
        };
        paths.into_iter().filter_map(too_long).collect()
    }
}

/// A setting of `section` outside its range, with the way out.
fn problem(section: &str, Unfit { name, found, expected }: &Unfit) -> Problem {
    let key = KEYS.into_iter().find(|key| key.split_once('.') == Some((section, name)));
    let what = format!("{name} is {found}, expected {expected}");
    Problem { what, remedy: key.map_or(Remedy::None, Remedy::Change) }
}

fn all_of(problems: Vec<Problem>) -> Problem {
    let (what, remedies): (Vec<String>, Vec<Remedy>) =
        problems.into_iter().map(|problem| (problem.what, problem.remedy)).unzip();
    let remedies: Vec<Remedy> = remedies.into_iter().filter(|remedy| *remedy != Remedy::None).collect();
    Problem { what: what.join("; "), remedy: Remedy::Both(remedies) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use toml::Table;

    use super::*;

    #[test]
    fn every_range_is_of_a_setting() {
        let settings = Table::try_from(Settings {
            training: gptneo_training::TrainingConfig {
                max_steps: Some(1),
                eval_steps: Some(1),
                checkpoint_steps: Some(1),
                early_stopping_patience: Some(1),
                ..Default::default()
            },
            ..Default::default()
        })
        .unwrap();
        for key in KEYS {
            let (section, name) = key.split_once('.').unwrap();
            // What a file leaves out at its default.
            let optional = ["bad_records", "format", "max_data_size", "max_seq_length", "validation_limit"];
            let optional = optional.contains(&name);
            assert!(optional || settings[section].get(name).is_some(), "{key}");
        }
    }

    #[test]
    fn all_that_cannot_be_is_named_together_with_its_way_out() {
        let mut settings = Settings::default();
        settings.training.batch_size = 0;
        settings.training.epochs = usize::MAX;
        settings.lora.dropout = f64::NAN;
        settings.answers.samples = usize::MAX;
        let said = settings.validate().unwrap_err().to_string();
        for part in [
            "batch_size is 0, expected at least 1",
            "epochs is 18446744073709551615, expected at most 1000000000",
            "dropout is NaN",
            "samples is",
            "set another training.epochs and set another training.batch_size and set another lora.dropout",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        settings = Settings::default();
        settings.data.path = Some("x".repeat(60_000).into());
        let said = settings.validate().unwrap_err().to_string();
        assert_eq!(said, "data.path has 60000 bytes, expected at most 4096: set another data.path");
        settings = Settings::default();
        settings.data.options.validation_fraction = 2.0;
        assert!(
            settings.validate().unwrap_err().to_string().contains("set another data.validation_fraction")
        );
    }
}
