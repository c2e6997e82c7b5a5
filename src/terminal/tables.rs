//! What a run measured, as tables for a terminal.

use std::fmt::Write;

use gptneo_report::{AnswerScores, GenerationRow, PerplexityRow, perplexity_cells};

/// The perplexities: a line a model, a column a protocol.
pub(crate) fn perplexities(rows: &[PerplexityRow]) -> String {
    let mut text = format!("{:<14}{:>22}{:>22}{:>22}\n", "perplexity", "notebook", "text", "response");
    for [model, notebook, all, response] in perplexity_cells(rows) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{model:<14}{notebook:>22}{all:>22}{response:>22}");
    }
    text
}

/// The scores of the answers: a line a model.
pub(crate) fn scores(rows: &[AnswerScores]) -> String {
    let heads = ["token F1", "exact match", "mean tokens", "ended by itself"];
    let mut text =
        format!("{:<14}{:>18}{:>14}{:>14}{:>18}\n", "answers", heads[0], heads[1], heads[2], heads[3]);
    let share = |value: f64| format!("{:.1} %", 100.0 * value);
    for row in rows {
        let f1 = match (row.token_f1, row.standard_error) {
            (Some(f1), Some(error)) => format!("{f1:.3} ± {error:.3}"),
            (Some(f1), None) => format!("{f1:.3}"),
            (None, _) => "-".into(),
        };
        let exact = row.exact_match.map_or("-".into(), share);
        let (tokens, stopped) = (row.mean_tokens, share(row.stopped));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<14}{f1:>18}{exact:>14}{tokens:>14.1}{stopped:>18}", row.model);
    }
    text
}

/// The answers before and after, a blank line between the questions.
pub(crate) fn answers(rows: &[GenerationRow]) -> String {
    let mut text = String::new();
    for GenerationRow { question, base, tuned } in rows {
        let gap = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{gap}Question  {question}\n  before  {}\n  after   {}", flat(base), flat(tuned));
    }
    text
}

/// An answer on one line.
fn flat(answer: &str) -> String {
    answer.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_on_one_line() {
        let row = GenerationRow { question: "Why?".into(), base: "a\n\nb".into(), tuned: "c".into() };
        assert_eq!(answers(&[row]), "Question  Why?\n  before  a b\n  after   c\n");
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let row = AnswerScores {
            model: "Base Model".into(),
            questions: 2,
            token_f1: Some(1.0),
            standard_error: None,
            exact_match: Some(1.0),
            mean_tokens: 4.0,
            stopped: 1.0,
        };
        let unmeasured = AnswerScores { token_f1: None, exact_match: None, ..row.clone() };
        let text = scores(&[row, unmeasured]);
        assert!(text.contains("Base Model                 1.000       100.0 %           4.0"), "{text}");
        assert!(text.contains("Base Model                     -             -           4.0"), "{text}");
    }
}
