//! The layouts of multiple-choice files, each a way from a record's fields to a question.

use serde_json::{Map, Value};

use super::ChoiceQuestion;

/// A record's fields by name.
type Fields = Map<String, Value>;

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

impl Layout {
    /// The layout that has these columns.
    pub(super) fn of(columns: &[&String]) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| columns.iter().any(|column| column == name));
        match () {
            () if has(&["question", "choices", "answer"]) => Some(Self::Plain),
            () if has(&["question", "cop"]) && has(&OPTIONS) => Some(Self::MedMcqa),
            () if has(&["question", "options", "answer_idx"]) => Some(Self::MedQa),
            () if has(&["sent1", "ending0", "ending1", "label"]) => Some(Self::Endings),
            () => None,
        }
    }

    /// The question in a record's fields, or everything that is wrong with it.
    pub(super) fn question(self, fields: &Fields) -> Result<ChoiceQuestion, String> {
        let mut faults = Vec::new();
        let mut keep = |found: Result<Vec<String>, String>| found.map_err(|fault| faults.push(fault)).ok();
        let (question, choices) = match self {
            Self::Plain => (keep(text(fields, "question").map(one)), keep(list(fields))),
            Self::MedMcqa => {
                (keep(text(fields, "question").map(one)), keep(texts(fields, OPTIONS.map(String::from))))
            }
            Self::MedQa => (keep(text(fields, "question").map(one)), keep(by_letter(fields))),
            Self::Endings => (keep(sentences(fields).map(one)), keep(texts(fields, endings(fields)))),
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
fn text(fields: &Fields, name: &str) -> Result<String, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Err(format!("`{name}` is missing")),
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("`{name}` is empty")),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("`{name}` is {}, expected a text", kind(other))),
    }
}

fn texts(fields: &Fields, names: impl IntoIterator<Item = String>) -> Result<Vec<String>, String> {
    let (found, faults): (Vec<_>, Vec<_>) =
        names.into_iter().map(|name| text(fields, &name)).partition(Result::is_ok);
    match faults.is_empty() {
        true => Ok(found.into_iter().flatten().collect()),
        false => Err(faults.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; ")),
    }
}

/// The plain layout's choices: a list, or a CSV cell with one.
fn list(fields: &Fields) -> Result<Vec<String>, String> {
    let expected = "expected a list of texts, such as [\"one\", \"two\"]";
    let unpacked = unpacked(fields.get("choices"));
    let Some(Value::Array(values)) = unpacked else {
        return Err(format!("`choices` is {}, {expected}", unpacked.as_ref().map_or("missing", kind)));
    };
    let text = |(at, value): (usize, Value)| match value {
        Value::String(text) => Ok(text),
        other => Err(format!("choice {at} is {}, expected a text", kind(&other))),
    };
    values.into_iter().enumerate().map(text).collect()
}

/// MedQA's options: an object by letter, or a list of objects with `key` and `value`.
fn by_letter(fields: &Fields) -> Result<Vec<String>, String> {
    let expected = "expected texts by letter, such as {\"A\": \"one\", \"B\": \"two\"}";
    let pairs: Vec<(String, Value)> = match unpacked(fields.get("options")) {
        // A Parquet file has a column for each letter that any record uses.
        Some(Value::Object(options)) => options.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        Some(Value::Array(options)) => options
            .into_iter()
            .map(|option| {
                let key = option.get("key").and_then(Value::as_str).map(String::from);
                Some((key?, option.get("value")?.clone()))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| format!("`options` is a list without `key` and `value`, {expected}"))?,
        other => {
            return Err(format!("`options` is {}, {expected}", other.as_ref().map_or("missing", kind)));
        }
    };
    let mut choices = Vec::with_capacity(pairs.len());
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        let wanted = char::from(b'A' + at.min(25) as u8).to_string();
        match value {
            _ if key != wanted => {
                return Err(format!(
                    "`options` has {key:?} where {wanted:?} is expected; letters go from A on"
                ));
            }
            Value::String(text) => choices.push(text),
            other => return Err(format!("option {key} is {}, expected a text", kind(&other))),
        }
    }
    Ok(choices)
}

/// The names `ending0`, `ending1` and so on, as far as they go.
fn endings(fields: &Fields) -> Vec<String> {
    let names = (0..).map(|at| format!("ending{at}"));
    names.take_while(|name| fields.get(name).is_some_and(|value| !value.is_null())).collect()
}

/// The question of `sent1`, with `sent2` behind it where there is one.
fn sentences(fields: &Fields) -> Result<String, String> {
    let first = text(fields, "sent1")?;
    match fields.get("sent2").and_then(Value::as_str).map(str::trim) {
        None | Some("") => Ok(first),
        Some(second) => Ok(format!("{first} {second}")),
    }
}

/// An index from 0, as a number or as a text of digits.
fn index(fields: &Fields, name: &str, choices: usize) -> Result<usize, String> {
    let number = match fields.get(name) {
        None | Some(Value::Null) => return Err(format!("`{name}` is missing")),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let expected = format!("expected the right choice's number, counted from 0 to {}", choices.max(1) - 1);
    match number {
        Some(-1) => {
            Err(format!("`{name}` is -1: this split keeps its answers secret; take the validation split"))
        }
        Some(number) if (0..choices as i64).contains(&number) => Ok(number as usize),
        _ => Err(format!("`{name}` is {}, {expected}", fields.get(name).unwrap_or(&Value::Null))),
    }
}

/// An index as a letter from A.
fn letter(fields: &Fields, choices: usize) -> Result<usize, String> {
    let found = text(fields, "answer_idx")?;
    let at = match found.trim().as_bytes() {
        [letter @ b'A'..=b'Z'] => usize::from(letter - b'A'),
        _ => usize::MAX,
    };
    let last = char::from(b'A' + choices.clamp(1, 26) as u8 - 1);
    match at < choices {
        true => Ok(at),
        false => Err(format!("`answer_idx` is {found:?}, expected a letter from A to {last}")),
    }
}

/// What is wrong with choices that are texts.
fn fault_of(choices: &[String]) -> Option<String> {
    if choices.len() < 2 {
        return Some(format!("{} choices, expected at least two", choices.len()));
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
fn unpacked(value: Option<&Value>) -> Option<Value> {
    match value? {
        Value::Null => None,
        Value::String(text) => {
            Some(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())))
        }
        other => Some(other.clone()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
