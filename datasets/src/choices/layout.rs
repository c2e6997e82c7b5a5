//! The layouts of multiple-choice files, each a way from a record's fields to a question.

use super::ChoiceQuestion;
use crate::excerpt::shown;
use crate::value::{Fields, Value, parse};

/// What the columns of a file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `question`, `choices` (a list of texts), `answer` (an index from 0).
    Plain,
    /// MedMCQA: `question`, `opa` to `opd`, `cop` (an index from 0).
    MedMcqa,
    /// MedQA: `question`, `options` by letter, `answer_idx` (a letter).
    MedQa,
    /// MedQA as its other form has it: `sent1`, `sent2`, `ending0` and so on, `label` (an index from 0).
    Endings,
}

const OPTIONS: [&str; 4] = ["opa", "opb", "opc", "opd"];
/// The most choices that a question may have: as many as there are letters.
const MOST: usize = 26;

/// The columns that some layout uses.
pub(super) fn columns() -> Vec<String> {
    let fixed = ["question", "choices", "answer", "cop", "options", "answer_idx", "sent1", "sent2", "label"];
    let endings = (0..=MOST).map(|at| format!("ending{at}"));
    fixed.into_iter().chain(OPTIONS).map(String::from).chain(endings).collect()
}

impl Layout {
    /// The layout that has these columns.
    pub(super) fn of(columns: &[String]) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| columns.iter().any(|column| column == *name));
        match () {
            () if has(&["question", "choices", "answer"]) => Some(Self::Plain),
            () if has(&["question", "cop"]) && has(&OPTIONS) => Some(Self::MedMcqa),
            () if has(&["question", "options", "answer_idx"]) => Some(Self::MedQa),
            () if has(&["sent1", "ending0", "ending1", "label"]) => Some(Self::Endings),
            () => None,
        }
    }

    /// The question in a record's fields, or everything that is wrong with it.
    pub(super) fn question(self, fields: &mut Fields) -> Result<ChoiceQuestion, String> {
        let mut faults = Vec::new();
        let mut keep = |found: Result<Vec<String>, String>| found.map_err(|fault| faults.push(fault)).ok();
        let (question, choices) = match self {
            Self::Plain => (keep(text(fields, "question").map(one)), keep(list(fields))),
            Self::MedMcqa => {
                (keep(text(fields, "question").map(one)), keep(texts(fields, OPTIONS.map(String::from))))
            }
            Self::MedQa => (keep(text(fields, "question").map(one)), keep(by_letter(fields))),
            Self::Endings => (keep(sentences(fields).map(one)), keep(endings(fields))),
        };
        let choices = choices.unwrap_or_default();
        if faults.is_empty() {
            faults.extend(fault_of(&choices));
        }
        let answer = match self {
            Self::Plain => index(fields, "answer", choices.len()),
            Self::MedMcqa => index(fields, "cop", choices.len()),
            Self::MedQa => letter(fields, choices.len()),
            Self::Endings => index(fields, "label", choices.len()),
        };
        match (answer, faults.is_empty()) {
            (Ok(answer), true) => {
                Ok(ChoiceQuestion { question: question.unwrap_or_default().concat(), choices, answer })
            }
            (Err(fault), true) => Err(fault),
            _ => Err(faults.join("; ")),
        }
    }
}

fn one(text: String) -> Vec<String> {
    vec![text]
}

/// A text that is not blank.
fn text(fields: &mut Fields, name: &str) -> Result<String, String> {
    match fields.take(name) {
        None => Err(format!("`{name}` is missing")),
        Some(Value::Text(text)) if text.trim().is_empty() => Err(format!("`{name}` is empty")),
        Some(Value::Text(text)) => Ok(text),
        Some(other) => Err(format!("`{name}` is {}, expected a text", kind(&other))),
    }
}

fn texts(fields: &mut Fields, names: impl IntoIterator<Item = String>) -> Result<Vec<String>, String> {
    let (found, faults): (Vec<_>, Vec<_>) =
        names.into_iter().map(|name| text(fields, &name)).partition(Result::is_ok);
    match faults.is_empty() {
        true => Ok(found.into_iter().flatten().collect()),
        false => Err(faults.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; ")),
    }
}

/// The plain layout's choices: a list, or a CSV cell with one.
fn list(fields: &mut Fields) -> Result<Vec<String>, String> {
    let expected = "expected a list of texts, such as [\"one\", \"two\"]";
    let values = match unpacked(fields.take("choices")) {
        Some(Value::List(values)) => values,
        other => {
            return Err(format!("`choices` is {}, {expected}", other.as_ref().map_or("missing", kind)));
        }
    };
    let text = |(at, value): (usize, Value)| match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("choice {at} is {}, expected a text", kind(&other))),
    };
    values.into_iter().enumerate().map(text).collect()
}

