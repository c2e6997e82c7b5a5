//! How close answers are to the expected ones, by the words they share, and how long they are.
//!
//! Token F1, exact match and the normalisation before both are those of SQuAD: P. Rajpurkar et al., "SQuAD: 100,000+
//! Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1 (<https://arxiv.org/abs/1606.05250>). They
//! were made for short answers; on long ones they tell whether the same words are used, not whether what is said is
//! true.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::chrf::chrf;
use super::repetition::{distinct_2, repeats_itself};
use super::rouge::rouge_l;

/// One answer and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The answer's text.
    pub text: &'a str,
    /// The expected answer, where there is one.
    pub reference: Option<&'a str>,
    /// The answer's tokens, without the end-of-text.
    pub tokens: usize,
    /// Whether the model ended it, rather than the limit of new tokens.
    pub stopped: bool,
}

/// How close one answer is to the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerScore {
    /// [`token_f1`], from 0 to 1.
    pub token_f1: f64,
    /// [`rouge_l`], from 0 to 1.
    pub rouge_l: f64,
    /// [`chrf`], from 0 to 100.
    pub chrf: f64,
}

impl AnswerScore {
    /// The scores of an answer.
    pub fn of(answer: &str, reference: &str) -> Self {
        Self {
            token_f1: token_f1(answer, reference),
            rouge_l: rouge_l(answer, reference),
            chrf: chrf(answer, reference),
        }
    }
}

/// A model's answers in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerMetrics {
    /// The model as people should read it, such as "Base Model".
    pub model: String,
    /// How many questions it answered.
    pub questions: usize,
    /// The mean [`token_f1`] over the answers with a reference, from 0 to 1; none where no answer has one.
    pub token_f1: Option<f64>,
    /// The standard error of `token_f1`; none for fewer than two references.
    pub standard_error: Option<f64>,
    /// The share of those answers that equal their reference once both are normalised.
    pub exact_match: Option<f64>,
    /// The mean [`rouge_l`] over them, from 0 to 1.
    pub rouge_l: Option<f64>,
    /// The mean [`chrf`] over them, from 0 to 100.
    pub chrf: Option<f64>,
    /// The mean length in tokens.
    pub mean_tokens: f64,
    /// The share of answers that the model ended itself.
    pub ended: f64,
    /// The share of answers that [repeat themselves](repeats_itself).
    pub repeating: f64,
    /// The different pairs of words in all answers, as a share of all pairs; none where no answer has two words.
    pub distinct_2: Option<f64>,
}

impl AnswerMetrics {
    /// The measures of `answers`; nothing without an answer.
    pub fn of(model: &str, answers: &[Answered<'_>]) -> Option<Self> {
        let count = answers.len() as f64;
        if answers.is_empty() {
            return None;
        }
        let pairs = || answers.iter().filter_map(|answer| Some((answer.text, answer.reference?)));
        let scores: Vec<AnswerScore> =
            pairs().map(|(text, reference)| AnswerScore::of(text, reference)).collect();
        let exact = pairs().filter(|(text, reference)| exact_match(text, reference)).count();
        let mean_of = |score: fn(&AnswerScore) -> f64| mean(&scores.iter().map(score).collect::<Vec<_>>());
        let (token_f1, standard_error) = mean_of(|score| score.token_f1);
        let share = |holds: fn(&Answered<'_>) -> bool| {
            answers.iter().filter(|answer| holds(answer)).count() as f64 / count
        };
        Some(Self {
            model: model.to_string(),
            questions: answers.len(),
            token_f1,
            standard_error,
            exact_match: token_f1.map(|_| exact as f64 / scores.len() as f64),
            rouge_l: mean_of(|score| score.rouge_l).0,
            chrf: mean_of(|score| score.chrf).0,
            mean_tokens: answers.iter().map(|answer| answer.tokens).sum::<usize>() as f64 / count,
            ended: share(|answer| answer.stopped),
            repeating: share(|answer| repeats_itself(answer.text)),
            distinct_2: distinct_2(answers.iter().map(|answer| answer.text)),
        })
    }
}

/// The mean and its standard error.
fn mean(values: &[f64]) -> (Option<f64>, Option<f64>) {
    if values.is_empty() {
        return (None, None);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (Some(mean), (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt()))
}

/// The harmonic mean of precision and recall of the answer's words against the reference's, as bags, from 0 to 1.
///
/// Where either has no word, it is 1 if both have none and else 0, as SQuAD's second version counts.
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (words(answer), words(reference));
    if answer.is_empty() || reference.is_empty() {
        return f64::from(u8::from(answer == reference));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in &reference {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    // 2 P R / (P + R) with P = shared / answer and R = shared / reference.
    2.0 * f64::from(shared) / (answer.len() + reference.len()) as f64
}

/// Whether answer and reference have the same words in the same order.
pub fn exact_match(answer: &str, reference: &str) -> bool {
    words(answer) == words(reference)
}

/// The text's words: lower case, without ASCII punctuation, then without articles.
fn words(text: &str) -> Vec<String> {
    let kept: String =
        text.to_lowercase().chars().filter(|character| !character.is_ascii_punctuation()).collect();
    let words = kept.split_whitespace().filter(|word| !["a", "an", "the"].contains(word));
    words.map(String::from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_lose_case_punctuation_and_articles() {
        assert_eq!(words("The  Heart's an \"organ\", a-live!"), ["hearts", "organ", "alive"]);
        assert!(exact_match("The lungs.", "lungs"));
        assert!(!exact_match("lungs two", "two lungs"));
    }

    #[test]
    fn f1_counts_shared_words_as_bags() {
        // By hand: 2 of 3 words shared with 4: 2 * 2 / 7. A repeated word counts as often as both have it.
        assert_eq!(token_f1("red blood cells", "Red cells carry oxygen"), 4.0 / 7.0);
        assert_eq!(token_f1("cells cells cells", "cells"), 0.5);
        assert_eq!(token_f1("insulin", "The insulin."), 1.0);
        assert_eq!(token_f1("", "insulin"), 0.0);
        assert_eq!(token_f1("the", "a"), 1.0);
    }

    #[test]
    fn the_measures_are_means_over_the_answers() {
        let answer =
            |text, reference, tokens, stopped| Answered { text, reference: Some(reference), tokens, stopped };
        let found =
            AnswerMetrics::of("m", &[answer("a b", "b", 4, true), answer("c", "d", 7, false)]).unwrap();
        assert_eq!((found.token_f1, found.standard_error), (Some(0.5), Some(0.5)));
        assert_eq!((found.exact_match, found.mean_tokens, found.ended), (Some(0.5), 5.5, 0.5));
        // "a b" is the one pair of words.
        assert_eq!((found.rouge_l, found.repeating, found.distinct_2), (Some(1.0 / 3.0), 0.0, Some(1.0)));
        let open = Answered { text: "x", reference: None, tokens: 1, stopped: true };
        let found = AnswerMetrics::of("m", &[open]).unwrap();
        assert_eq!((found.token_f1, found.exact_match, found.ended), (None, None, 1.0));
        assert_eq!(AnswerMetrics::of("m", &[]), None);
    }
}
