//! The learning rate of each step, as transformers' schedules with warm-up have it.
//!
//! Burn's own schedulers have no warm-up, and its cosine starts again at the maximum after the last step.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::TrainingError;

/// What the learning rate does after the warm-up; by default it falls in a straight line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Falls in a straight line to zero.
    #[default]
    Linear,
    /// Falls to zero as half a period of a cosine.
    Cosine,
    /// Stays.
    Constant,
}

impl Schedule {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Cosine, Self::Constant];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::Constant => "constant",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Schedule {
    type Err = TrainingError;

    fn from_str(name: &str) -> Result<Self, TrainingError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| TrainingError::unknown_name("schedule", name, &Self::ALL.map(Self::name)))
    }
}

/// The learning rate as a function of the step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// The rate after the warm-up.
    pub base: f64,
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Steps over which the rate rises in a straight line from zero.
    pub warmup_steps: usize,
    /// Steps of the run, the warm-up included. The rate would be zero at this step, the first that is not taken.
    pub total_steps: usize,
}

impl LearningRate {
    /// The rate of `step`, counted from 0: step 0 of a warm-up has rate 0, as in transformers.
    ///
    /// Beyond the last step a falling rate stays zero; transformers' cosine would rise again.
    pub fn at(&self, step: usize) -> f64 {
        let Self { base, schedule, warmup_steps, total_steps } = *self;
        if step < warmup_steps {
            return base * step as f64 / warmup_steps as f64;
        }
        let falling = total_steps.saturating_sub(warmup_steps).max(1) as f64;
        let left = total_steps.saturating_sub(step) as f64;
        let factor = match schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => left / falling,
            Schedule::Cosine => 0.5 * (1.0 + (PI * (1.0 - (left / falling).min(1.0))).cos()),
        };
        base * factor
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Deserialize)]
    struct Cases {
        peak: f64,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        schedule: Schedule,
        warmup_steps: usize,
        total_steps: usize,
        rates: Vec<f64>,
    }

    /// Numbers by tests/reference/make_fixtures.py, written with eight significant digits: they may be off by half
    /// a unit of the eighth.
    #[test]
    fn every_step_has_the_rate_of_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/schedules.json");
        let Cases { peak, cases } = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(cases.len(), 6);
        for Case { schedule, warmup_steps, total_steps, rates } in cases {
            let rate = LearningRate { base: peak, schedule, warmup_steps, total_steps };
            assert_eq!(rates.len(), total_steps + 1);
            for (step, &expected) in rates.iter().enumerate() {
                let rounding = match expected {
                    0.0 => 0.0,
                    _ => 0.5 * 10f64.powf(expected.log10().floor() - 7.0),
                };
                let difference = (rate.at(step) - expected).abs();
                assert!(difference <= rounding + 1e-12, "{rate:?} step {step}: {difference}");
            }
        }
    }

    #[test]
    fn closed_forms_hold_to_the_last_digits() {
        let rate =
            |schedule, step| LearningRate { base: 2e-4, schedule, warmup_steps: 4, total_steps: 16 }.at(step);
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-16, "{found} {expected}");
        close(rate(Schedule::Linear, 3), 1.5e-4);
        close(rate(Schedule::Linear, 7), 1.5e-4);
        close(rate(Schedule::Cosine, 8), 1.5e-4);
        close(rate(Schedule::Cosine, 7), 1e-4 * (1.0 + 0.5f64.sqrt()));
        close(rate(Schedule::Constant, 99), 2e-4);
        // Past the end, and a warm-up that takes the whole run.
        close(rate(Schedule::Linear, 17), 0.0);
        close(rate(Schedule::Cosine, 20), 0.0);
        let all = LearningRate { base: 1.0, schedule: Schedule::Cosine, warmup_steps: 5, total_steps: 5 };
        close(all.at(4), 0.8);
        close(all.at(5), 0.0);
    }
}
