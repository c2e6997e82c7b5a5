//! A record of question and answer, and the columns that one is made of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The instruction of the medical question-and-answer records.
pub const DEFAULT_INSTRUCTION: &str = "Answer this question truthfully";

/// One question with its answer, verbatim as the file has it; or a conversation of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// What to do with the question. Empty where the file has none and the template needs none.
    pub instruction: String,
    /// The question.
    pub input: String,
    /// The answer.
    pub output: String,
    /// What a conversation goes on with; nothing for a single question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Turn>,
}

/// A question of a conversation after its first, with the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// The question.
    pub input: String,
    /// The answer.
    pub output: String,
}

impl Record {
    /// A question with its answer, under [`DEFAULT_INSTRUCTION`].
    pub fn new(question: impl Into<String>, answer: impl Into<String>) -> Self {
        Self {
            instruction: DEFAULT_INSTRUCTION.into(),
            input: question.into(),
            output: answer.into(),
            further: Vec::new(),
        }
    }

    /// The questions, the later ones of a conversation too.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.input.as_str()).chain(self.further.iter().map(|turn| turn.input.as_str()))
    }

    /// What tells the record apart by what it asks: its question; of a conversation, all of them.
    pub fn asked(&self) -> Cow<'_, str> {
        match self.further.is_empty() {
            true => Cow::Borrowed(&self.input),
            false => Cow::Owned(self.questions().collect::<Vec<_>>().join("\n")),
        }
    }
}

/// The names of the columns (or JSON fields) that make a record. By default those of the recipe's data:
/// `instruction`, `input` and `output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The column of [`Record::instruction`].
    pub instruction: String,
    /// The column of [`Record::input`].
    pub input: String,
    /// The column of [`Record::output`].
    pub output: String,
}

impl Default for Columns {
    fn default() -> Self {
        Self { instruction: "instruction".into(), input: "input".into(), output: "output".into() }
    }
}

impl Columns {
    /// The names of instruction, question and answer.
    pub(crate) fn names(&self) -> [&str; 3] {
        [&self.instruction, &self.input, &self.output]
    }
}
