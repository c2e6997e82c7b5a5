//! The embedded flashcards keep the format and the evenness that their page promises.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;

use crate::{Columns, PromptTemplate, find_duplicates, read_records};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/medical-flashcards/medical_flashcards.json");
const FIELDS: usize = 24;
const CARDS_A_FIELD: usize = 50;
const CARDS_A_TOPIC: RangeInclusive<usize> = 8..=12;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    instruction: String,
    input: String,
    output: String,
    field: String,
    topic: String,
}

fn cards() -> Vec<Card> {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

fn words(text: &str) -> HashSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[test]
fn every_card_has_the_recipes_form() {
    for card in cards() {
        let Card { instruction, input, output, .. } = &card;
        assert_eq!(instruction, "Answer this question truthfully");
        assert!(input.ends_with('?') && (13..=90).contains(&input.len()), "{input}");
        assert!(output.ends_with('.') && (60..=200).contains(&output.len()), "{output}");
        assert!((input.to_owned() + output).is_ascii(), "{input} {output}");
        let sentences = output.matches(". ").count() + 1;
        assert!(sentences <= 2, "{output}");
        assert!((12..=30).contains(&output.split_whitespace().count()), "{output}");
    }
}

#[test]
fn the_fields_are_even_and_each_topic_has_several_cards() {
    let mut fields: BTreeMap<String, usize> = BTreeMap::new();
    let mut topics: BTreeMap<(String, String), usize> = BTreeMap::new();
    for card in cards() {
        *fields.entry(card.field.clone()).or_default() += 1;
        *topics.entry((card.field, card.topic)).or_default() += 1;
    }
    assert_eq!(fields.len(), FIELDS, "{fields:?}");
    assert!(fields.values().all(|&count| count == CARDS_A_FIELD), "{fields:?}");
    assert!(topics.values().all(|count| CARDS_A_TOPIC.contains(count)), "{topics:?}");
}

/// Two questions that share over 80 % of their words ask the same.
#[test]
fn no_two_cards_ask_the_same() {
    let records = read_records(Path::new(FILE), &Columns::default(), &PromptTemplate::default()).unwrap();
    let duplicates = find_duplicates(&records);
    assert_eq!((duplicates.exact, duplicates.repeated_questions), (0, 0));
    let questions: Vec<HashSet<String>> = records.iter().map(|record| words(&record.input)).collect();
    for (index, one) in questions.iter().enumerate() {
        for (other_index, other) in questions.iter().enumerate().skip(index + 1) {
            let shared = one.intersection(other).count();
            let share = shared as f64 / (one.len() + other.len() - shared) as f64;
            assert!(share <= 0.8, "{} {}", records[index].input, records[other_index].input);
        }
    }
    let answers: HashSet<&str> = records.iter().map(|record| record.output.as_str()).collect();
    assert_eq!(answers.len(), records.len());
}
