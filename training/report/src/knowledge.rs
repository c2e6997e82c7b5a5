//! What the models of a run know: the facts that page and card tell, what they say in words, and two CSV tables.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::answers::AnswerScores;
use crate::error::ReportError;
use crate::table::{cell, read_table, write_table};

/// The columns of the measures' table, in order.
const MEASURE_COLUMNS: [&str; 5] = ["Measure", "Model", "Value", "Standard Error", "Questions"];
/// The columns of the rows' table, in order.
const SCORE_COLUMNS: [&str; 4] = ["Measure", "Record", "Base", "Tuned"];
/// A test that says so little is within chance.
const SIGNIFICANT: f64 = 0.05;
/// Models with fewer parameters than these are hardly above chance in the usual exams.
const SMALL: usize = 1_000_000_000;

/// How a run's models tell true answers from answers to other questions.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscriminationFacts {
    /// How many answers to other questions stand beside the true one.
    pub others: usize,
    /// How many held-out questions were asked.
    pub questions: usize,
    /// How many parameters the models have.
    pub parameters: usize,
    /// What guessing is expected to get, from 0 to 1.
    pub chance: f64,
    /// What choosing the answer that shares most words with the question gets.
    pub shared_words: f64,
    /// The standard error of the tuned model's share less that of shared words, from the differences question by
    /// question, if in truth there were none.
    pub beside_shared_words: f64,
    /// What each model gets, the base first.
    pub models: Vec<ModelShare>,
    /// The tuned model against the base, question by question.
    pub change: Option<PairedShare>,
}

/// A model's share of right answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShare {
    /// The model as people should read it, such as "Base Model".
    pub model: String,
    /// The share, from 0 to 1.
    pub share: f64,
    /// Its standard error; none for fewer than two questions.
    pub standard_error: Option<f64>,
}

/// Two models on the same questions, right or wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedShare {
    /// Questions that the tuned model has right and the base wrong.
    pub gained: u64,
    /// Questions that the base has right and the tuned model wrong.
    pub lost: u64,
    /// McNemar's exact p value.
    pub p_value: f64,
}

/// How far a score of the answers went from the base to the tuned model.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreChange {
    /// The score, such as "token F1".
    pub measure: String,
    /// The tuned model's mean less the base's.
    pub difference: f64,
    /// The 95 % interval of the difference.
    pub interval: [f64; 2],
    /// The p value of the paired bootstrap.
    pub p_value: f64,
}

/// One measure of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureRow {
    /// What is measured, such as "discrimination".
    #[serde(rename = "Measure")]
    pub measure: String,
    /// The model as people should read it; empty for what is known without one.
    #[serde(rename = "Model")]
    pub model: String,
    /// The value.
    #[serde(rename = "Value")]
    pub value: f64,
    /// Its standard error, where it was estimated.
    #[serde(rename = "Standard Error")]
    pub standard_error: Option<f64>,
    /// How many questions it is over.
    #[serde(rename = "Questions")]
    pub questions: usize,
}

/// What both models score on one held-out record: what two runs are paired by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// The score, such as "discrimination" (1 for right, 0 for wrong) or "token F1".
    #[serde(rename = "Measure")]
    pub measure: String,
    /// The record in the data, from 1.
    #[serde(rename = "Record")]
    pub record: usize,
    /// The base model's.
    #[serde(rename = "Base")]
    pub base: f64,
    /// The tuned model's.
    #[serde(rename = "Tuned")]
    pub tuned: f64,
}

/// Every measure of what the models know, a row each: discrimination with what it is to be compared with, then the
/// answers.
pub fn measure_rows(
    discrimination: Option<&DiscriminationFacts>,
    answers: &[AnswerScores],
) -> Vec<MeasureRow> {
    let mut rows = Vec::new();
    if let Some(found) = discrimination {
        let mut push = |measure: &str, model: &str, value, standard_error| {
            let (measure, model) = (measure.to_string(), model.to_string());
            rows.push(MeasureRow { measure, model, value, standard_error, questions: found.questions });
        };
        push("discrimination by chance", "", found.chance, None);
        push("discrimination by shared words", "", found.shared_words, None);
        for ModelShare { model, share, standard_error } in &found.models {
            push("discrimination", model, *share, *standard_error);
        }
    }
    for scores in answers {
        let measures = [
            ("token F1", scores.token_f1, scores.standard_error),
            ("ROUGE-L", scores.rouge_l, None),
            ("chrF", scores.chrf, None),
            ("ended", Some(scores.ended), None),
            ("repeating", Some(scores.repeating), None),
            ("distinct-2", scores.distinct_2, None),
        ];
        rows.extend(measures.into_iter().filter_map(|(measure, value, standard_error)| {
            let (measure, model) = (measure.to_string(), scores.model.clone());
            Some(MeasureRow { measure, model, value: value?, standard_error, questions: scores.questions })
        }));
    }
    rows
}

