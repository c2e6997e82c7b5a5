//! When two questions count as the same: the one place that says so, for the split.

use unicode_categories::UnicodeCategories;

/// The question in lower case, without Unicode punctuation, white space folded to single spaces.
///
/// A question of nothing but punctuation keeps it, so that `???` and `!!!` stay two questions.
pub fn normalise_question(question: &str) -> String {
    let lower = question.to_lowercase();
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
