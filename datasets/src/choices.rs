//! Multiple-choice questions: the layouts that exams come in, one item out of each record.
//!
//! The layout is found by the names of the columns. Besides the plain one, these are the layouts of MedMCQA
//! (`openlifescienceai/medmcqa`) and of MedQA (`GBaker/MedQA-USMLE-4-options` and its form with `sent1` and `ending0`)
//! as they stand on the Hugging Face Hub.

mod layout;

use std::path::{Path, PathBuf};

use serde::Serialize;

use self::layout::Layout;
use crate::error::{BadRecord, BadRecords, DataError};
use crate::example::Example;
use crate::form::{FROM_ONE, OnBadRecord, counts_from_one};
use crate::options::DataOptions;
use crate::prompt::PromptTemplate;
use crate::read::left_out;
use crate::record::DEFAULT_INSTRUCTION;
use crate::record::Record;
use crate::rows::{Row, read_rows};
use crate::source::{Budget, RECORD_COST};
use crate::tokenizer::Tokenizer;
use crate::value::Names;

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

/// The questions of an exam, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadChoices {
    /// The questions, in the files' order.
    pub questions: Vec<ChoiceQuestion>,
    /// How many were left out because they cannot be used.
    pub skipped: usize,
    /// The first of them, with the reason, as a sentence for each file.
    pub reasons: Vec<String>,
}

/// Reads the questions of files of records (JSON, JSON Lines, CSV, TSV or Parquet; all but the last also packed), as
/// [`read_data`](crate::read_data) reads records. Of `options`, the limit and what happens to bad records count.
///
/// # Errors
/// A file is missing, damaged, empty or of another format, or they go over the limit together; its columns are those of
/// no layout ([`DataError::UnknownLayout`]); or questions cannot be used, all of them at once
/// ([`DataError::BadRecords`]).
pub fn read_choices(files: &[PathBuf], options: &DataOptions) -> Result<ReadChoices, DataError> {
    let budget = Budget::new(options.max_data_size);
    let mut read = ReadChoices { questions: Vec::new(), skipped: 0, reasons: Vec::new() };
    for path in files {
        let (questions, bad) = read_file(path, options.bad_records, &budget)?;
        read.questions.extend(questions);
        if let Some(bad) = bad {
            read.skipped += bad.count;
            read.reasons.push(left_out(path, &bad));
        }
    }
    Ok(read)
}

/// A file's questions, and those that were left out.
fn read_file(
    path: &Path,
    on_bad: OnBadRecord,
    budget: &Budget,
) -> Result<(Vec<ChoiceQuestion>, Option<BadRecords>), DataError> {
    let wanted: Vec<String> = layout::fields().collect();
    let mut names = Names::new(wanted.iter().map(String::as_str));
    // The layout is known by the columns of all records together.
    let mut rows = Vec::new();
    read_rows(path, budget, &mut names, &mut |row, _| {
        budget.spend(RECORD_COST, path)?;
        rows.push(row);
        Ok(())
    })?;
    if rows.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf(), what: "questions" });
    }
    let layout = match Layout::of(&names.seen) {
        Some(layout) => layout,
        // Without a readable row there are no columns to speak of: the rows' own faults say more.
        None if rows.iter().all(|row| row.fields.is_err()) => Layout::Plain,
        None => return Err(DataError::UnknownLayout { path: path.to_path_buf(), found: names.seen }),
    };
    let records = rows.len();
    let mut questions = Vec::with_capacity(records);
    let mut bad = Vec::new();
    for (index, Row { line, fields }) in rows.into_iter().enumerate() {
        if layout == Layout::MedMcqa && fields.as_ref().is_ok_and(counts_from_one) {
            return Err(DataError::misread(path, layout.name(), index + 1, FROM_ONE));
        }
        match fields.and_then(|mut fields| layout.question(&mut fields)) {
            Ok(question) => questions.push(question),
            Err(reason) => bad.push(BadRecord { record: index + 1, line, reason }),
        }
    }
    let bad = (!bad.is_empty()).then(|| BadRecords::of(records, bad));
    match bad {
        Some(bad) if on_bad == OnBadRecord::Refuse || questions.is_empty() => {
            Err(DataError::BadRecords { path: path.to_path_buf(), format: Some(layout.name().into()), bad })
        }
        skipped => Ok((questions, skipped)),
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
                let over = example.ids.len().saturating_sub(positions.saturating_add(1));
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