/// MedQA's options: an object by letter, or a list of objects with `key` and `value`.
fn by_letter(fields: &mut Fields) -> Result<Vec<String>, String> {
    let expected = "expected texts by letter, such as {\"A\": \"one\", \"B\": \"two\"}";
    let pairs: Vec<(String, Value)> = match unpacked(fields.take("options")) {
        // A Parquet file has a column for each letter that any record uses.
        Some(Value::Object(options)) => {
            options.into_iter().filter(|(_, value)| *value != Value::Null).collect()
        }
        Some(Value::List(options)) => options
            .iter()
            .map(|option| match (option.get("key")?, option.get("value")?) {
                (Value::Text(key), value) => Some((key.clone(), value.clone())),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("`options` is a list without `key` and `value`, {expected}"))?,
        other => {
            return Err(format!("`options` is {}, {expected}", other.as_ref().map_or("missing", kind)));
        }
    };
    let mut choices = Vec::with_capacity(pairs.len().min(MOST));
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        let wanted = char::from(b'A' + at.min(MOST - 1) as u8).to_string();
        match value {
            _ if key != wanted => {
                return Err(format!(
                    "`options` has \"{}\" where {wanted:?} is expected; letters go from A on",
                    shown(&key)
                ));
            }
            Value::Text(text) => choices.push(text),
            other => return Err(format!("option {key} is {}, expected a text", kind(&other))),
        }
    }
    Ok(choices)
}

/// The texts of `ending0`, `ending1` and so on, as far as they go.
fn endings(fields: &mut Fields) -> Result<Vec<String>, String> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    // One more than there may be is looked at, so that too many are refused and not passed over.
    for name in (0..=MOST).map(|at| format!("ending{at}")) {
        match fields.take(&name) {
            None => break,
            Some(Value::Text(text)) if text.trim().is_empty() => faults.push(format!("`{name}` is empty")),
            Some(Value::Text(text)) => found.push(text),
            Some(other) => faults.push(format!("`{name}` is {}, expected a text", kind(&other))),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults.join("; ")) }
}

/// The question of `sent1`, with `sent2` behind it where there is one.
fn sentences(fields: &mut Fields) -> Result<String, String> {
    let first = text(fields, "sent1")?;
    match fields.take("sent2") {
        Some(Value::Text(second)) if !second.trim().is_empty() => Ok(format!("{first} {}", second.trim())),
        _ => Ok(first),
    }
}

/// An index from 0, as a number or as a text of digits.
fn index(fields: &mut Fields, name: &str, choices: usize) -> Result<usize, String> {
    let found = fields.take(name).ok_or_else(|| format!("`{name}` is missing"))?;
    let number = match &found {
        Value::Number(number) if number.fract() == 0.0 => Some(*number),
        Value::Text(text) => text.trim().parse::<i32>().ok().map(f64::from),
        _ => None,
    };
    match number {
        Some(-1.0) => {
            Err(format!("`{name}` is -1: this split keeps its answers secret; take the validation split"))
        }
        Some(number) if (0.0..choices as f64).contains(&number) => Ok(number as usize),
        _ => {
            let said = match &found {
                Value::Number(number) => number.to_string(),
                Value::Text(text) => format!("\"{}\"", shown(text)),
                other => kind(other).to_string(),
            };
            let last = choices.max(1) - 1;
            Err(format!("`{name}` is {said}, expected the right choice's number, counted from 0 to {last}"))
        }
    }
}

/// An index as a letter from A.
fn letter(fields: &mut Fields, choices: usize) -> Result<usize, String> {
    let found = text(fields, "answer_idx")?;
    let at = match found.trim().as_bytes() {
        [letter @ b'A'..=b'Z'] => usize::from(letter - b'A'),
        _ => usize::MAX,
    };
    let last = char::from(b'A' + choices.clamp(1, MOST) as u8 - 1);
    match at < choices {
        true => Ok(at),
        false => Err(format!("`answer_idx` is \"{}\", expected a letter from A to {last}", shown(&found))),
    }
}

/// What is wrong with choices that are texts.
fn fault_of(choices: &[String]) -> Option<String> {
    if !(2..=MOST).contains(&choices.len()) {
        let bound = if choices.len() < 2 { "at least two".to_string() } else { format!("at most {MOST}") };
        return Some(format!("{} choices, expected {bound}", choices.len()));
    }
    if let Some(at) = choices.iter().position(|choice| choice.trim().is_empty()) {
        return Some(format!("choice {at} is empty; leave it out, or the question"));
    }
    let twice = choices.iter().enumerate().find_map(|(at, choice)| {
        choices[..at].iter().position(|other| other.trim() == choice.trim()).map(|other| (other, at))
    });
    twice.map(|(one, other)| {
        format!("choices {one} and {other} are the same, so that neither can be right alone; leave the question out")
    })
}

/// A list or an object; of a text, the one written in it.
fn unpacked(value: Option<Value>) -> Option<Value> {
    match value? {
        Value::Text(text) => Some(parse(&text).unwrap_or(Value::Text(text))),
        other => Some(other),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        other => other.kind(),
    }
}
