//! ROUGE-L: how long a sequence of words two texts have in common, in the same order though not side by side.
//!
//! C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1, with words, and the F of equal
//! weights, as the Python package `rouge-score` counts them without a stemmer.

/// The F of ROUGE-L, from 0 to 1; 0 where a text has no word.
///
/// Words are runs of the letters a to z and digits, in lower case; everything else parts them.
pub fn rouge_l(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (words(answer), words(reference));
    if answer.is_empty() || reference.is_empty() {
        return 0.0;
    }
    let common = longest_common_subsequence(&answer, &reference) as f64;
    // 2 P R / (P + R) with P = common / answer and R = common / reference.
    2.0 * common / (answer.len() + reference.len()) as f64
}

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(String::from).collect()
}

/// The length of the longest sequence that both have, gaps allowed.
fn longest_common_subsequence(one: &[String], other: &[String]) -> usize {
    // The row of the table above the one that is filled.
    let mut above = vec![0; other.len() + 1];
    for word in one {
        let mut diagonal = 0;
        for (at, candidate) in other.iter().enumerate() {
            let up = above[at + 1];
            above[at + 1] = if word == candidate { diagonal + 1 } else { up.max(above[at]) };
            diagonal = up;
        }
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_counts_and_gaps_do_not() {
        // By hand: "the heart pumps" in four and five words, and "police" with "gunman" in either order.
        assert_eq!(rouge_l("The heart pumps blood.", "the big heart pumps air"), 2.0 * 3.0 / 9.0);
        assert_eq!(rouge_l("a b c", "c b a"), 1.0 / 3.0);
        assert_eq!(rouge_l("insulin", "Insulin!"), 1.0);
        assert_eq!((rouge_l("", "x"), rouge_l("…", "…")), (0.0, 0.0));
    }
}
