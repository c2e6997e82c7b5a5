//! Exams as data to learn from: MedMCQA as `openlifescienceai/medmcqa` has it on the Hub.
//!
//! The files that its authors give out themselves have the same columns, but count the right choice from 1: the Hub's
//! loading script (`medmcqa.py`) subtracts it. Read as the Hub's, every answer but the last choice's would be a wrong
//! one, and nothing would say so; that a fourth is right shows it.

use super::text;
use crate::record::Record;
use crate::value::{Fields, Value};

const CHOICES: [(&str, char); 4] = [("opa", 'A'), ("opb", 'B'), ("opc", 'C'), ("opd", 'D')];

/// What is wrong with a file whose right choices are counted from 1.
pub(crate) const FROM_ONE: &str = "`cop` is 4, so that right choices are counted from 1 here, as in the authors' own files, and every one would be \
     taken for its neighbour; take the files on the Hub, which count from 0, or subtract 1 from each";

/// Whether the right choice is one that only counting from 1 gives.
pub(crate) fn counts_from_one(fields: &Fields) -> bool {
    match fields.get("cop") {
        Some(Value::Number(number)) => *number == 4.0,
        Some(Value::Text(text)) => text.trim() == "4",
        _ => false,
    }
}

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