/// Writes the measures, every digit of them.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_measures(path: impl AsRef<Path>, rows: &[MeasureRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        let MeasureRow { measure, model, value, standard_error, questions } = row;
        [measure.clone(), model.clone(), value.to_string(), cell(*standard_error), questions.to_string()]
    });
    write_table(path.as_ref(), &MEASURE_COLUMNS, records)
}

/// Reads a table that [`write_measures`] wrote.
///
/// # Errors
/// [`ReportError::Read`] for a file that cannot be opened, a missing column, or a cell that is not a number.
pub fn read_measures(path: impl AsRef<Path>) -> Result<Vec<MeasureRow>, ReportError> {
    read_table(path.as_ref(), &MEASURE_COLUMNS)
}

/// Writes what each held-out record scored, every digit of it.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_scores(path: impl AsRef<Path>, rows: &[ScoreRow]) -> Result<(), ReportError> {
    let records = rows.iter().map(|ScoreRow { measure, record, base, tuned }| {
        [measure.clone(), record.to_string(), base.to_string(), tuned.to_string()]
    });
    write_table(path.as_ref(), &SCORE_COLUMNS, records)
}

/// Reads a table that [`write_scores`] wrote.
///
/// # Errors
/// [`ReportError::Read`] for a file that cannot be opened, a missing column, or a cell that is not a number.
pub fn read_scores(path: impl AsRef<Path>) -> Result<Vec<ScoreRow>, ReportError> {
    read_table(path.as_ref(), &SCORE_COLUMNS)
}

/// What discrimination says, in plain sentences: the model against guessing and against shared words first, then the
/// change.
///
/// "Better" is more than two standard errors, as they are if the model were no better: that of a share which is the
/// chance, and that of differences from shared words which are none. Of the share that was found none is left where
/// every answer was.
pub fn knowledge_reading(found: &DiscriminationFacts) -> String {
    let Some(tuned) = found.models.last() else { return String::new() };
    let percent = |share: f64| format!("{:.1}\u{a0}%", 100.0 * share);
    let of = |model: &ModelShare| match model.standard_error {
        Some(error) => format!("{} ± {:.1}", percent(model.share), 100.0 * error),
        None => percent(model.share),
    };
    let beyond = |than: f64, error: f64| tuned.share - than > 2.0 * error;
    let by_guessing = (found.chance * (1.0 - found.chance) / found.questions as f64).sqrt();
    let verdict = match (
        beyond(found.chance, by_guessing),
        beyond(found.shared_words, found.beside_shared_words),
    ) {
        (false, _) => format!(
            "That is no better than guessing: by this measure it knows nothing of what is asked.{}",
            if found.parameters < SMALL {
                format!(
                    " Models of its size, {:.1} million parameters, are close to chance in exams too.",
                    found.parameters as f64 / 1e6
                )
            } else {
                String::new()
            }
        ),
        (true, false) => format!(
            "That is better than guessing, but no better than choosing the answer that shares most words with the \
             question, which finds {}: it need not know anything for that.",
            percent(found.shared_words)
        ),
        (true, true) => format!(
            "That is better than guessing, and better than choosing the answer that shares most words with the \
             question, which finds {}.",
            percent(found.shared_words)
        ),
    };
    let change = match (&found.change, found.models.first()) {
        (Some(PairedShare { gained, lost, p_value }), Some(base)) if found.models.len() > 1 => format!(
            " The base finds {}. Of the questions the training gained {gained} and lost {lost}, {} than chance would have \
             it (McNemar's test, p = {}).",
            of(base),
            if *p_value < SIGNIFICANT { "more" } else { "no more" },
            p_text(*p_value)
        ),
        _ => String::new(),
    };
    format!(
        "Beside each of {} held-out questions stand its true answer and {} to the questions nearest in words. The tuned \
         model finds the true one in {}, where guessing finds {}. {verdict}{change}",
        found.questions,
        found.others,
        of(tuned),
        percent(found.chance)
    )
}

