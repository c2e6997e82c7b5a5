//! The text a record becomes: a template with placeholders, checked once when it is made.

mod chat_template;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::chat_template::{CHAT_TEMPLATE_FILE, PROMPT_TEMPLATE_FILE, Turns};
use crate::error::DataError;
use crate::record::{DEFAULT_INSTRUCTION, Record, Turn};

const DEFAULT_TEMPLATE: &str = "Instruction: {instruction}\nQuestion: {input}\nResponse: {output}";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Instruction,
    Input,
    Output,
}

/// A checked template: `{input}` at least once, `{output}` exactly once and at the very end, `{instruction}` at will.
///
/// A backslash followed by `n` stands for a newline, so that a template fits in a flag. Braces around anything but
/// a name are plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PromptTemplate {
    source: String,
    pieces: Vec<Piece>,
}

impl PromptTemplate {
    /// The whole text of a record, answer included.
    pub fn text(&self, record: &Record) -> String {
        self.fill(record, true)
    }

    /// The texts of a conversation, one for each answer, which ends it; together they are the whole text but for what
    /// closes each. Of a single question, [`PromptTemplate::text`].
    ///
    /// A later question is written as the first, without the instruction and what stands before it.
    pub fn turns(&self, record: &Record) -> Vec<String> {
        let later = record.further.iter().map(|turn| self.fill_later(turn, true));
        std::iter::once(self.text(record)).chain(later).collect()
    }

    /// What comes before each answer of a conversation, as [`PromptTemplate::prompt`] has it.
    pub fn prompts(&self, record: &Record) -> Vec<String> {
        let later = record.further.iter().map(|turn| trimmed(self.fill_later(turn, false)));
        std::iter::once(self.prompt(record)).chain(later).collect()
    }

    /// What comes before the answer, without the white space at its end: what the model is asked with.
    pub fn prompt(&self, record: &Record) -> String {
        trimmed(self.fill(record, false))
    }

    /// The prompt of a question that has no record.
    pub fn question_prompt(&self, question: &str, instruction: &str) -> String {
        self.prompt(&Record {
            instruction: instruction.to_string(),
            input: question.to_string(),
            output: String::new(),
            further: Vec::new(),
        })
    }

    /// Whether the text has the record's instruction in it.
    pub fn uses_instruction(&self) -> bool {
        self.pieces.contains(&Piece::Instruction)
    }

    /// The template with real newlines.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    fn fill(&self, record: &Record, with_output: bool) -> String {
        let output = if with_output { record.output.as_str() } else { "" };
        filled(&self.pieces, &record.instruction, &record.input, output)
    }

    /// What follows the instruction before the question; all where there is none.
    fn pieces_of_later(&self) -> &[Piece] {
        let input = self.pieces.iter().position(|piece| *piece == Piece::Input).unwrap_or_default();
        let instruction = self.pieces[..input].iter().rposition(|piece| *piece == Piece::Instruction);
        &self.pieces[instruction.map_or(0, |place| place + 1)..]
    }

    /// A turn on a line of its own, from what follows the instruction.
    fn fill_later(&self, turn: &Turn, with_output: bool) -> String {
        let pieces = self.pieces_of_later();
        let output = if with_output { turn.output.as_str() } else { "" };
        let text = filled(pieces, "", &turn.input, output);
        format!("\n{}", text.trim_start_matches('\n'))
    }
}

fn filled(pieces: &[Piece], instruction: &str, input: &str, output: &str) -> String {
    let mut text = String::new();
    for piece in pieces {
        text.push_str(match piece {
            Piece::Literal(literal) => literal,
            Piece::Instruction => instruction,
            Piece::Input => input,
            Piece::Output => output,
        });
    }
    text
}

/// A prompt without the white space at its end.
fn trimmed(mut prompt: String) -> String {
    prompt.truncate(prompt.trim_end().len());
    prompt
}

impl Default for PromptTemplate {
    fn default() -> Self {
        let literal = |text: &str| Piece::Literal(text.to_string());
        Self {
            source: DEFAULT_TEMPLATE.to_string(),
            pieces: vec![
                literal("Instruction: "),
                Piece::Instruction,
                literal("\nQuestion: "),
                Piece::Input,
                literal("\nResponse: "),
                Piece::Output,
            ],
        }
    }
}

impl TryFrom<String> for PromptTemplate {
    type Error = DataError;

    fn try_from(given: String) -> Result<Self, DataError> {
        let refuse = |reason: String| DataError::Template { template: given.clone(), reason };
        let source = given.replace("\\n", "\n");
        let pieces = parse(&source).map_err(refuse)?;
        if !pieces.contains(&Piece::Input) {
            return Err(refuse("`{input}` is missing; it says where the question goes".to_string()));
        }
        match pieces.iter().filter(|piece| **piece == Piece::Output).count() {
            1 if pieces.last() == Some(&Piece::Output) => Ok(Self { source, pieces }),
            1 => Err(refuse(
                "`{output}` must be the very end; text after it is never predicted from it".into(),
            )),
            count => {
                Err(refuse(format!("`{{output}}` stands {count} times in it; expected once, at the end")))
            }
        }
    }
}

