//! Questions that are measured on and were learned from: what a good measure must not have.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::excerpt::shown;
use crate::question::normalise_question;

/// How many leaks are shown as examples.
const SHOWN: usize = 3;

/// Texts that stand in two parts of a data set. Questions, and documents, are the same as the split by question has it:
/// case, punctuation and spacing do not tell them apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Leaks {
    /// Records to validate with whose question stands in the training data.
    pub validation: usize,
    /// Records to test with whose question stands in the training data.
    pub test: usize,
    /// Records to test with whose question stands in the validation data.
    pub test_in_validation: usize,
    /// The first few of these questions.
    pub examples: Vec<String>,
}

/// A part of a data set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Training,
    Validation,
}

impl Leaks {
    /// Looks for the texts of `validation` and `test` in `training`, and for those of `test` in `validation`. A conversation
    /// has several questions; all of them have to stand there, wherever they do.
    pub(crate) fn find<'a>(
        training: impl Iterator<Item = Vec<&'a str>>,
        validation: impl Iterator<Item = Vec<&'a str>>,
        test: impl Iterator<Item = Vec<&'a str>>,
    ) -> Self {
        let mut known: HashMap<String, Part> = HashMap::new();
        let mut leaks = Self::default();
        known.extend(training.flatten().map(|text| (normalise_question(text), Part::Training)));
        for texts in validation {
            let keys: Vec<String> = texts.iter().map(|text| normalise_question(text)).collect();
            if keys.iter().all(|key| known.get(key) == Some(&Part::Training)) {
                leaks.validation += 1;
                leaks.show(&texts);
            }
            for key in keys {
                known.entry(key).or_insert(Part::Validation);
            }
        }
        for texts in test {
            let parts: Option<Vec<Part>> =
                texts.iter().map(|text| known.get(&normalise_question(text)).copied()).collect();
            match parts {
                Some(parts) if parts.iter().all(|part| *part == Part::Training) => leaks.test += 1,
                Some(_) => leaks.test_in_validation += 1,
                None => continue,
            }
            leaks.show(&texts);
        }
        leaks
    }

    /// Of a conversation its last question, since many begin alike.
    fn show(&mut self, texts: &[&str]) {
        if let Some(last) = texts.last().filter(|_| self.examples.len() < SHOWN) {
            self.examples.push(shown(last));
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.validation + self.test + self.test_in_validation == 0
    }
}

impl fmt::Display for Leaks {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.validation, "validation", "training"),
            (self.test, "test", "training"),
            (self.test_in_validation, "test", "validation"),
        ];
        let told: Vec<String> = counts
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, of, also)| format!("{count} of the {of} data are in the {also} data too"))
            .collect();
        if told.is_empty() {
            return f.write_str("none");
        }
        write!(f, "{}, such as \"{}\"", told.join("; "), self.examples.join("\", \""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_in_two_parts_is_counted_where_it_matters() {
        let training = ["What is gout?", "What is pain?"];
        let validation = ["what is GOUT", "What is a cold?", "what is gout!"];
        let test = ["What is a cold", "What is flu?", "What is pain"];
        let each =
            |texts: &[&'static str]| -> Vec<Vec<&str>> { texts.iter().map(|text| vec![*text]).collect() };
        let [training, validation, test] = [&training[..], &validation, &test].map(each);
        let leaks = Leaks::find(training.clone().into_iter(), validation.into_iter(), test.into_iter());
        assert_eq!((leaks.validation, leaks.test, leaks.test_in_validation), (2, 1, 1));
        // Of a conversation every question has to be known, and not its greeting alone.
        let chat = |texts: [&'static str; 2]| vec![texts.to_vec()].into_iter();
        let none = || std::iter::empty();
        let found = |test| Leaks::find(chat(["Hello", "What is gout?"]), none(), test);
        assert_eq!(
            (found(chat(["hello!", "What is pain?"])).test, found(chat(["hello!", "what is gout"])).test),
            (0, 1)
        );
        assert_eq!(found(vec![vec!["What is gout"]].into_iter()).examples, ["What is gout"]);
        let told = leaks.to_string();
        assert!(
            told.starts_with("2 of the validation data are in the training data too; 1 of the test"),
            "{told}"
        );
        assert!(told.contains("\"what is GOUT\""), "{told}");
        let none = Leaks::find(training.into_iter(), [vec!["x"]].into_iter(), [vec!["y"]].into_iter());
        assert!(none.is_empty() && none.examples.is_empty());
    }
}
