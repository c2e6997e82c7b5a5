//! Multiple choice by log-likelihood: the model takes the choice that it finds likeliest behind the question.
//!
//! Three numbers put the accuracy into its place: chance, always taking the commonest position, and what the same model
//! takes when it does not see the question. The last tells how much the choices give away by themselves (S. Gururangan
//! et al., "Annotation Artifacts in Natural Language Inference Data", NAACL 2018).

use gptneo_datasets::{EncodedChoices, Example};
use gptneo_model::{GptNeo, NeoBackend};
use serde::{Deserialize, Serialize};

use super::loglikelihood::continuation_losses;
use super::share::{Share, share};
use crate::error::TrainingError;

/// How a model does in an exam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceScores {
    /// The share of questions whose right choice has the highest log-likelihood.
    pub accuracy: f64,
    /// The share whose right choice has the highest log-likelihood for each of its characters.
    pub accuracy_normalised: f64,
    /// The standard error of `accuracy`; none for fewer than two questions.
    pub standard_error: Option<f64>,
    /// What guessing is expected to get.
    pub chance: f64,
    /// What the commonest position among the right choices gets.
    pub majority: f64,
    /// As `accuracy`, where the model sees the choices without the question.
    pub choices_only: f64,
    /// How many questions there are.
    pub count: usize,
    /// Each question by itself.
    #[serde(skip)]
    pub items: Vec<ChoiceItem>,
}

/// What a model makes of one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceItem {
    /// The log-likelihood of each choice, in nats.
    pub loglikelihoods: Vec<f64>,
    /// The index of the right one.
    pub label: usize,
}

impl ChoiceItem {
    /// Whether the right choice is the likeliest; of equals, the first counts.
    pub fn right(&self) -> bool {
        largest(&self.loglikelihoods) == self.label
    }
}

/// Asks a model all questions.
///
/// `on_batch` hears, after each batch, how many are done and how many there are. The result does not depend on
/// `batch_size` beyond rounding.
///
/// # Errors
/// There are no questions, a text does not fit the model, or a loss is not finite.
pub fn score_choices<B: NeoBackend>(
    model: &GptNeo<B>,
    questions: &[EncodedChoices],
    batch_size: usize,
    on_batch: impl FnMut(usize, usize),
) -> Result<ChoiceScores, TrainingError> {
    // All texts in one list, so that batches are full: first those with the question, then those without.
    let with: Vec<&Example> = questions.iter().flat_map(|question| &question.with_question).collect();
    let without: Vec<&Example> = questions.iter().flat_map(|question| &question.without_question).collect();
    let losses = continuation_losses(model, &[with, without].concat(), batch_size, on_batch)?;
    let mut sums = losses.iter().map(|losses| -losses.iter().map(|&loss| f64::from(loss)).sum::<f64>());
    let mut take = || -> Vec<Vec<f64>> {
        questions.iter().map(|question| sums.by_ref().take(question.characters.len()).collect()).collect()
    };
    let (with, without) = (take(), take());
    of_loglikelihoods(questions, with, &without)
}

fn of_loglikelihoods(
    questions: &[EncodedChoices],
    with: Vec<Vec<f64>>,
    without: &[Vec<f64>],
) -> Result<ChoiceScores, TrainingError> {
    let labels: Vec<usize> = questions.iter().map(|question| question.answer).collect();
    let normalised = |(sums, question): (&Vec<f64>, &EncodedChoices)| {
        let characters = question.characters.iter().map(|&count| count as f64);
        let each: Vec<f64> = sums.iter().zip(characters).map(|(sum, count)| sum / count).collect();
        largest(&each) == question.answer
    };
    let normalised: Vec<bool> = with.iter().zip(questions).map(normalised).collect();
    let blind: Vec<bool> = without.iter().zip(&labels).map(|(sums, label)| largest(sums) == *label).collect();
    let items: Vec<ChoiceItem> = with
        .into_iter()
        .zip(&labels)
        .map(|(loglikelihoods, &label)| ChoiceItem { loglikelihoods, label })
        .collect();
    let right: Vec<bool> = items.iter().map(ChoiceItem::right).collect();
    let none = || TrainingError::Settings("there are no questions, expected at least one".into());
    let Share { share: accuracy, standard_error } = share(&right).ok_or_else(none)?;
    let count = items.len() as f64;
    let positions = labels.iter().max().map_or(0, |largest| largest + 1);
    let commonest = (0..positions).map(|at| labels.iter().filter(|label| **label == at).count()).max();
    Ok(ChoiceScores {
        accuracy,
        accuracy_normalised: share(&normalised).ok_or_else(none)?.share,
        standard_error,
        chance: items.iter().map(|item| 1.0 / item.loglikelihoods.len() as f64).sum::<f64>() / count,
        majority: commonest.unwrap_or(0) as f64 / count,
        choices_only: share(&blind).ok_or_else(none)?.share,
        count: items.len(),
        items,
    })
}

/// The index of the largest; of equals, the first.
fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests;
