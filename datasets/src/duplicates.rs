//! Records that a file holds more than once: worth knowing before a split, and nothing is removed.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::record::Record;

/// How many repeated questions are shown as examples.
const SHOWN: usize = 5;

/// What [`find_duplicates`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Records that equal an earlier one in all three fields.
    pub exact: usize,
    /// Records whose question stands in an earlier record, or of conversations all their questions together, the exact
    /// ones included. Questions are compared in lower case and without white space at their ends; punctuation counts.
    pub repeated_questions: usize,
    /// The first few repeated questions in file order.
    pub examples: Vec<Repeated>,
}

/// A question that stands in more than one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// The question as its first record has it.
    pub question: String,
    /// The indices of all its records, from 0, in file order.
    pub records: Vec<usize>,
}

/// Counts the records that repeat an earlier record or an earlier question.
pub fn find_duplicates(records: &[Record]) -> Duplicates {
    let mut seen = HashSet::new();
    let exact = records.iter().filter(|record| !seen.insert(*record)).count();

    let mut groups: HashMap<String, usize> = HashMap::new();
    let mut questions: Vec<Repeated> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let group = *groups.entry(record.asked().trim().to_lowercase()).or_insert(questions.len());
        match questions.get_mut(group) {
            Some(repeated) => repeated.records.push(index),
            None => questions.push(Repeated { question: record.asked().into_owned(), records: vec![index] }),
        }
    }
    let repeated_questions = records.len() - questions.len();
    let examples = questions.into_iter().filter(|question| question.records.len() > 1).take(SHOWN).collect();
    Duplicates { exact, repeated_questions, examples }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(input: &str, output: &str) -> Record {
        Record { instruction: "i".into(), input: input.into(), output: output.into(), further: Vec::new() }
    }

    #[test]
    fn exact_copies_and_repeated_questions_are_counted_apart() {
        let records = [
            record("Why?", "So."),
            record("How?", "Thus."),
            record("why? ", "Else."),
            record("Why?", "So."),
            record("Why", "So."),
            record("Why?", "So."),
        ];
        let found = find_duplicates(&records);
        assert_eq!((found.exact, found.repeated_questions), (2, 3));
        assert_eq!(found.examples, [Repeated { question: "Why?".into(), records: vec![0, 2, 3, 5] }]);
        assert_eq!(find_duplicates(&[]), Duplicates::default());
    }
}
