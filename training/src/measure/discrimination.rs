//! Whether a model tells a question's answer from answers to other questions: knowledge measured on any set of questions
//! and answers, without an exam.
//!
//! Beside each true answer stand the answers to the questions nearest to its own in words. What ranks them is how much
//! likelier the question makes an answer, log p(answer | question) - log p(answer), the pointwise mutual information
//! (A. Holtzman et al., "Surface Form Competition", EMNLP 2021): a likelihood alone would favour the short and the common
//! answer, whatever is asked.
//!
//! An answer that repeats the question's words can be found without knowing anything. The share that shared words alone
//! find stands beside the accuracy.

mod neighbours;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use gptneo_datasets::{Example, PromptTemplate, Record, Tokenizer, encode_continuation};
use gptneo_model::{GptNeo, NeoBackend};
use serde::{Deserialize, Serialize};

use self::neighbours::Words;
use super::loglikelihood::continuation_losses;
use super::share::{Share, share};
use crate::error::TrainingError;

/// How well a model tells true answers from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Discrimination {
    /// The share of questions whose true answer stands above all others.
    pub accuracy: f64,
    /// The standard error of `accuracy`; none for fewer than two questions.
    pub standard_error: Option<f64>,
    /// What guessing is expected to get.
    pub chance: f64,
    /// The share whose true answer shares most words with the question; a tie counts as the share of guessing in it.
    pub shared_words: f64,
    /// How many questions there are.
    pub count: usize,
    /// Each question by itself.
    #[serde(skip)]
    pub items: Vec<DiscriminationItem>,
}

impl Discrimination {
    /// The standard error of `accuracy` less `shared_words` if in truth neither found more: `sqrt(sum d^2) / n`, where d
    /// is what the model finds of a question less what shared words find of it. It is that of McNemar's test, and does
    /// not vanish where every answer is found.
    pub fn error_beside_shared_words(&self) -> f64 {
        let difference =
            |item: &DiscriminationItem| f64::from(u8::from(item.right)) - item.found_by_shared_words;
        let squares: f64 = self.items.iter().map(|item| difference(item).powi(2)).sum();
        squares.sqrt() / self.items.len().max(1) as f64
    }
}

/// What a model makes of one question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscriminationItem {
    /// The record's index in the list that the task was made of.
    pub record: usize,
    /// Whether the true answer stands above all others.
    pub right: bool,
    /// How surely shared words find it: 1 where it shares the most, a part where it ties, 0 elsewhere.
    pub found_by_shared_words: f64,
}

/// Questions, each with its true answer and those to other questions, as texts of tokens: the same for every model with
/// the same tokenizer.
#[derive(Clone, Debug)]
pub struct DiscriminationTask {
    others: usize,
    questions: Vec<Question>,
    /// Each answer that stands somewhere, behind a prompt whose question is empty, by its record.
    alone: BTreeMap<usize, Example>,
}

#[derive(Clone, Debug)]
struct Question {
    record: usize,
    /// The true answer first: its record, and the text.
    candidates: Vec<(usize, Example)>,
    found_by_shared_words: f64,
}

impl DiscriminationTask {
    /// A question of each of the records `asked`, given by their indices; beside its own answer those of the `others`
    /// records, asked or not, whose questions are nearest in words. Records that share the question, or the answer, do
    /// not count as others.
    ///
    /// A text of more than `max_length` tokens loses the end of its answer; a record of which no answer is left then, or
    /// two that are alike, is passed over.
    ///
    /// # Errors
    /// `others` is 0 or more than there are other answers, no record is left, or the tokenizer fails.
    pub fn new(
        records: &[&Record],
        asked: &[usize],
        template: &PromptTemplate,
        tokenizer: &Tokenizer,
        max_length: usize,
        others: usize,
    ) -> Result<Self, TrainingError> {
        Self::among(&Words::of(records), (records, asked), (template, tokenizer, max_length), others)
    }

