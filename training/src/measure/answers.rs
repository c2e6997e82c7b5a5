//! How close answers are to the expected ones, by the words they share, and how long they are.
//!
//! Token F1, exact match and the normalisation before both are those of SQuAD: P. Rajpurkar et al., "SQuAD: 100,000+
//! Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1 (<https://arxiv.org/abs/1606.05250>). They
//! were made for short answers; on long ones they tell whether the same words are used, not whether what is said is
//! true.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

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
    /// The mean length in tokens.
    pub mean_tokens: f64,
    /// The share of answers that the model ended itself.
    pub stopped: f64,
}

impl AnswerMetrics {
    /// The measures of `answers`; nothing without an answer.
    pub fn of(model: &str, answers: &[Answered<'_>]) -> Option<Self> {
        let count = answers.len() as f64;
        if answers.is_empty() {
            return None;
        }
        let pairs = || answers.iter().filter_map(|answer| Some((answer.text, answer.reference?)));
        let scores: Vec<f64> = pairs().map(|(text, reference)| token_f1(text, reference)).collect();
        let exact = pairs().filter(|(text, reference)| exact_match(text, reference)).count();
        let (token_f1, standard_error) = mean(&scores);
        Some(Self {
            model: model.to_string(),
            questions: answers.len(),
            token_f1,
            standard_error,
            exact_match: token_f1.map(|_| exact as f64 / scores.len() as f64),
            mean_tokens: answers.iter().map(|answer| answer.tokens).sum::<usize>() as f64 / count,
            stopped: answers.iter().filter(|answer| answer.stopped).count() as f64 / count,
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
        assert_eq!((found.exact_match, found.mean_tokens, found.stopped), (Some(0.5), 5.5, 0.5));
        let open = Answered { text: "x", reference: None, tokens: 1, stopped: true };
        let found = AnswerMetrics::of("m", &[open]).unwrap();
        assert_eq!((found.token_f1, found.exact_match, found.stopped), (None, None, 1.0));
        assert_eq!(AnswerMetrics::of("m", &[]), None);
    }
}
