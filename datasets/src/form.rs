//! The forms that data come in: which fields make a question and its answer, recognised by the fields' names.

mod conversation;
mod exam;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::record::DEFAULT_INSTRUCTION;
use crate::record::{Columns, Record};
use crate::value::{Fields, Value};

pub(crate) use self::exam::{FROM_ONE, counts_from_one};

/// A form of data that is known by the names of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// `instruction`, `input` and `output`, all three in every record: one instruction for all, the question as input.
    Instruction,
    /// `instruction` and `output`, with an `input` or without: the instruction is the question where there is none.
    Alpaca,
    /// `messages` of `role` and `content`.
    Messages,
    /// `conversations` of `from` and `value`, as ShareGPT has them.
    Conversations,
    /// `prompt` and `completion`.
    PromptCompletion,
    /// `question` and `answer`.
    QuestionAnswer,
    /// `text` alone: documents.
    Text,
    /// MedQuAD: `qtype`, `Question`, `Answer`, or `question`, `answer` with `question_type`.
    Medquad,
    /// MedMCQA: `question`, `opa` to `opd`, `cop` from 0.
    Medmcqa,
    /// PubMedQA: `question`, `long_answer`.
    Pubmedqa,
}

impl DataFormat {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 10] = [
        Self::Instruction,
        Self::Alpaca,
        Self::Messages,
        Self::Conversations,
        Self::PromptCompletion,
        Self::QuestionAnswer,
        Self::Text,
        Self::Medquad,
        Self::Medmcqa,
        Self::Pubmedqa,
    ];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Alpaca => "alpaca",
            Self::Messages => "messages",
            Self::Conversations => "conversations",
            Self::PromptCompletion => "prompt-completion",
            Self::QuestionAnswer => "question-answer",
            Self::Text => "text",
            Self::Medquad => "medquad",
            Self::Medmcqa => "medmcqa",
            Self::Pubmedqa => "pubmedqa",
        }
    }

    /// Which fields it is read from, in a few words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Instruction => "instruction, input as question, output as answer",
            Self::Alpaca => "instruction, input where there is one, output as answer",
            Self::Messages => "messages of role and content, each answer of the assistant learned",
            Self::Conversations => "conversations of from and value, each answer of the assistant learned",
            Self::PromptCompletion => "prompt as question, completion as answer",
            Self::QuestionAnswer => "question and answer",
            Self::Text => "documents, packed into blocks",
            Self::Medquad => "MedQuAD: question and answer, the type of question left out",
            Self::Medmcqa => "MedMCQA: question with its choices, the right choice as answer",
            Self::Pubmedqa => "PubMedQA: question, long_answer as answer, the context left out",
        }
    }

    /// The form whose fields are among `names`.
    fn recognise(names: &[String]) -> Option<Self> {
        let has = |name: &str| names.iter().any(|found| found == name);
        let all = |wanted: &[&str]| wanted.iter().all(|name| has(name));
        let typed = ["qtype", "question_type", "question_focus"].into_iter().any(has);
        let asked = all(&["question", "answer"]) || all(&["Question", "Answer"]);
        let known = [
            (Self::Messages, has("messages")),
            (Self::Conversations, has("conversations")),
            (Self::Medmcqa, all(&["question", "opa", "opb", "opc", "opd", "cop"])),
            (Self::Pubmedqa, all(&["question", "long_answer"])),
            (Self::Medquad, asked && typed),
            (Self::Instruction, all(&["instruction", "input", "output"])),
            (Self::Alpaca, all(&["instruction", "output"])),
            (Self::PromptCompletion, all(&["prompt", "completion"])),
            (Self::QuestionAnswer, asked),
            (Self::Text, has("text")),
        ];
        known.into_iter().find(|(_, found)| *found).map(|(form, _)| form)
    }

    /// The fields that it cannot do without: one of each group.
    fn needs(self, instruction: bool) -> &'static [&'static [&'static str]] {
        match self {
            Self::Instruction if instruction => &[&["instruction"], &["input"], &["output"]],
            Self::Instruction => &[&["input"], &["output"]],
            Self::Alpaca => &[&["instruction"], &["output"]],
            Self::Messages => &[&["messages"]],
            Self::Conversations => &[&["conversations"]],
            Self::PromptCompletion => &[&["prompt"], &["completion"]],
            Self::QuestionAnswer | Self::Medquad => &[&["question", "Question"], &["answer", "Answer"]],
            Self::Text => &[&["text"]],
            Self::Medmcqa => &[&["question"], &["opa"], &["opb"], &["opc"], &["opd"], &["cop"]],
            Self::Pubmedqa => &[&["question"], &["long_answer"]],
        }
    }

    /// Every field that some form reads.
    pub(crate) fn fields() -> impl Iterator<Item = &'static str> {
        let needed =
            Self::ALL.into_iter().flat_map(|form| form.needs(true).iter().copied().flatten().copied());
        needed.chain([conversation::SYSTEM])
    }
}

