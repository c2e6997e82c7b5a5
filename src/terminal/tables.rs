//! What a run measured, as tables for a terminal.

use std::fmt::Write;

use gptneo_report::{
    AnswerScores, DiscriminationFacts, GenerationRow, PerplexityRow, SpreadRow, TrialRow, perplexity_cells,
};

use super::notes::harmless;

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
    let heads = [
        "token F1",
        "exact match",
        "mean tokens",
        "ended by itself",
        "ROUGE-L",
        "chrF",
        "repeating",
        "distinct-2",
    ];
    let [f1, exact, tokens, ended, rouge, chrf, repeating, distinct] = heads;
    let mut text = format!(
        "{:<14}{f1:>18}{exact:>14}{tokens:>14}{ended:>18}{rouge:>9}{chrf:>7}{repeating:>11}{distinct:>12}\n",
        "answers"
    );
    let score =
        |value: Option<f64>, decimals| value.map_or("-".into(), |value| format!("{value:.decimals$}"));
    let share = |value: f64| format!("{:.1} %", 100.0 * value);
    for row in rows {
        let f1 = match (row.token_f1, row.standard_error) {
            (Some(f1), Some(error)) => format!("{f1:.3} ± {error:.3}"),
            (Some(f1), None) => format!("{f1:.3}"),
            (None, _) => "-".into(),
        };
        let exact = row.exact_match.map_or("-".into(), share);
        let (tokens, ended) = (row.mean_tokens, share(row.ended));
        let (rouge, chrf): (String, String) = (score(row.rouge_l, 3), score(row.chrf, 1));
        let (repeating, distinct): (String, String) = (share(row.repeating), score(row.distinct_2, 3));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<14}{f1:>18}{exact:>14}{tokens:>14.1}{ended:>18}{rouge:>9}{chrf:>7}{repeating:>11}{distinct:>12}",
            row.model
        );
    }
    text
}

/// Every measure over several seeds: a line a measure and a model.
pub(crate) fn spread(rows: &[SpreadRow]) -> String {
    let [measure, model, mean, deviation, smallest, largest] =
        ["measure", "model", "mean", "deviation", "smallest", "largest"];
    let mut text = format!("{measure:<30}{model:<14}{mean:>12}{deviation:>12}{smallest:>12}{largest:>12}\n");
    for SpreadRow { measure, model, mean, standard_deviation, smallest, largest, .. } in rows {
        let deviation = standard_deviation.map_or("-".into(), |value| format!("{value:.4}"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{measure:<30}{model:<14}{mean:>12.4}{deviation:>12}{smallest:>12.4}{largest:>12.4}"
        );
    }
    text
}

/// The trials of a sweep: a line each, the chosen one marked.
pub(crate) fn trials(rows: &[TrialRow]) -> String {
    let mut text = String::new();
    for TrialRow { trial, settings, steps, total_steps, validation_loss, chosen, .. } in rows {
        let mark = if *chosen { '*' } else { ' ' };
        let loss = validation_loss.map_or("-".into(), |loss| format!("{loss:.4}"));
        let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{mark} {trial:>3}  validation loss {loss:>8}  after {steps} of {total_steps} steps  {}",
            settings.join(", ")
        );
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

/// A text on one line, without what would steer the terminal.
pub(super) fn flat(text: &str) -> String {
    harmless(&text.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

/// What a person reads at the end of a run: the models on their held-out answers, in less than 80 columns.
pub(crate) fn before_and_after(perplexities: &[PerplexityRow], scores: &[AnswerScores]) -> String {
    let heads = ["perplexity", "token F1", "ends by itself", "repeats itself"];
    let mut text = format!("{:<14}{:>12}{:>12}{:>18}{:>18}\n", "", heads[0], heads[1], heads[2], heads[3]);
    let share = |value: f64| format!("{:.1} %", 100.0 * value);
    for row in perplexities.iter().filter(|row| row.protocol == "response") {
        let of = scores.iter().find(|scores| scores.model == row.model);
        let cell = |read: fn(&AnswerScores) -> Option<f64>, shown: &dyn Fn(f64) -> String| {
            of.and_then(read).map_or_else(|| "-".to_string(), shown)
        };
        // A merged model is the tuned one in another form, and was not asked again.
        if of.is_none() && !scores.is_empty() {
            continue;
        }
        let f1 = cell(|scores| scores.token_f1, &|value| format!("{value:.3}"));
        let ended = cell(|scores| Some(scores.ended), &share);
        let repeating = cell(|scores| Some(scores.repeating), &share);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<14}{:>12.2}{f1:>12}{ended:>18}{repeating:>18}", row.model, row.perplexity);
    }
    text
}

/// How the models tell true answers from others, in a line.
pub(crate) fn told_apart(found: &DiscriminationFacts) -> String {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let models: Vec<String> =
        found.models.iter().map(|model| format!("{} {}", model.model, percent(model.share))).collect();
    let (chance, words) = (percent(found.chance), percent(found.shared_words));
    format!(
        "true answer found among {}: {}; guessing {chance}, shared words {words}",
        found.others + 1,
        models.join(", ")
    )
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
    fn the_end_of_a_run_fits_the_narrowest_screen() {
        let row = |model: &str, protocol: &str| PerplexityRow {
            model: model.into(),
            protocol: protocol.into(),
            loss: 1.0,
            perplexity: 12_345.678,
            tokens: 9,
            standard_error: None,
            bits_per_byte: None,
        };
        let models = ["Base Model", "LoRA Model", "Merged Model"];
        let rows: Vec<PerplexityRow> =
            models.iter().flat_map(|model| [row(model, "text"), row(model, "response")]).collect();
        let scores: Vec<AnswerScores> = models[..2]
            .iter()
            .map(|model| AnswerScores {
                model: model.to_string(),
                questions: 2,
                token_f1: Some(0.5),
                standard_error: None,
                exact_match: None,
                mean_tokens: 4.0,
                ended: 1.0,
                rouge_l: None,
                chrf: None,
                repeating: 0.125,
                distinct_2: None,
            })
            .collect();
        let text = before_and_after(&rows, &scores);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.lines().all(|line| line.len() < 80) && text.contains("LoRA Model        12345.68"),
            "{text}"
        );
        assert_eq!(before_and_after(&rows, &[]).lines().count(), 4);
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
            ended: 1.0,
            rouge_l: Some(1.0),
            chrf: None,
            repeating: 0.0,
            distinct_2: None,
        };
        let unmeasured = AnswerScores { token_f1: None, exact_match: None, ..row.clone() };
        let text = scores(&[row, unmeasured]);
        assert!(text.contains("Base Model                 1.000       100.0 %           4.0"), "{text}");
        assert!(text.contains("Base Model                     -             -           4.0"), "{text}");
    }
}
