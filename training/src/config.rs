//! The settings of a training run, checked before anything is loaded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TrainingError;
use crate::schedule::{LearningRate, Schedule};

/// The largest count that a setting may have: no run comes near it, and two of them multiplied fit a machine's word.
const MOST: usize = 1_000_000_000;

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The setting.
    pub name: &'static str,
    /// The value given.
    pub found: String,
    /// The values that are allowed.
    pub expected: String,
}

impl Unfit {
    /// A count outside of 1 to 1,000,000,000.
    pub fn count(name: &'static str, value: usize) -> Option<Self> {
        let expected = match value {
            0 => "at least 1".to_string(),
            value if value > MOST => format!("at most {MOST}"),
            _ => return None,
        };
        Some(Self { name, found: value.to_string(), expected })
    }

    /// A number that `fits` says no to.
    pub fn number(
        name: &'static str,
        value: f64,
        fits: impl FnOnce(f64) -> bool,
        expected: &str,
    ) -> Option<Self> {
        let unfit = !(value.is_finite() && fits(value));
        unfit.then(|| Self { name, found: value.to_string(), expected: expected.into() })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, expected {}", self.name, self.found, self.expected)
    }
}

/// How a model is trained. The defaults are the recipe's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Peak learning rate; 2e-4 by default.
    pub learning_rate: f64,
    /// How the rate changes after the warm-up; linear by default.
    pub schedule: Schedule,
    /// Steps over which the rate rises from zero; 0 by default.
    pub warmup_steps: usize,
    /// AdamW's decoupled weight decay; 0.01 by default.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment; 0.9 by default.
    pub beta1: f64,
    /// AdamW's decay of the second moment; 0.999 by default.
    pub beta2: f64,
    /// AdamW's term against a division by zero; 1e-8 by default.
    pub epsilon: f64,
    /// The norm that all gradients together are clipped to; 1 by default, 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Passes over the data, unless `max_steps` is given; 3 by default.
    pub epochs: usize,
    /// Optimizer steps, in place of `epochs`; none by default.
    pub max_steps: Option<usize>,
    /// Texts in a forward pass; 8 by default.
    pub batch_size: usize,
    /// Forward passes in an optimizer step; 1 by default.
    pub grad_accumulation_steps: usize,
    /// Draw a new order of the texts each epoch and group them by length, as by default, or take them in file order.
    pub shuffle: bool,
    /// Measure the validation loss every so many steps, besides after each epoch; by default there alone.
    pub eval_steps: Option<usize>,
    /// Write a checkpoint every so many steps, besides after each epoch; by default there alone.
    pub checkpoint_steps: Option<usize>,
    /// Stop after so many evaluations in a row without a lower validation loss; by default never.
    pub early_stopping_patience: Option<usize>,
    /// Seed of the adapter, the order and the dropout; 42 by default.
    pub seed: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            schedule: Schedule::Linear,
            warmup_steps: 0,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            epochs: 3,
            max_steps: None,
            batch_size: 8,
            grad_accumulation_steps: 1,
            shuffle: true,
            eval_steps: None,
            checkpoint_steps: None,
            early_stopping_patience: None,
            seed: 42,
        }
    }
}

impl TrainingConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// All settings that make no sense, in one error.
    pub fn validate(&self) -> Result<(), TrainingError> {
        let problems: Vec<String> = self.unfit().iter().map(ToString::to_string).collect();
        if problems.is_empty() { Ok(()) } else { Err(TrainingError::Settings(problems.join("; "))) }
    }

    /// The settings outside their ranges.
    pub fn unfit(&self) -> Vec<Unfit> {
        let positive =
            |name, value| Unfit::number(name, value, |value| value > 0.0, "a finite number, more than 0");
        let not_negative =
            |name, value| Unfit::number(name, value, |value| value >= 0.0, "a finite number, 0 or more");
        let decay = |name, value| {
            Unfit::number(name, value, |value| (0.0..1.0).contains(&value), "0 or more and less than 1")
        };
        let count = |name, value: Option<usize>| value.and_then(|value| Unfit::count(name, value));
        let found = [
            positive("learning_rate", self.learning_rate),
            positive("epsilon", self.epsilon),
            not_negative("weight_decay", self.weight_decay),
            not_negative("max_grad_norm", self.max_grad_norm),
            decay("beta1", self.beta1),
            decay("beta2", self.beta2),
            count("epochs", Some(self.epochs)),
            count("max_steps", self.max_steps),
            count("batch_size", Some(self.batch_size)),
            count("grad_accumulation_steps", Some(self.grad_accumulation_steps)),
            count("eval_steps", self.eval_steps),
            count("checkpoint_steps", self.checkpoint_steps),
            count("early_stopping_patience", self.early_stopping_patience),
            // None is its usual number.
            count("warmup_steps", Some(self.warmup_steps).filter(|steps| *steps > 0)),
        ];
        found.into_iter().flatten().collect()
    }

    /// Optimizer steps in one pass over `examples` texts; none where a batch or a step has none.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        let texts = self.batch_size.saturating_mul(self.grad_accumulation_steps);
        if texts == 0 { 0 } else { examples.div_ceil(self.batch_size).div_ceil(self.grad_accumulation_steps) }
    }

    /// Optimizer steps of a whole run over `examples` texts.
    pub fn total_steps(&self, examples: usize) -> usize {
        self.max_steps.unwrap_or(self.epochs.saturating_mul(self.steps_per_epoch(examples)))
    }

    /// The learning rate over a run of `total_steps`.
    pub fn rate(&self, total_steps: usize) -> LearningRate {
        LearningRate {
            base: self.learning_rate,
            schedule: self.schedule,
            warmup_steps: self.warmup_steps,
            total_steps,
        }
    }
}
