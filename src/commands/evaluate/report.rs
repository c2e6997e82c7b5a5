//! What `evaluate` says: one JSON object, or a few tables.

use std::fmt::Write;
use std::path::PathBuf;

use gptneo_datasets::Truncation;
use gptneo_lora::run::evaluate::{Examined, Paired, PairedLoss};
use gptneo_report::AnswerScores;
use gptneo_training::measure::{
    Bootstrap, ChoiceItem, ChoiceScores, Discrimination, Evaluation, McNemar, Score, Verdict,
};
use serde::Serialize;

use crate::terminal::tables;

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) found: Found,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Vec<ChoiceItem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) against: Option<Against>,
    pub(super) model: PathBuf,
    pub(super) adapter: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    /// Records, or blocks of plain text, that were scored.
    pub(super) examples: Option<usize>,
    pub(super) max_seq_length: usize,
    pub(super) truncation: Option<Truncation>,
    /// Records and questions that were left out because they cannot be used.
    pub(super) skipped: usize,
    pub(super) backend: &'static str,
    pub(super) seconds: f64,
}

/// One model's results; what was not asked for is left out.
#[derive(Serialize)]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    protocols: Option<Evaluation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<ChoiceScores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discrimination: Option<Discrimination>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<AnswerScores>,
}

impl From<Examined> for Found {
    fn from(found: Examined) -> Self {
        let Examined { protocols, choices, discrimination, answers, .. } = found;
        Self { protocols, choices, discrimination, answers }
    }
}

/// The other model on the same rows, and the model against it.
#[derive(Serialize)]
pub(super) struct Against {
    #[serde(rename = "model")]
    pub(super) name: PathBuf,
    #[serde(flatten)]
    pub(super) found: Found,
    pub(super) paired: Paired,
}

impl Report {
    /// The tables. Writing to a string cannot fail.
    pub(super) fn render(&self) -> String {
        let mut text = self.found.render();
        if let (Some(examples), Some(truncation)) = (self.examples, self.truncation) {
            let _ = writeln!(
                text,
                "{examples} examples of at most {} tokens in {:.1} s; {} were longer. notebook also scores the padding: \
                 compare text and response",
                self.max_seq_length, self.seconds, truncation.over_long
            );
        }
        for (at, ChoiceItem { loglikelihoods, label }) in self.items.iter().flatten().enumerate() {
            let each: Vec<String> = loglikelihoods.iter().map(|value| format!("{value:.4}")).collect();
            let _ = writeln!(text, "question {}: {} (right: {label})", at + 1, each.join(" "));
        }
        if let Some(Against { name, found, paired }) = &self.against {
            let _ = write!(text, "\n{}\n{}", name.display(), found.render());
            let _ = write!(text, "\nfrom there to the model of these rows\n{}", render_paired(paired));
        }
        text
    }
}

impl Found {
    fn render(&self) -> String {
        let mut text = String::new();
        if let Some(Evaluation { notebook, text: all, response }) = &self.protocols {
            let heads = ["protocol", "loss", "perplexity", "tokens", "bits/byte"];
            let [protocol, loss, perplexity, tokens, bits] = heads;
            let _ = writeln!(text, "{protocol:<10} {loss:>10} {perplexity:>12} {tokens:>10} {bits:>10}");
            for (name, score) in [("notebook", notebook), ("text", all), ("response", response)] {
                let Score { loss, perplexity, tokens, standard_error, bits_per_byte } = score;
                let bits = bits_per_byte.map_or("-".to_string(), |bits| format!("{bits:.4}"));
                let error = standard_error.map(|error| format!("  (loss ± {error:.4})")).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "{name:<10} {loss:>10.4} {perplexity:>12.4} {tokens:>10} {bits:>10}{error}"
                );
            }
        }
        if let Some(found) = &self.choices {
            let _ = writeln!(
                text,
                "multiple choice: {} right of {} questions, {} by likelihood for each character; guessing {}, the \
                 commonest place {}, without the question {}{}",
                with_error(found.accuracy, found.standard_error),
                found.count,
                percent(found.accuracy_normalised),
                percent(found.chance),
                percent(found.majority),
                percent(found.choices_only),
                near_chance(found.accuracy, found.count, found.chance)
            );
        }
        if let Some(found) = &self.discrimination {
            let _ = writeln!(text, "{}", discrimination_line(found));
        }
        if let Some(scores) = &self.answers {
            text += &tables::scores(std::slice::from_ref(scores));
        }
        text
    }
}

/// How a model tells true answers from others, on one line.
pub(crate) fn discrimination_line(found: &Discrimination) -> String {
    format!(
        "true answers told from others: {} of {} questions; guessing {}, shared words {}{}",
        with_error(found.accuracy, found.standard_error),
        found.count,
        percent(found.chance),
        percent(found.shared_words),
        near_chance(found.accuracy, found.count, found.chance)
    )
}

/// What the paired tests say, a line each.
pub(crate) fn render_paired(found: &Paired) -> String {
    let mut text = String::new();
    if let Some(PairedLoss { paired, verdict }) = &found.response {
        let error = paired.standard_error.map(|error| format!(" ± {error:.5}")).unwrap_or_default();
        let says = match verdict {
            Verdict::LargerThanTwice => "more than two standard errors",
            Verdict::LargerThanError => "more than its standard error, but not than two",
            Verdict::WithinError => "not more than its standard error",
            Verdict::Unknown => "one row alone says nothing about others",
        };
        let _ = writeln!(text, "  response loss {:+.5}{error} nats per token: {says}", paired.difference);
    }
    for (name, test) in [("multiple choice", &found.choices), ("true answers", &found.discrimination)] {
        if let Some(McNemar { gained, lost, p_value }) = test {
            let _ =
                writeln!(text, "  {name}: {gained} gained, {lost} lost (McNemar's test, p = {p_value:.4})");
        }
    }
    for (name, Bootstrap { difference, interval: [low, high], p_value }) in &found.answers {
        let _ = writeln!(
            text,
            "  {name} {difference:+.4} ({low:+.4} to {high:+.4}; paired bootstrap, p = {p_value:.4})"
        );
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn with_error(share: f64, error: Option<f64>) -> String {
    match error {
        Some(error) => format!("{:.1} ± {:.1} %", 100.0 * share, 100.0 * error),
        None => percent(share),
    }
}

/// Says it where a share is no better than guessing: within two standard errors of what guessing finds of so many.
fn near_chance(share: f64, count: usize, chance: f64) -> &'static str {
    let of_guessing = (chance * (1.0 - chance) / count as f64).sqrt();
    if share - chance <= 2.0 * of_guessing { ". That is no better than guessing" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::near_chance;

    #[test]
    fn a_few_right_answers_may_be_guessed() {
        assert!(near_chance(1.0, 1, 0.25).contains("guessing"), "one of one has no spread of its own");
        assert!(near_chance(0.3, 100, 0.25).contains("guessing"));
        assert_eq!(near_chance(1.0, 8, 0.25), "");
        assert_eq!(near_chance(0.4, 100, 0.25), "");
    }
}
