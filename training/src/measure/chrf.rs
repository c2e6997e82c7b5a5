//! chrF: how many runs of one to six characters two texts share.
//!
//! M. Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015, with beta 2, as `sacrebleu` counts
//! it by default: white space left out, and the orders that both texts have averaged.

use std::collections::HashMap;

/// The longest run.
const ORDER: usize = 6;
/// How much more recall counts than precision, squared.
const BETA_SQUARED: f64 = 4.0;

/// The chrF of an answer, from 0 to 100, as `sacrebleu` scales it.
pub fn chrf(answer: &str, reference: &str) -> f64 {
    let bare = |text: &str| -> Vec<char> { text.chars().filter(|c| !is_space(*c)).collect() };
    let (answer, reference) = (bare(answer), bare(reference));
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for order in 1..=ORDER.min(answer.len()).min(reference.len()) {
        let (found, expected) = (counts(&answer, order), counts(&reference, order));
        let shared: usize = found.iter().map(|(run, count)| count.min(expected.get(run).unwrap_or(&0))).sum();
        precision += shared as f64 / (answer.len() + 1 - order) as f64;
        recall += shared as f64 / (reference.len() + 1 - order) as f64;
        orders += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    100.0 * (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
}

/// White space as Python's `str.split` knows it: Unicode's, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn counts(text: &[char], order: usize) -> HashMap<&[char], usize> {
    let mut counts = HashMap::new();
    for run in text.windows(order) {
        *counts.entry(run).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_all_and_strangers_nothing() {
        assert_eq!(chrf("The heart.", "The  heart."), 100.0);
        assert_eq!((chrf("abc", "xyz"), chrf("", "x"), chrf("", "")), (0.0, 0.0, 0.0));
        // By hand: "ab" of "abc": P 1 and 1, R 2/3 and 1/2; (5 * 1 * 7/12) / (4 + 7/12).
        assert!((chrf("ab", "abc") - 100.0 * (5.0 * 7.0 / 12.0) / (4.0 + 7.0 / 12.0)).abs() < 1e-12);
    }
}
