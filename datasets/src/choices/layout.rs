//! The layouts of multiple-choice files, each a way from a record's fields to a question.

use super::ChoiceQuestion;
use crate::form::text;
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

/// Every field that some layout reads.
pub(super) fn fields() -> impl Iterator<Item = String> {
    let others = ["question", "choices", "answer", "cop", "options", "answer_idx", "sent1", "sent2", "label"];
    others.into_iter().chain(OPTIONS).map(String::from).chain((0..=MOST).map(ending))
}

impl Layout {
    /// The layout that has these columns.
    pub(super) fn of(columns: &[String]) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| columns.iter().any(|column| column == name));
        match () {
            () if has(&["question", "choices", "answer"]) => Some(Self::Plain),
            () if has(&["question", "cop"]) && has(&OPTIONS) => Some(Self::MedMcqa),
            () if has(&["question", "options", "answer_idx"]) => Some(Self::MedQa),
            () if has(&["sent1", "ending0", "ending1", "label"]) => Some(Self::Endings),
            () => None,
        }
    }

    /// The name, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "multiple choice",
            Self::MedMcqa => "MedMCQA",
            Self::MedQa | Self::Endings => "MedQA",
        }
    }

    /// The question in a record's fields, or everything that is wrong with it.
    pub(super) fn question(self, fields: &mut Fields) -> Result<ChoiceQuestion, String> {
        let mut faults = Vec::new();
        let question = match self {
            Self::Plain | Self::MedMcqa | Self::MedQa => text("question", fields.take("question")),
            Self::Endings => sentences(fields),
        };
        let question = question.map_err(|fault| faults.push(fault)).unwrap_or_default();
        let choices = match self {
            Self::Plain => list(fields),
            Self::MedMcqa => texts(fields, OPTIONS.map(String::from)),
            Self::MedQa => by_letter(fields),
            Self::Endings => {
                // One more than there may be is looked at, so that too many are refused and not passed over.
                let names: Vec<String> =
                    (0..=MOST).map(ending).take_while(|name| fields.get(name).is_some()).collect();
                texts(fields, names)
            }
        };
        let choices = choices.map_err(|fault| faults.push(fault)).unwrap_or_default();
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
            (Ok(answer), true) => Ok(ChoiceQuestion { question, choices, answer }),
            (Err(fault), true) => Err(fault),
            _ => Err(faults.join("; ")),
        }
    }
}

fn ending(at: usize) -> String {
    format!("ending{at}")
}

fn texts(fields: &mut Fields, names: impl IntoIterator<Item = String>) -> Result<Vec<String>, String> {
    let (found, faults): (Vec<_>, Vec<_>) =
        names.into_iter().map(|name| text(&name, fields.take(&name))).partition(Result::is_ok);
    match faults.is_empty() {
        true => Ok(found.into_iter().flatten().collect()),
        false => Err(faults.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; ")),
    }
}

/// The plain layout's choices: a list, or a table's cell with one.
fn list(fields: &mut Fields) -> Result<Vec<String>, String> {
    let expected = "expected a list of texts, such as [\"one\", \"two\"]";
    let found = unpacked(fields.take("choices"));
    let Some(Value::List(values)) = found else {
        return Err(format!("`choices` is {}, {expected}", found.as_ref().map_or("missing", Value::kind)));
    };
    let text = |(at, value): (usize, Value)| match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("choice {at} is {}, expected a string", other.kind())),
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
        Some(Value::List(options)) => {
            let pair = |option: &Value| match (option.get("key"), option.get("value")) {
                (Some(Value::Text(key)), Some(value)) => Some((key.clone(), value.clone())),
                _ => None,
            };
            let pairs: Option<_> = options.iter().map(pair).collect();
            pairs.ok_or_else(|| format!("`options` is a list without `key` and `value`, {expected}"))?
        }
        other => {
            return Err(format!(
                "`options` is {}, {expected}",
                other.as_ref().map_or("missing", Value::kind)
            ));
        }
    };
    let mut choices = Vec::with_capacity(pairs.len());
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        let wanted = char::from(b'A' + at.min(MOST - 1) as u8).to_string();
        match value {
            _ if key != wanted => {
                let found = Value::Text(key).shown();
                return Err(format!(
                    "`options` has {found} where {wanted:?} is expected; letters go from A on"
                ));
            }
            Value::Text(text) => choices.push(text),
            other => return Err(format!("option {key} is {}, expected a string", other.kind())),
        }
    }
    Ok(choices)
}

/// The question of `sent1`, with `sent2` behind it where there is one.
fn sentences(fields: &mut Fields) -> Result<String, String> {
    let first = text("sent1", fields.take("sent1"))?;
    match fields.take("sent2") {
        Some(Value::Text(second)) if !second.trim().is_empty() => Ok(format!("{first} {}", second.trim())),
        _ => Ok(first),
    }
}

/// An index from 0, as a number or as a text of digits.
fn index(fields: &mut Fields, name: &str, choices: usize) -> Result<usize, String> {
    let Some(found) = fields.take(name) else { return Err(format!("`{name}` is missing")) };
    let number = match &found {
        Value::Number(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    match (number, (0..choices).find(|place| number == Some(*place as f64))) {
        (_, Some(place)) => Ok(place),
        (Some(-1.0), None) => {
            Err(format!("`{name}` is -1: this split keeps its answers secret; take the validation split"))
        }
        _ => Err(format!(
            "`{name}` is {}, expected the right choice's number, counted from 0 to {}",
            found.shown(),
            choices.max(1) - 1
        )),
    }
}

/// An index as a letter from A.
fn letter(fields: &mut Fields, choices: usize) -> Result<usize, String> {
    let found = text("answer_idx", fields.take("answer_idx"))?;
    let at = match found.trim().as_bytes() {
        [letter @ b'A'..=b'Z'] => usize::from(letter - b'A'),
        _ => usize::MAX,
    };
    let last = char::from(b'A' + choices.clamp(1, MOST) as u8 - 1);
    match at < choices {
        true => Ok(at),
        false => {
            let found = Value::Text(found).shown();
            Err(format!("`answer_idx` is {found}, expected a letter from A to {last}"))
        }
    }
}

/// What is wrong with choices that are texts.
fn fault_of(choices: &[String]) -> Option<String> {
    if choices.len() < 2 {
        return Some(format!("{} choices, expected at least two", choices.len()));
    }
    if choices.len() > MOST {
        return Some(format!("{} choices, expected at most {MOST}", choices.len()));
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
