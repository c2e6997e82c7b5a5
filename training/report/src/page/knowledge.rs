//! The section "What it knows": whether the models tell true answers from others, and how good their own answers are.

use super::Findings;
use super::html::{absent, chart, figure, share, table, whole};
use crate::answers::AnswerScores;
use crate::chart::Chart;
use crate::decoding::Decoding;
use crate::error::ReportError;
use crate::knowledge::{DiscriminationFacts, answers_reading, knowledge_reading};
use crate::markup::escape;

/// Fewer questions than these are few.
const FEW: usize = 30;

/// The section; nothing where nothing was measured.
pub(super) fn section(findings: &Findings, decoding: Decoding) -> Result<String, ReportError> {
    if findings.discrimination.is_none() && findings.scores.is_empty() {
        return Ok(String::new());
    }
    let mut section = String::from("<section>\n<h2>What it knows</h2>\n");
    if let Some(found) = &findings.discrimination {
        section += &format!("<p class=\"reading\">{}</p>\n", escape(&knowledge_reading(found)));
        section += &discrimination(found)?;
    }
    if !findings.scores.is_empty() {
        section += &answers(&findings.scores, decoding);
        let changes = answers_reading(&findings.changes);
        if !changes.is_empty() {
            section += &format!("<p>{}</p>\n", escape(&changes));
        }
    }
    Ok(section + "</section>\n")
}

fn discrimination(found: &DiscriminationFacts) -> Result<String, ReportError> {
    let row = |name: &str, value: f64, error: Option<f64>| {
        format!(
            "<tr class=\"discrimination\"><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escape(name),
            share(value),
            error.map_or_else(absent, share)
        )
    };
    let mut lines = vec![row("guessing", found.chance, None), row("shared words", found.shared_words, None)];
    lines.extend(found.models.iter().map(|model| row(&model.model, model.share, model.standard_error)));
    let heads = ["by", "true answers found", "standard error"];
    Ok(table("discrimination", &heads, &lines) + &chart(&Chart::discrimination(found)?))
}

fn answers(rows: &[AnswerScores], decoding: Decoding) -> String {
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let score =
                |value: Option<f64>, decimals| value.map_or_else(absent, |value| figure(value, decimals));
            let cells = [
                whole(row.questions as u64),
                score(row.token_f1, 3),
                score(row.standard_error, 3),
                row.exact_match.map_or_else(absent, share),
                figure(row.mean_tokens, 1),
                share(row.ended),
                score(row.rouge_l, 3),
                score(row.chrf, 1),
                share(row.repeating),
                row.distinct_2.map_or_else(absent, share),
            ];
            let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            format!("<tr data-model=\"{model}\"><td>{model}</td>{cells}</tr>\n", model = escape(&row.model))
        })
        .collect();
    let heads = [
        "model",
        "questions",
        "token F1 (0 to 1)",
        "standard error",
        "exact match",
        "mean length (tokens)",
        "ended by itself",
        "ROUGE-L (0 to 1)",
        "chrF (0 to 100)",
        "repeats itself",
        "distinct pairs of words",
    ];
    let few = match rows.iter().map(|row| row.questions).min() {
        Some(few) if few < FEW => format!(" {few} questions are few: see the standard error."),
        _ => String::new(),
    };
    format!(
        "<h3>Its answers in numbers</h3>\n<p>Token F1, ROUGE-L and chrF are overlaps with the expected answer, in words, \
         in sequences of words and in characters: they tell whether the same words are used, not whether what is said \
         is true. An answer repeats itself that has the same four words in a row three times. {}{few}</p>\n{}",
        decoding.sentence(),
        table("answer-metrics", &heads, &lines)
    )
}
