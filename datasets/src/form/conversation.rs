//! Conversations: messages in turn, each with who says it and what. A system's message is the instruction, a user's a
//! question, the assistant's an answer.

use super::text;
use crate::excerpt::shown;
use crate::record::DEFAULT_INSTRUCTION;
use crate::record::{Record, Turn};
use crate::value::{Fields, Value, parse};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    User,
    Assistant,
}

impl Speaker {
    /// By the names of the OpenAI API and of ShareGPT.
    fn of(name: &str) -> Option<Self> {
        match name.trim().to_lowercase().as_str() {
            "system" | "developer" => Some(Self::System),
            "user" | "human" | "prompter" => Some(Self::User),
            "assistant" | "gpt" | "chatgpt" | "model" | "bot" => Some(Self::Assistant),
            _ => None,
        }
    }
}

/// The field beside a conversation that some have the system's message in.
pub(super) const SYSTEM: &str = "system";

/// The conversation in the fields `names`, one after the other.
pub(super) fn read(names: &[&'static str], fields: &mut Fields) -> Result<Record, String> {
    let system = match fields.take(SYSTEM) {
        Some(Value::Text(text)) => Some(text),
        None => None,
        Some(other) => return Err(format!("`{SYSTEM}` is {}, expected a string", other.kind())),
    };
    let mut record = of_lists(names.iter().map(|name| (*name, fields.take(name).unwrap_or(Value::Null))))?;
    let system = system.map(|text| text.trim().to_string()).filter(|text| !text.is_empty());
    if let Some(mut instruction) = system {
        // A message of the system's in the conversation says more.
        if record.instruction != DEFAULT_INSTRUCTION {
            append(&mut instruction, &record.instruction);
        }
        record.instruction = instruction;
    }
    Ok(record)
}

/// The conversation in lists of messages, each under its field's name.
pub(super) fn of_lists<'a>(lists: impl IntoIterator<Item = (&'a str, Value)>) -> Result<Record, String> {
    let mut messages = Vec::new();
    for (name, list) in lists {
        let list = match list {
            Value::List(list) => list,
            Value::Null => return Err(format!("`{name}` is missing")),
            // A list that went through a table.
            Value::Text(text) => match parse(&text) {
                Some(Value::List(list)) => list,
                _ => return Err(format!("`{name}` is a string, expected an array of messages")),
            },
            other => return Err(format!("`{name}` is {}, expected an array of messages", other.kind())),
        };
        for (number, value) in list.into_iter().enumerate() {
            let message =
                message(value).map_err(|fault| format!("`{name}`, message {}: {fault}", number + 1))?;
            messages.push(message);
        }
    }
    in_turns(messages)
}

fn message(mut value: Value) -> Result<(Speaker, String), String> {
    if !matches!(value, Value::Object(_)) {
        return Err(format!("{}, expected an object", value.kind()));
    }
    let (from, what) = match value.get("role") {
        Some(_) => ("role", "content"),
        None if value.get("from").is_some() => ("from", "value"),
        None => return Err("`role` is missing".into()),
    };
    let speaker = match value.get(from) {
        Some(Value::Text(name)) => Speaker::of(name).ok_or_else(|| {
            format!("`{from}` is `{}`, expected system, user (human) or assistant (gpt)", shown(name))
        })?,
        Some(other) => return Err(format!("`{from}` is {}, expected a string", other.kind())),
        None => return Err(format!("`{from}` is missing")),
    };
    let said = match &mut value {
        Value::Object(fields) => {
            let place = fields.iter().rposition(|(field, _)| field == what);
            place.map(|place| fields.swap_remove(place).1)
        }
        _ => None,
    };
    let said = match said {
        Some(Value::List(parts)) => Some(Value::Text(joined(parts)?)),
        other => other,
    };
    match (speaker, said) {
        // Many tools write an empty one where there is none.
        (Speaker::System, Some(Value::Text(blank))) if blank.trim().is_empty() => {
            Ok((speaker, String::new()))
        }
        (_, said) => text(what, said).map(|text| (speaker, text.trim().to_string())),
    }
}

/// The text of a message in parts; what is no text has no place here.
fn joined(parts: Vec<Value>) -> Result<String, String> {
    let mut text = String::new();
    for part in parts {
        match part.get("text") {
            Some(Value::Text(piece)) => text.push_str(piece),
            _ => return Err("`content` has a part without `text`".into()),
        }
    }
    Ok(text)
}

/// Questions with their answers. Messages of one speaker in a row are one; a question at the end that has no answer is
/// left out.
fn in_turns(messages: Vec<(Speaker, String)>) -> Result<Record, String> {
    let mut instruction = String::new();
    let mut turns: Vec<Turn> = Vec::new();
    let mut before = Speaker::System;
    for (speaker, said) in messages {
        match (speaker, turns.last_mut()) {
            (Speaker::System, _) if said.is_empty() => {}
            (Speaker::System, _) => append(&mut instruction, &said),
            (Speaker::User, Some(turn)) if before == Speaker::User => append(&mut turn.input, &said),
            (Speaker::User, _) => turns.push(Turn { input: said, output: String::new() }),
            (Speaker::Assistant, Some(turn)) => append(&mut turn.output, &said),
            (Speaker::Assistant, None) => return Err("an answer comes first, expected a question".into()),
        }
        if speaker != Speaker::System {
            before = speaker;
        }
    }
    turns.retain(|turn| !turn.output.is_empty());
    let mut turns = turns.into_iter();
    let Some(first) = turns.next() else {
        return Err("no answer in it, expected a message of the assistant".into());
    };
    if instruction.is_empty() {
        instruction = DEFAULT_INSTRUCTION.into();
    }
    Ok(Record { instruction, input: first.input, output: first.output, further: turns.collect() })
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}
