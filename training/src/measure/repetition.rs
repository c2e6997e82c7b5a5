//! How much answers repeat themselves, word by word.
//!
//! A model that has lost its thread says the same phrase again and again. Distinct-2 is that of J. Li et al., "A
//! Diversity-Promoting Objective Function for Neural Conversation Models", NAACL 2016.

use std::collections::{HashMap, HashSet};

/// The words of a phrase.
const PHRASE: usize = 4;
/// How often a phrase must stand in an answer.
const TIMES: usize = 3;

/// Whether an answer has the same four words in a row three times.
pub fn repeats_itself(answer: &str) -> bool {
    let words = words(answer);
    let mut counts: HashMap<&[String], usize> = HashMap::new();
    words.windows(PHRASE).any(|phrase| {
        let count = counts.entry(phrase).or_default();
        *count += 1;
        *count == TIMES
    })
}

/// The different pairs of neighbouring words in all answers together, as a share of all pairs; none without a pair.
pub fn distinct_2<'a>(answers: impl IntoIterator<Item = &'a str>) -> Option<f64> {
    let mut distinct: HashSet<[String; 2]> = HashSet::new();
    let mut pairs = 0;
    for answer in answers {
        for pair in words(answer).windows(2) {
            distinct.insert([pair[0].clone(), pair[1].clone()]);
            pairs += 1;
        }
    }
    (pairs > 0).then(|| distinct.len() as f64 / f64::from(pairs))
}

/// The words in lower case, without ASCII punctuation around them.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase();
    text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_words_three_times_are_a_repetition() {
        let twice = "A family history, a family history, diabetes.";
        assert!(!repeats_itself(twice));
        assert!(repeats_itself("of a family history, of a family history; of a family history"));
        // The same word is a phrase of itself: six of them hold three.
        assert!(repeats_itself("no no no no no no") && !repeats_itself("no no no no no"));
        assert!(!repeats_itself(""));
    }

    #[test]
    fn distinct_pairs_are_counted_over_all_answers() {
        assert_eq!(distinct_2(["a b a b", "A b."]), Some(0.5));
        assert_eq!(distinct_2(["one", ""]), None);
    }
}
