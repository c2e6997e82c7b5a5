//! When two questions count as the same: the one place that says so, for the split.

use icu_normalizer::ComposingNormalizerBorrowed;
use unicode_categories::UnicodeCategories;

/// The question in Unicode's compatible composed form (NFKC) and lower case, without punctuation and what cannot be seen,
/// white space folded to single spaces.
///
/// A question of nothing but punctuation keeps it, so that `???` and `!!!` stay two questions.
pub fn normalise_question(question: &str) -> String {
    let mut lower = ComposingNormalizerBorrowed::new_nfkc().normalize(question).to_lowercase();
    lower.retain(|c| !c.is_other_format());
    let bare: String = lower.chars().filter(|c| c.is_alphanumeric() || !c.is_punctuation()).collect();
    let folded = fold(&bare);
    if folded.is_empty() { fold(&lower) } else { folded }
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_punctuation_and_spacing_do_not_tell_questions_apart() {
        let plain = normalise_question("what is a cold");
        for same in ["What is a cold?", "  what\tIS a\n cold ", "«What is a cold»…", "what is a ¿cold?"]
        {
            assert_eq!(normalise_question(same), plain, "{same:?}");
        }
        assert_ne!(normalise_question("What is a colt?"), plain);
        // Spellings that look the same on a page.
        let cafe = normalise_question("a caf\u{e9} (fine)");
        for same in
            ["a cafe\u{301} (fine)", "a ca\u{ad}f\u{e9}\u{200b} (\u{fb01}ne)", "\u{feff}A CAFÉ (ＦＩＮＥ)"]
        {
            assert_eq!(normalise_question(same), cafe, "{same:?}");
        }
        // Symbols are not punctuation, and accents are part of the word.
        assert_ne!(normalise_question("vitamin b+"), normalise_question("vitamin b"));
        assert_ne!(normalise_question("résumé"), normalise_question("resume"));
    }

    #[test]
    fn punctuation_alone_stays_apart() {
        assert_ne!(normalise_question("???"), normalise_question("!!!"));
        assert_eq!(normalise_question("???"), normalise_question(" ??? "));
    }
}
