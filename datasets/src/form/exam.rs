//! Exams as data to learn from: MedMCQA as `openlifescienceai/medmcqa` has it.

use super::text;
use crate::record::Record;
use crate::value::{Fields, Value};

const CHOICES: [(&str, char); 4] = [("opa", 'A'), ("opb", 'B'), ("opc", 'C'), ("opd", 'D')];

/// The question with its lettered choices; the right one with its letter as answer. `cop` is its number, from 0.
pub(super) fn medmcqa(fields: &mut Fields) -> Result<Record, String> {
    let mut faults = Vec::new();
    let mut taken = |name: &str, value| {
        let found = text(name, value).map_err(|fault| faults.push(fault)).unwrap_or_default();
        found.trim().to_string()
    };
    let mut question = taken("question", fields.take("question"));
    let choices = CHOICES.map(|(name, letter)| format!("{letter}. {}", taken(name, fields.take(name))));
    let number = match fields.take("cop") {
        Some(Value::Number(number)) => Some(number),
        Some(Value::Text(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let answer = (0..choices.len()).find(|place| number == Some(*place as f64));
    match (answer, number) {
        (Some(_), _) => {}
        (None, Some(-1.0)) => faults.push("`cop` is -1: this split has no answers".into()),
        (None, Some(_)) => faults.push("`cop` is no number from 0 to 3".into()),
        (None, None) => faults.push("`cop` is missing, expected a number from 0 to 3".into()),
    }
    let Some(answer) = answer.filter(|_| faults.is_empty()) else {
        return Err(faults.join("; "));
    };
    for choice in &choices {
        question.push('\n');
        question.push_str(choice);
    }
    Ok(Record::new(question, choices[answer].clone()))
}
