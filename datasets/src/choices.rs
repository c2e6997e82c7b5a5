//! Multiple-choice questions: the layouts that exams come in, one item out of each record.
//!
//! The layout is found by the names of the columns. Besides the plain one, these are the layouts of MedMCQA
//! (`openlifescienceai/medmcqa`) and of MedQA (`GBaker/MedQA-USMLE-4-options` and its form with `sent1` and `ending0`)
//! as they stand on the Hugging Face Hub.

mod layout;

use std::path::Path;

use serde::Serialize;

use self::layout::Layout;
use crate::error::{BadRecord, BadRecords, DataError};
use crate::example::Example;
use crate::prompt::PromptTemplate;
use crate::record::DEFAULT_INSTRUCTION;
use crate::record::Record;
use crate::rows::{Row, read_rows};
use crate::size::DataSize;
use crate::source::{Budget, FileFormat, RECORD_COST};
use crate::tokenizer::Tokenizer;
use crate::value::Names;

/// The files that hold questions, for messages.
const SUPPORTED: &str =
    ".json, .jsonl, .ndjson, .csv, .tsv and .parquet; all but Parquet also with .gz or .zst after it";
/// Rows that are looked at before the layout is settled.
const LOOKED_AT: usize = 64;

/// A question with its choices, one of which is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChoiceQuestion {
    /// The question.
    pub question: String,
    /// The choices, at least two, all different.
    pub choices: Vec<String>,
    /// The index of the right one.
    pub answer: usize,
}

/// A question's choices as a model reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChoices {
    /// The prompt and each choice behind it.
    pub with_question: Vec<Example>,
    /// The same with the question left empty.
    pub without_question: Vec<Example>,
    /// How many characters each choice has.
    pub characters: Vec<usize>,
    /// The index of the right one.
    pub answer: usize,
}

/// Reads the questions of a JSON, JSON Lines, CSV, TSV or Parquet file, of which no more than `limit` is read.
///
/// # Errors
/// The file is missing, damaged, empty, of another format or larger than `limit`; its columns are those of no layout
/// ([`DataError::UnknownLayout`]); or questions cannot be used, all of them at once ([`DataError::BadRecords`]).
pub fn read_choices(path: &Path, limit: DataSize) -> Result<Vec<ChoiceQuestion>, DataError> {
    let (wanted, budget) = (layout::columns(), Budget::new(limit));
    if matches!(FileFormat::of(path), None | Some(FileFormat::Text)) {
        return Err(DataError::UnknownFormat { path: path.to_path_buf(), supported: SUPPORTED });
    }
    let mut names = Names::new(wanted.iter().map(String::as_str));
    let mut collector = Collector::default();
    read_rows(path, &budget, &mut names, &mut |row, names| {
        budget.spend(RECORD_COST, path)?;
        collector.take(row, names);
        Ok(())
    })?;
    collector.finish(path, &names)
}

/// Takes rows and keeps the questions.
#[derive(Default)]
struct Collector {
    layout: Option<Layout>,
    /// Rows that wait until the layout is settled.
    waiting: Vec<Row>,
    count: usize,
    /// Rows that could be read, whatever they hold.
    readable: usize,
    questions: Vec<ChoiceQuestion>,
    bad: Vec<BadRecord>,
}

impl Collector {
    fn take(&mut self, row: Row, names: &Names) {
        self.count += 1;
        self.readable += usize::from(row.fields.is_ok());
        match self.layout {
            Some(layout) => self.turn(layout, self.count, row),
            None => {
                self.waiting.push(row);
                if self.waiting.len() >= LOOKED_AT {
                    self.settle(names);
                }
            }
        }
    }

    /// Finds the layout, if the columns so far are those of one, and turns the rows that waited for it.
    fn settle(&mut self, names: &Names) {
        self.layout = Layout::of(&names.seen);
        if let Some(layout) = self.layout {
            let waiting = std::mem::take(&mut self.waiting);
            let first = self.count - waiting.len();
            waiting.into_iter().enumerate().for_each(|(at, row)| self.turn(layout, first + at + 1, row));
        }
    }

