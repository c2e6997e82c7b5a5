//! Multiple-choice questions: the layouts that exams come in, one item out of each record.
//!
//! The layout is found by the names of the columns. Besides the plain one, these are the layouts of MedMCQA
//! (`openlifescienceai/medmcqa`) and of MedQA (`GBaker/MedQA-USMLE-4-options` and its form with `sent1` and `ending0`)
//! as they stand on the Hugging Face Hub.

mod layout;
mod rows;

use std::path::Path;

use serde::Serialize;

use self::layout::Layout;
use crate::error::{BadRecord, BadRecords, DataError};
use crate::example::Example;
use crate::prompt::PromptTemplate;
use crate::record::DEFAULT_INSTRUCTION;
use crate::record::Record;
use crate::tokenizer::Tokenizer;

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

/// Reads the questions of a `.json` (an array of objects), `.jsonl`, `.ndjson`, `.csv` or `.parquet` file.
///
/// # Errors
/// The file is missing, damaged, empty or of another format; its columns are those of no layout
/// ([`DataError::UnknownLayout`]); or questions cannot be used, all of them at once ([`DataError::BadRecords`]).
pub fn read_choices(path: &Path) -> Result<Vec<ChoiceQuestion>, DataError> {
    let rows = rows::read(path)?;
    if rows.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf(), what: "questions" });
    }
    let mut columns: Vec<&String> = Vec::new();
    for name in rows.iter().filter_map(|row| row.fields.as_ref().ok()).flat_map(|fields| fields.keys()) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let layout = match Layout::of(&columns) {
        Some(layout) => layout,
        // Without a readable row there are no columns to speak of: the rows' own faults say more.
        None if columns.is_empty() => Layout::Plain,
        None => {
            let found = columns.into_iter().cloned().collect();
            return Err(DataError::UnknownLayout { path: path.to_path_buf(), found });
        }
    };
    let records = rows.len();
    let mut questions = Vec::with_capacity(records);
    let mut bad = Vec::new();
    for (index, row) in rows.into_iter().enumerate() {
        match row.fields.and_then(|fields| layout.question(&fields)) {
            Ok(question) => questions.push(question),
            Err(reason) => bad.push(BadRecord { record: index + 1, line: row.line, reason }),
        }
    }
    match bad.is_empty() {
        true => Ok(questions),
        false => {
            let (path, bad) = (path.to_path_buf(), BadRecords::of(records, bad));
            Err(DataError::BadRecords { path, format: None, bad })
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