/// What the paired comparison of the answers' scores says, in plain sentences.
pub fn answers_reading(changes: &[ScoreChange]) -> String {
    let text = |change: &ScoreChange| {
        let ScoreChange { measure, difference, interval: [low, high], p_value } = change;
        let decimals = if high.abs().max(low.abs()) < 1.0 { 3 } else { 1 };
        format!(
            "{measure} {difference:+.decimals$} ({low:+.decimals$} to {high:+.decimals$}, p = {})",
            p_text(*p_value)
        )
    };
    match changes {
        [] => String::new(),
        changes => format!(
            "From the base to the tuned model, answer by answer, with the interval that holds 95\u{a0}% of the \
             differences when the questions are drawn anew: {}.",
            changes.iter().map(text).collect::<Vec<_>>().join("; ")
        ),
    }
}

/// A p value as people read it.
fn p_text(p: f64) -> String {
    if p < 0.001 { "0.001 or less".to_string() } else { format!("{p:.3}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(share: f64) -> DiscriminationFacts {
        let model =
            |model: &str, share| ModelShare { model: model.into(), share, standard_error: Some(0.04) };
        DiscriminationFacts {
            others: 3,
            questions: 120,
            parameters: 6_300_000,
            chance: 0.25,
            shared_words: 0.5,
            beside_shared_words: 0.04,
            models: vec![model("Base Model", 0.3), model("LoRA Model", share)],
            change: Some(PairedShare { gained: 9, lost: 2, p_value: 0.0654 }),
        }
    }

    #[test]
    fn the_honest_reading_is_that_of_the_numbers() {
        for (share, words) in [
            (
                0.32,
                "knows nothing of what is asked. Models of its size, 6.3 million parameters, are close to chance",
            ),
            (0.45, "better than guessing, but no better than choosing the answer that shares most words"),
            (0.57, "but no better than choosing"),
            (0.60, "better than guessing, and better than choosing"),
        ] {
            let text = knowledge_reading(&found(share));
            assert!(text.contains(words), "{share}: {text}");
            assert!(text.contains("the training gained 9 and lost 2, no more than chance"), "{text}");
            assert!(text.contains(&format!("the true one in {:.1}\u{a0}% ± 4.0", 100.0 * share)), "{text}");
        }
        let mut alone = found(0.6);
        alone.change = Some(PairedShare { gained: 20, lost: 1, p_value: 1e-5 });
        assert!(knowledge_reading(&alone).contains("the training gained 20 and lost 1, more than chance"));
        let change =
            ScoreChange { measure: "chrF".into(), difference: 6.0, interval: [2.0, 10.04], p_value: 0.0 };
        let text = answers_reading(&[change]);
        assert!(text.ends_with("chrF +6.0 (+2.0 to +10.0, p = 0.001 or less)."), "{text}");
    }

    #[test]
    fn a_few_questions_say_little_even_where_every_answer_is_found() {
        let of = |questions: usize, share: f64| DiscriminationFacts {
            questions,
            shared_words: 0.0,
            // Every question is found by the model and not by shared words.
            beside_shared_words: 1.0 / (questions as f64).sqrt(),
            models: vec![ModelShare { model: "LoRA Model".into(), share, standard_error: Some(0.0) }],
            change: None,
            ..found(share)
        };
        let reading = |questions, share| knowledge_reading(&of(questions, share));
        assert!(reading(1, 1.0).contains("no better than guessing"), "{}", reading(1, 1.0));
        assert!(reading(3, 1.0).contains("but no better than choosing"), "{}", reading(3, 1.0));
        assert!(reading(5, 1.0).contains("and better than choosing"), "{}", reading(5, 1.0));
    }

    #[test]
    fn the_tables_read_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (measures, scores) = (folder.path().join("measures.csv"), folder.path().join("scores.csv"));
        let rows = measure_rows(Some(&found(1.0 / 3.0)), &[]);
        assert_eq!((rows.len(), rows[3].model.as_str(), rows[3].value), (4, "LoRA Model", 1.0 / 3.0));
        write_measures(&measures, &rows).unwrap();
        assert_eq!(read_measures(&measures).unwrap(), rows);
        let rows = [ScoreRow { measure: "chrF".into(), record: 7, base: 0.1 + 0.2, tuned: 99.0 }];
        write_scores(&scores, &rows).unwrap();
        assert_eq!(read_scores(&scores).unwrap(), rows);
    }
}