    fn turn(&mut self, layout: Layout, record: usize, Row { line, fields }: Row) {
        match fields.and_then(|mut fields| layout.question(&mut fields)) {
            Ok(question) => self.questions.push(question),
            Err(reason) => self.bad.push(BadRecord { record, line, reason }),
        }
    }

    fn finish(mut self, path: &Path, names: &Names) -> Result<Vec<ChoiceQuestion>, DataError> {
        let path = path.to_path_buf();
        self.settle(names);
        match self.layout {
            _ if self.count == 0 => return Err(DataError::Empty { path, what: "questions" }),
            None if self.readable > 0 => {
                return Err(DataError::UnknownLayout { path, found: names.seen.clone() });
            }
            // Without a readable row there are no columns to speak of: the rows' own faults say more.
            None => {
                let waiting = std::mem::take(&mut self.waiting);
                waiting.into_iter().zip(1..).for_each(|(row, record)| self.turn(Layout::Plain, record, row));
            }
            Some(_) => {}
        }
        match self.bad.is_empty() {
            true => Ok(self.questions),
            false => {
                let bad = BadRecords::of(self.count, self.bad);
                Err(DataError::BadRecords { path, format: None, bad })
            }
        }
    }
}

/// Each question's choices as texts: the template's prompt, and the choice where the answer would stand, without
/// end-of-text.
///
/// A text of more than `positions` tokens before its last one loses its beginning.
///
/// # Errors
/// The tokenizer fails, or a choice alone is longer than that.
pub fn encode_choices(
    questions: &[ChoiceQuestion],
    template: &PromptTemplate,
    tokenizer: &Tokenizer,
    positions: usize,
) -> Result<Vec<EncodedChoices>, DataError> {
    let encode = |(index, item): (usize, &ChoiceQuestion)| {
        let texts = |question: &str| -> Result<Vec<Example>, DataError> {
            let encode = |choice: &String| {
                let record = record(question, choice);
                let mut example = encode_continuation(&record, template, tokenizer, index)?;
                // The last token is predicted, never read.
                let over = example.ids.len().saturating_sub(positions + 1);
                if over >= example.response_from {
                    return Err(DataError::NothingLeft {
                        reason: format!(
                            "a choice of question {} has {} tokens, but the model has {positions} positions; leave \
                             the question out",
                            index + 1,
                            example.ids.len() - example.response_from
                        ),
                    });
                }
                example.ids.drain(..over);
                example.response_from -= over;
                example.supervised_from = example.response_from;
                Ok(example)
            };
            item.choices.iter().map(encode).collect()
        };
        Ok(EncodedChoices {
            with_question: texts(&item.question)?,
            without_question: texts("")?,
            characters: item.choices.iter().map(|choice| choice.chars().count()).collect(),
            answer: item.answer,
        })
    };
    questions.iter().enumerate().map(encode).collect()
}

/// A record's text in ids, without end-of-text and uncut; its answer begins where the ids of prompt and text part.
///
/// An empty prompt becomes one end-of-text, so that there is something to predict the answer from.
///
/// # Errors
/// The tokenizer fails.
pub fn encode_continuation(
    record: &Record,
    template: &PromptTemplate,
    tokenizer: &Tokenizer,
    index: usize,
) -> Result<Example, DataError> {
    let mut ids = tokenizer.encode(&template.text(record))?;
    let prompt = tokenizer.encode(&template.prompt(record))?;
    let mut response_from = ids.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
    if response_from == 0 {
        ids.insert(0, tokenizer.end_of_text());
        response_from = 1;
    }
    Ok(Example { ids, response_from, supervised_from: response_from, record: index, ..Default::default() })
}

fn record(question: &str, choice: &str) -> Record {
    Record {
        instruction: DEFAULT_INSTRUCTION.into(),
        input: question.into(),
        output: choice.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