impl FromStr for PromptTemplate {
    type Err = DataError;

    fn from_str(template: &str) -> Result<Self, DataError> {
        Self::try_from(template.to_string())
    }
}

impl From<PromptTemplate> for String {
    fn from(template: PromptTemplate) -> String {
        template.source
    }
}

impl fmt::Display for PromptTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Cuts a template at its placeholders; the error is the reason, by name.
fn parse(source: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = source;
    while let Some(open) = rest.find('{') {
        literal.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(name) = placeholder(rest) else {
            literal.push('{');
            rest = &rest[1..];
            continue;
        };
        let piece = match name {
            "instruction" => Piece::Instruction,
            "input" => Piece::Input,
            "output" => Piece::Output,
            _ => {
                let known = "`{instruction}`, `{input}` and `{output}`";
                let name = crate::excerpt::shown(name);
                return Err(format!("unknown placeholder `{{{name}}}`; known are {known}"));
            }
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(piece);
        rest = &rest[name.len() + 2..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// The name in `{name}` at the start of `text`. Blanks around it count as part of it: they are a slip, not prose.
fn placeholder(text: &str) -> Option<&str> {
    let name = &text[1..text.find('}')?];
    let core = name.trim();
    let named = !core.is_empty() && core.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    named.then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record() -> Record {
        Record {
            instruction: "Be true".into(),
            input: "What is {output}?".into(),
            output: " It {input}. ".into(),
            further: Vec::new(),
        }
    }

    fn reason(template: &str) -> String {
        PromptTemplate::from_str(template).unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_its_own_source() {
        let default = PromptTemplate::default();
        assert_eq!(default, PromptTemplate::from_str(DEFAULT_TEMPLATE).unwrap());
        let prompt = default.question_prompt("Why?", DEFAULT_INSTRUCTION);
        assert_eq!(prompt, "Instruction: Answer this question truthfully\nQuestion: Why?\nResponse:");
    }

    #[test]
    fn placeholders_inside_a_record_are_left_alone_and_its_text_is_kept() {
        let template = PromptTemplate::default();
        let text = "Instruction: Be true\nQuestion: What is {output}?\nResponse:  It {input}. ";
        assert_eq!(template.text(&record()), text);
        assert_eq!(
            template.prompt(&record()),
            "Instruction: Be true\nQuestion: What is {output}?\nResponse:"
        );
    }

    #[test]
    fn a_conversation_goes_on_as_it_began_without_the_instruction() {
        let turn = |input: &str, output: &str| Turn { input: input.into(), output: output.into() };
        let record = Record { further: vec![turn("And flu?", "Rest.")], ..Record::new("A cold?", "Tea.") };
        let default = PromptTemplate::default();
        let first = "Instruction: Answer this question truthfully\nQuestion: A cold?\nResponse:";
        assert_eq!(
            default.turns(&record),
            [format!("{first} Tea."), "\nQuestion: And flu?\nResponse: Rest.".into()]
        );
        assert_eq!(default.prompts(&record), [first, "\nQuestion: And flu?\nResponse:"]);
        let bare = PromptTemplate::from_str("Q: {input}\nA: {output}").unwrap();
        assert_eq!(bare.turns(&record)[1], "\nQ: And flu?\nA: Rest.");
        let late = PromptTemplate::from_str("{input}\n{instruction}\n{output}").unwrap();
        assert_eq!(late.turns(&record)[1], "\nAnd flu?\n\nRest.");
    }

    #[test]
    fn a_backslash_n_is_a_newline_and_serde_is_a_string() {
        let template = PromptTemplate::from_str("Q: {input}\\nA: {output}").unwrap();
        assert_eq!(template.as_str(), "Q: {input}\nA: {output}");
        assert!(!template.uses_instruction());
        let json = serde_json::to_string(&template).unwrap();
        assert_eq!(json, r#""Q: {input}\nA: {output}""#);
        assert_eq!(serde_json::from_str::<PromptTemplate>(&json).unwrap(), template);
        assert!(serde_json::from_str::<PromptTemplate>(r#""{input}""#).is_err());
    }

    #[test]
    fn bad_templates_are_refused_with_their_fault() {
        assert!(reason("{question} {input} {output}").contains("`{question}`"));
        assert!(reason("{ input } {output}").contains("`{ input }`"));
        assert!(reason("Q: {output}").contains("`{input}` is missing"));
        assert!(reason("{input}").contains("stands 0 times"));
        assert!(reason("{input} {output} {output}").contains("stands 2 times"));
        assert!(reason("{input} {output}.").contains("very end"));
    }

    #[test]
    fn braces_around_no_name_are_text() {
        let template = PromptTemplate::from_str("{\"q\": {input}, {} {output}").unwrap();
        assert_eq!(template.question_prompt("x", ""), "{\"q\": x, {}");
    }
}
