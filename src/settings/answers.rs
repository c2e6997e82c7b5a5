//! The settings of what a run asks, and how the answers are chosen.

use gptneo_model::{PenaltyScope, SamplingConfig};
use serde::{Deserialize, Serialize};

/// What a run asks: both models at its end, and the model while it learns.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSettings {
    /// How many of the held-out questions.
    pub questions: usize,
    /// The longest answer in tokens.
    pub max_new_tokens: usize,
    /// What makes tokens that an answer has already less likely, the same for base and tuned; 1, which does nothing, by
    /// default. The question's own words are free.
    pub repetition_penalty: f64,
    /// How many held-out questions are answered after every measurement of the validation loss.
    pub samples: usize,
    /// How many held-out questions both models answer for the measures of their answers; those shown are among them.
    pub scored_questions: usize,
    /// Among how many answers to other questions both models are to find each held-out question's own; 0 for none.
    pub discriminate: usize,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        Self {
            questions: 5,
            max_new_tokens: 100,
            repetition_penalty: 1.0,
            samples: 3,
            scored_questions: 32,
            discriminate: 3,
        }
    }
}

impl AnswerSettings {
    /// How each token of an answer is chosen: the likeliest, after the penalty.
    pub fn sampling(&self) -> SamplingConfig {
        SamplingConfig {
            repetition_penalty: self.repetition_penalty,
            penalty_scope: PenaltyScope::Answer,
            ..SamplingConfig::default()
        }
    }
}