impl fmt::Display for DataFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataFormat {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| DataError::unknown_name("format", name, &Self::ALL.map(Self::name)))
    }
}

/// What happens to records that cannot be used; by default they are refused, all of them named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadRecord {
    /// The data are refused.
    #[default]
    Refuse,
    /// They are left out and counted.
    Skip,
}

impl OnBadRecord {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::Skip];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

impl fmt::Display for OnBadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OnBadRecord {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| DataError::unknown_name("bad_records", name, &Self::ALL.map(Self::name)))
    }
}

/// How the fields of a file are read.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// By columns that were named; whether the instruction's is needed.
    Columns { columns: Columns, instruction: bool },
    /// As a form that is known; whether the instruction is needed.
    Known { format: DataFormat, instruction: bool },
}

/// What a record of a file becomes.
#[derive(Debug, PartialEq)]
pub(crate) enum Item {
    Record(Record),
    /// A record whose input is blank: its instruction may be the question.
    WithoutInput(Record),
    Document(String),
}

impl Form {
    /// The form of a file with fields of these names, of which the first `records` have these each; by their usual names
    /// where none is known.
    ///
    /// All fields together tell, since a record may lack one. Where most records do not have what that form needs, a few
    /// strays have misled, and the form counts that most records have by themselves.
    pub(crate) fn of(names: &[String], records: &[Vec<String>], instruction: bool) -> Self {
        let format = DataFormat::recognise(names).unwrap_or(DataFormat::Instruction);
        let known = Self::Known { format, instruction };
        let fit = records.iter().filter(|names| known.missing(names).is_empty()).count();
        // Those without an input are settled at the end.
        if format == DataFormat::Instruction || 2 * fit >= records.len() {
            return known;
        }
        let each = || records.iter().filter_map(|names| DataFormat::recognise(names));
        let most = each().max_by_key(|format| each().filter(|other| other == format).count());
        Self::Known { format: most.unwrap_or(format), instruction }
    }

    pub(crate) fn format(&self) -> DataFormat {
        match self {
            Self::Columns { .. } => DataFormat::Instruction,
            Self::Known { format, .. } => *format,
        }
    }

    /// The fields that are needed and not among `names`.
    pub(crate) fn missing(&self, names: &[String]) -> Vec<String> {
        let absent = |name: &str| !names.iter().any(|found| found == name);
        match self {
            Self::Columns { columns, instruction } => {
                let [first, rest @ ..] = columns.names();
                let needed = instruction.then_some(first).into_iter().chain(rest);
                needed.filter(|name| absent(name)).map(str::to_string).collect()
            }
            Self::Known { format, instruction } => {
                let needed = format.needs(*instruction).iter();
                needed
                    .filter(|any| any.iter().all(|name| absent(name)))
                    .map(|any| any[0].to_string())
                    .collect()
            }
        }
    }

