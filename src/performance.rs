//! Loss and perplexity of several models on the same rows: the table of a run.

use std::fmt::Write;

use gptneo_training::measure::Evaluation;
use gptneo_training::report::PerformanceRow;

/// What a reader of the three protocols must know.
pub(crate) const NOTE: &str = "text scores every real token, response the answers alone. notebook also scores the \
                               padding: it flatters whoever trains on padding, which is learned within minutes \
                               whatever the answers are worth; here nobody does.";

/// The protocols, in the order they are shown.
const PROTOCOLS: [&str; 3] = ["notebook", "text", "response"];

/// One model's rows, a protocol each.
pub(crate) fn rows(model: &str, evaluation: &Evaluation) -> Vec<PerformanceRow> {
    let scores = [evaluation.notebook, evaluation.text, evaluation.response];
    let named = PROTOCOLS.iter().zip(scores);
    named
        .map(|(protocol, score)| PerformanceRow {
            model: model.to_string(),
            protocol: (*protocol).to_string(),
            loss: score.loss,
            perplexity: score.perplexity,
            tokens: score.tokens,
            standard_error: score.standard_error,
        })
        .collect()
}

/// The perplexity of `model` under `protocol`.
fn perplexity(rows: &[PerformanceRow], model: &str, protocol: &str) -> Option<f64> {
    rows.iter().find(|row| row.model == model && row.protocol == protocol).map(|row| row.perplexity)
}

/// The models of the rows, in order.
fn models(rows: &[PerformanceRow]) -> Vec<&str> {
    let mut models: Vec<&str> = rows.iter().map(|row| row.model.as_str()).collect();
    models.dedup();
    models
}

/// The table's lines: for each model its perplexities, and from the second on the change from the first.
///
/// Each line is the model's name and a cell a protocol.
pub(crate) fn cells(rows: &[PerformanceRow]) -> Vec<[String; 4]> {
    let models = models(rows);
    let cell = |model: &str, protocol: &str| {
        let value = perplexity(rows, model, protocol).unwrap_or(f64::NAN);
        match models.first() {
            Some(first) if *first != model => {
                let before = perplexity(rows, first, protocol).unwrap_or(f64::NAN);
                format!("{value:.3} ({:+.1} %)", 100.0 * (value / before - 1.0))
            }
            _ => format!("{value:.3}"),
        }
    };
    models
        .iter()
        .map(|model| [*model, "", "", ""].map(String::from))
        .zip(&models)
        .map(|(mut line, model)| {
            for (place, protocol) in line[1..].iter_mut().zip(PROTOCOLS) {
                *place = cell(model, protocol);
            }
            line
        })
        .collect()
}

/// The table for a terminal.
pub(crate) fn render(rows: &[PerformanceRow]) -> String {
    let mut text = format!("{:<14}{:>22}{:>22}{:>22}\n", "perplexity", "notebook", "text", "response");
    for [model, notebook, all, response] in cells(rows) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{model:<14}{notebook:>22}{all:>22}{response:>22}");
    }
    text
}

#[cfg(test)]
mod tests {
    use gptneo_training::measure::Score;

    use super::*;

    #[test]
    fn the_table_shows_each_change_from_the_first_model() {
        let score =
            |perplexity: f64| Score { loss: perplexity.ln(), perplexity, tokens: 10, standard_error: None };
        let evaluation = |factor: f64| Evaluation {
            notebook: score(100.0 * factor),
            text: score(20.0 * factor),
            response: score(10.0 * factor),
        };
        let mut all = rows("Base Model", &evaluation(1.0));
        all.extend(rows("LoRA Model", &evaluation(0.5)));
        assert_eq!(cells(&all)[0], ["Base Model", "100.000", "20.000", "10.000"]);
        assert_eq!(cells(&all)[1][3], "5.000 (-50.0 %)");
    }
}