    /// As [`DiscriminationTask::new`], with as many others as there are for every question where there are fewer than
    /// `others`; none where there is nothing to tell apart.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn up_to(
        records: &[&Record],
        asked: &[usize],
        template: &PromptTemplate,
        tokenizer: &Tokenizer,
        max_length: usize,
        others: usize,
    ) -> Result<Option<Self>, TrainingError> {
        if others == 0 {
            return Ok(None);
        }
        let words = Words::of(records);
        let others = others.min(words.others_of_all(asked));
        match Self::among(&words, (records, asked), (template, tokenizer, max_length), others) {
            Err(TrainingError::Setting { .. }) => Ok(None),
            made => made.map(Some),
        }
    }

    fn among(
        words: &Words,
        (records, asked): (&[&Record], &[usize]),
        (template, tokenizer, max_length): (&PromptTemplate, &Tokenizer, usize),
        others: usize,
    ) -> Result<Self, TrainingError> {
        let nearest: Vec<Vec<usize>> =
            asked.iter().filter_map(|&index| words.nearest(index, others)).collect();
        if others == 0 || nearest.is_empty() || nearest.len() < asked.len() {
            let most = words.others_of_all(asked);
            return Err(TrainingError::Setting {
                name: "the number of other answers",
                found: others.to_string(),
                expected: format!(
                    "1 to {most}, for so many different answers to other questions there are among these {} records; \
                     take fewer, or more records",
                    records.len()
                ),
            });
        }
        let encode = |question: &Record, answer: usize| {
            let both = Record { output: records[answer].output.clone(), ..question.clone() };
            let mut text = encode_continuation(&both, template, tokenizer, answer)?;
            text.ids.truncate(max_length);
            Ok::<_, TrainingError>(text)
        };
        let left = |text: &Example| text.ids.len() > text.response_from;
        let (mut questions, mut alone) = (Vec::new(), BTreeMap::new());
        for (&record, near) in asked.iter().zip(nearest) {
            let all: Vec<usize> = std::iter::once(record).chain(near).collect();
            let candidates: Vec<(usize, Example)> = all
                .iter()
                .map(|&answer| Ok((answer, encode(records[record], answer)?)))
                .collect::<Result<_, TrainingError>>()?;
            let texts: HashSet<&[u32]> = candidates.iter().map(|(_, text)| text.ids.as_slice()).collect();
            if texts.len() < candidates.len() || !candidates.iter().all(|(_, text)| left(text)) {
                continue;
            }
            for &answer in &all {
                if let Entry::Vacant(place) = alone.entry(answer) {
                    let empty = Record { input: String::new(), ..records[answer].clone() };
                    place.insert(encode(&empty, answer)?);
                }
            }
            let found_by_shared_words = words.found_by_shared_words(record, &all);
            questions.push(Question { record, candidates, found_by_shared_words });
        }
        // Behind an empty question there is never less room than behind a question.
        if questions.is_empty() || !alone.values().all(left) {
            return Err(TrainingError::Setting {
                name: "the longest text",
                found: format!("{max_length} tokens"),
                expected: "more, so that of answers enough is left behind a question to tell them apart"
                    .into(),
            });
        }
        Ok(Self { others, questions, alone })
    }

    /// Asks a model.
    ///
    /// `on_batch` hears, after each batch, how many are done and how many there are. The result does not depend on
    /// `batch_size` beyond rounding.
    ///
    /// # Errors
    /// A text does not fit the model, or a loss is not finite.
    pub fn measure<B: NeoBackend>(
        &self,
        model: &GptNeo<B>,
        batch_size: usize,
        on_batch: impl FnMut(usize, usize),
    ) -> Result<Discrimination, TrainingError> {
        let behind = self.questions.iter().flat_map(|question| &question.candidates).map(|(_, text)| text);
        let texts: Vec<&Example> = behind.chain(self.alone.values()).collect();
        let losses = continuation_losses(model, &texts, batch_size, on_batch)?;
        let (behind, alone) = losses.split_at(losses.len() - self.alone.len());
        let alone: BTreeMap<&usize, &Vec<f32>> = self.alone.keys().zip(alone).collect();
        let mut behind = behind.iter();
        let sum = |losses: &[f32]| losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
        let items: Vec<DiscriminationItem> = self
            .questions
            .iter()
            .map(|question| {
                let mut scores =
                    question.candidates.iter().zip(behind.by_ref()).map(|((answer, _), given)| {
                        let prior = alone[answer];
                        // Of an answer that was cut, the same tokens count on both sides.
                        let tokens = given.len().min(prior.len());
                        sum(&prior[..tokens]) - sum(&given[..tokens])
                    });
                let first = scores.next().unwrap_or(f64::NEG_INFINITY);
                // Not short-circuited: every candidate takes its losses.
                let best = scores.fold(f64::NEG_INFINITY, f64::max);
                let Question { record, found_by_shared_words, .. } = *question;
                DiscriminationItem { record, right: first > best, found_by_shared_words }
            })
            .collect();
        let right: Vec<bool> = items.iter().map(|item| item.right).collect();
        let shared: f64 = items.iter().map(|item| item.found_by_shared_words).sum();
        let Share { share: accuracy, standard_error } = share(&right)
            .ok_or_else(|| TrainingError::Settings("there are no questions, expected at least one".into()))?;
        Ok(Discrimination {
            accuracy,
            standard_error,
            chance: 1.0 / (self.others + 1) as f64,
            shared_words: shared / items.len() as f64,
            count: items.len(),
            items,
        })
    }

    /// How many other answers stand beside each true one.
    pub fn others(&self) -> usize {
        self.others
    }

    /// How many questions it asks.
    pub fn count(&self) -> usize {
        self.questions.len()
    }
}

#[cfg(test)]
mod tests;
