//! The settings of a training run, checked before anything is loaded.

use serde::{Deserialize, Serialize};

use crate::TrainingError;
use crate::schedule::{LearningRate, Schedule};

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
        let mut problems = Vec::new();
        let mut check = |good: bool, problem: String| {
            if !good {
                problems.push(problem);
            }
        };
        let positive = [("learning_rate", self.learning_rate), ("epsilon", self.epsilon)];
        for (name, value) in positive {
            check(value.is_finite() && value > 0.0, format!("{name} is {value}, expected more than 0"));
        }
        for (name, value) in [("weight_decay", self.weight_decay), ("max_grad_norm", self.max_grad_norm)] {
            check(value.is_finite() && value >= 0.0, format!("{name} is {value}, expected 0 or more"));
        }
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            let good = (0.0..1.0).contains(&value);
            check(good, format!("{name} is {value}, expected 0 or more and less than 1"));
        }
        let counts = [
            ("epochs", Some(self.epochs)),
            ("max_steps", self.max_steps),
            ("batch_size", Some(self.batch_size)),
            ("grad_accumulation_steps", Some(self.grad_accumulation_steps)),
            ("eval_steps", self.eval_steps),
            ("checkpoint_steps", self.checkpoint_steps),
            ("early_stopping_patience", self.early_stopping_patience),
        ];
        for (name, value) in counts {
            check(value != Some(0), format!("{name} is 0, expected at least 1"));
        }
        if problems.is_empty() { Ok(()) } else { Err(TrainingError::Settings(problems.join("; "))) }
    }

    /// Optimizer steps in one pass over `examples` texts.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.batch_size).div_ceil(self.grad_accumulation_steps)
    }

    /// Optimizer steps of a whole run over `examples` texts.
    pub fn total_steps(&self, examples: usize) -> usize {
        self.max_steps.unwrap_or(self.epochs * self.steps_per_epoch(examples))
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