    /// What the fields of a record say, or everything that is wrong with them.
    pub(crate) fn read(&self, fields: &mut Fields) -> Result<Item, String> {
        let (format, instruction) = match self {
            Self::Columns { columns, instruction } => {
                return verbatim(fields, columns.names(), *instruction, false);
            }
            Self::Known { format, instruction } => (*format, *instruction),
        };
        match format {
            DataFormat::Instruction => {
                verbatim(fields, ["instruction", "input", "output"], instruction, true)
            }
            DataFormat::Alpaca => alpaca(fields),
            DataFormat::Messages => conversation::read(&["messages"], fields).map(Item::Record),
            DataFormat::Conversations => conversation::read(&["conversations"], fields).map(Item::Record),
            DataFormat::PromptCompletion => match (fields.take("prompt"), fields.take("completion")) {
                (Some(prompt @ Value::List(_)), Some(completion @ Value::List(_))) => {
                    conversation::of_lists([("prompt", prompt), ("completion", completion)]).map(Item::Record)
                }
                (prompt, completion) => {
                    question([("prompt", prompt), ("completion", completion)]).map(Item::Record)
                }
            },
            DataFormat::QuestionAnswer | DataFormat::Medquad => {
                let [input, output] = [("question", "Question"), ("answer", "Answer")]
                    .map(|(small, large)| (small, fields.take(small).or_else(|| fields.take(large))));
                question([input, output]).map(Item::Record)
            }
            DataFormat::Text => text("text", fields.take("text")).map(Item::Document),
            DataFormat::Medmcqa => exam::medmcqa(fields).map(Item::Record),
            DataFormat::Pubmedqa => {
                let output = ("long_answer", fields.take("long_answer"));
                question([("question", fields.take("question")), output]).map(Item::Record)
            }
        }
    }
}

/// The text of a field that must have one.
///
/// # Errors
/// It is missing, blank or no text: the sentence for a message.
pub(crate) fn text(name: &str, value: Option<Value>) -> Result<String, String> {
    match value {
        Some(Value::Text(text)) if text.trim().is_empty() => Err(format!("`{name}` is empty")),
        Some(Value::Text(text)) => Ok(text),
        None | Some(Value::Null) => Err(format!("`{name}` is missing")),
        Some(other) => Err(format!("`{name}` is {}, expected a string", other.kind())),
    }
}

/// A question and its answer without the blanks around them, or what is wrong with either.
fn question([input, output]: [(&str, Option<Value>); 2]) -> Result<Record, String> {
    match (text(input.0, input.1), text(output.0, output.1)) {
        (Ok(input), Ok(output)) => Ok(Record::new(input.trim(), output.trim())),
        (input, output) => {
            let faults: Vec<String> = [input, output].into_iter().filter_map(Result::err).collect();
            Err(faults.join("; "))
        }
    }
}

/// Instruction, question and answer as they stand. Where the record `may_lack_input` and does, the file as a whole
/// tells what that means.
fn verbatim(
    fields: &mut Fields,
    names: [&str; 3],
    needs_instruction: bool,
    may_lack_input: bool,
) -> Result<Item, String> {
    let [instruction, input, output] = names.map(|name| fields.take(name));
    let mut faults = Vec::new();
    let instruction = match instruction {
        Some(Value::Text(text)) => text,
        _ if !needs_instruction => String::new(),
        // A blank instruction is one.
        other => text(names[0], other).map_err(|fault| faults.push(fault)).unwrap_or_default(),
    };
    let blank = match &input {
        None => true,
        Some(Value::Text(text)) => text.trim().is_empty(),
        Some(_) => false,
    };
    let lacks_input = blank && may_lack_input && !instruction.trim().is_empty();
    let mut taken = |name, value| text(name, value).map_err(|fault| faults.push(fault)).unwrap_or_default();
    let input = if lacks_input { String::new() } else { taken(names[1], input) };
    let output = taken(names[2], output);
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let record = Record { instruction, input, output, further: Vec::new() };
    Ok(if lacks_input { Item::WithoutInput(record) } else { Item::Record(record) })
}

/// A record of Alpaca: its instruction is the question where it has no input.
fn alpaca(fields: &mut Fields) -> Result<Item, String> {
    match verbatim(fields, ["instruction", "input", "output"], true, true)? {
        Item::WithoutInput(record) => Ok(Item::Record(instructed(record))),
        item => Ok(item),
    }
}

/// A record without an input, its instruction taken for the question.
pub(crate) fn instructed(record: Record) -> Record {
    Record { instruction: DEFAULT_INSTRUCTION.into(), input: record.instruction, ..record }
}

#[cfg(test)]
mod tests;
