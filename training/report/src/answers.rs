//! What the models answer, and how good that is: two CSV tables.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ReportError;
use crate::table::{cell, write_table};

/// The columns of the answers' table, in order.
const GENERATION_COLUMNS: [&str; 3] = ["Question", "Base Model", "LoRA Model"];
/// The columns of the scores' table, in order.
const SCORE_COLUMNS: [&str; 11] = [
    "Model",
    "Questions",
    "Token F1",
    "Standard Error",
    "Exact Match",
    "Mean Tokens",
    "Stopped",
    "ROUGE-L",
    "chrF",
    "Repeating",
    "Distinct-2",
];

/// One question and the answers of both models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRow {
    /// The question that was asked.
    pub question: String,
    /// The base model's answer.
    pub base: String,
    /// The fine-tuned model's answer.
    pub tuned: String,
}

/// A model's answers in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerScores {
    /// The model as people should read it, such as "Base Model".
    pub model: String,
    /// How many questions it answered.
    pub questions: usize,
    /// The mean token F1 over the answers with a reference, from 0 to 1; none where no answer has one.
    pub token_f1: Option<f64>,
    /// The standard error of `token_f1`; none for fewer than two references.
    pub standard_error: Option<f64>,
    /// The share of those answers that equal their reference.
    pub exact_match: Option<f64>,
    /// The mean length in tokens.
    pub mean_tokens: f64,
    /// The share of answers that the model ended itself.
    pub ended: f64,
    /// The mean ROUGE-L over the answers with a reference, from 0 to 1.
    pub rouge_l: Option<f64>,
    /// The mean chrF over them, from 0 to 100.
    pub chrf: Option<f64>,
    /// The share of answers that have the same four words in a row three times.
    pub repeating: f64,
    /// The different pairs of neighbouring words in all answers, as a share of all pairs.
    pub distinct_2: Option<f64>,
}

/// Writes the answers side by side.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_generation(path: impl AsRef<Path>, rows: &[GenerationRow]) -> Result<(), ReportError> {
    let records = rows
        .iter()
        .map(|GenerationRow { question, base, tuned }| [question, base, tuned].map(String::as_str));
    write_table(path.as_ref(), &GENERATION_COLUMNS, records)
}

/// Writes the scores of the answers. Shares go from 0 to 1; what was not measured is an empty cell.
///
/// # Errors
/// [`ReportError::Write`] where the file cannot be written.
pub fn write_answer_scores(path: impl AsRef<Path>, rows: &[AnswerScores]) -> Result<(), ReportError> {
    let records = rows.iter().map(|row| {
        [
            row.model.clone(),
            row.questions.to_string(),
            cell(row.token_f1),
            cell(row.standard_error),
            cell(row.exact_match),
            row.mean_tokens.to_string(),
            row.ended.to_string(),
            cell(row.rouge_l),
            cell(row.chrf),
            row.repeating.to_string(),
            cell(row.distinct_2),
        ]
    });
    write_table(path.as_ref(), &SCORE_COLUMNS, records)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn awkward_text_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("generation.csv");
        let awkward = GenerationRow {
            question: "What is \"angina\", then?".into(),
            base: "line one\nline two\r\n\n,".into(),
            tuned: String::new(),
        };
        write_generation(&path, std::slice::from_ref(&awkward)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("Question,Base Model,LoRA Model\n\"What is \"\"angina\"\", then?\","),
            "{text}"
        );
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record, vec![awkward.question, awkward.base, awkward.tuned]);
    }

    #[test]
    fn what_was_not_measured_is_an_empty_cell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.csv");
        let row = AnswerScores {
            model: "Base Model".into(),
            questions: 2,
            token_f1: None,
            standard_error: None,
            exact_match: None,
            mean_tokens: 3.5,
            ended: 0.5,
            rouge_l: None,
            chrf: None,
            repeating: 0.25,
            distinct_2: None,
        };
        write_answer_scores(&path, &[row]).unwrap();
        let expected = "Model,Questions,Token F1,Standard Error,Exact Match,Mean Tokens,Stopped,ROUGE-L,chrF,Repeating,\
                        Distinct-2\nBase Model,2,,,,3.5,0.5,,,0.25,\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
}
