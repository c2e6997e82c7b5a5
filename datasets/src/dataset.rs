//! A data set: records or plain text as examples on two sides of a split.
//!
//! A file ([`Dataset::from_file`]) and what a program holds already ([`Dataset::from_records`],
//! [`Dataset::from_documents`]) take the same way.

use std::path::Path;
use std::sync::Arc;

use crate::document::{is_plain_text, read_documents};
use crate::duplicates::{Duplicates, find_duplicates};
use crate::error::DataError;
use crate::example::{Encoded, Example, Truncation, encode_examples};
use crate::options::DataOptions;
use crate::pack::pack_documents;
use crate::prompt::PromptTemplate;
use crate::record::{Columns, Record, check_given, read_records};
use crate::split::{Split, split_by_question};
use crate::tokenizer::Tokenizer;

/// Examples to learn from and examples to measure on, and what is known of where they came from.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Records or documents that went in.
    pub count: usize,
    /// The records; none for plain text.
    pub records: Vec<Record>,
    /// The sides, by [`Example::record`].
    pub split: Split,
    /// How many tokens each record or block has uncut, its end-of-text included; those left out too.
    pub lengths: Vec<usize>,
    /// What was cut or left out.
    pub truncation: Truncation,
    /// What stands more than once; none for plain text.
    pub duplicates: Option<Duplicates>,
    training: Arc<[Example]>,
    /// All that was put aside, without the limit.
    validation: Arc<[Example]>,
    validation_limit: Option<usize>,
}

impl Dataset {
    /// Reads a file of records (.json, .jsonl, .ndjson, .csv, .parquet) or of plain text (.txt, .txt.gz).
    ///
    /// # Errors
    /// As [`read_records`] and [`Dataset::from_records`], or as [`read_documents`] and [`Dataset::from_documents`].
    pub fn from_file(path: &Path, options: &DataOptions, tokenizer: &Tokenizer) -> Result<Self, DataError> {
        options.validate()?;
        if is_plain_text(path) {
            return Self::from_documents(&read_documents(path)?, options, tokenizer);
        }
        let records = read_records(path, &options.columns(), &options.prompt_template)?;
        Self::of_checked(records, options, tokenizer)
    }

    /// Splits `records` by question and makes an example of each.
    ///
    /// # Errors
    /// A setting outside its range, no records, a question or an answer that is blank, or as [`split_by_question`]
    /// and [`encode_examples`].
    pub fn from_records(
        records: Vec<Record>,
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        options.validate()?;
        check_given(&records)?;
        Self::of_checked(records, options, tokenizer)
    }

    fn of_checked(
        records: Vec<Record>,
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let questions: Vec<&str> = records.iter().map(|record| record.input.as_str()).collect();
        let split = split_by_question(&questions, options.validation_fraction, options.seed)?;
        let encoded = encode(&records, options, tokenizer)?;
        let duplicates = find_duplicates(&records);
        let sides = Self::of_sides(records.len(), encoded, split, options);
        Ok(Self { records, duplicates: Some(duplicates), ..sides })
    }

    /// Splits `documents` and packs each side into blocks of the longest length.
    ///
    /// They are split before they are packed, so that no block has text of both sides; [`Example::record`] is the
    /// number of the block, the training side's first.
    ///
    /// # Errors
    /// A setting outside its range, or as [`split_by_question`] and [`pack_documents`].
    pub fn from_documents(
        documents: &[String],
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        options.validate()?;
        let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
        let sides = split_by_question(&texts, options.validation_fraction, options.seed)?;
        let pack = |side: &[usize]| {
            let texts: Vec<&str> = side.iter().map(|&index| texts[index]).collect();
            if texts.is_empty() {
                return Ok(Vec::new());
            }
            pack_documents(&texts, tokenizer, options.max_length())
        };
        let mut blocks = pack(&sides.train)?;
        let train = blocks.len();
        blocks.extend(pack(&sides.validation)?);
        for (record, block) in blocks.iter_mut().enumerate() {
            block.record = record;
        }
        let split = Split { train: (0..train).collect(), validation: (train..blocks.len()).collect() };
        let encoded = Encoded::from_blocks(blocks, options.max_length());
        Ok(Self::of_sides(documents.len(), encoded, split, options))
    }

    /// Puts each example on its side.
    fn of_sides(count: usize, encoded: Encoded, split: Split, options: &DataOptions) -> Self {
        let Encoded { examples, lengths, truncation } = encoded;
        let trains = |example: &Example| split.train.binary_search(&example.record).is_ok();
        let (training, validation): (Vec<_>, Vec<_>) = examples.into_iter().partition(trains);
        Self {
            count,
            records: Vec::new(),
            split,
            lengths,
            truncation,
            duplicates: None,
            training: training.into(),
            validation: validation.into(),
            validation_limit: options.validation_limit,
        }
    }

    /// The examples to learn from, in file order.
    pub fn training(&self) -> Arc<[Example]> {
        self.training.clone()
    }

    /// The examples to measure on, in file order, no more than [`DataOptions::validation_limit`].
    pub fn validation(&self) -> Arc<[Example]> {
        match self.validation_limit {
            Some(limit) if limit < self.validation.len() => self.validation[..limit].into(),
            _ => self.validation.clone(),
        }
    }

    /// All examples that were put aside to measure on, whatever the limit.
    pub fn held_out(&self) -> &[Example] {
        &self.validation
    }

    /// The examples of both sides, the training side's first.
    pub fn examples(&self) -> impl Iterator<Item = &Example> {
        self.training.iter().chain(self.validation.iter())
    }
}

/// The examples of the first `limit` records, or of the first `limit` blocks of plain text, without a split.
///
/// # Errors
/// A setting outside its range, or as the readers, [`encode_examples`] and [`pack_documents`].
pub fn encode_file(
    path: &Path,
    options: &DataOptions,
    tokenizer: &Tokenizer,
    limit: Option<usize>,
) -> Result<Encoded, DataError> {
    options.validate()?;
    let (limit, max_length) = (limit.unwrap_or(usize::MAX), options.max_length());
    if is_plain_text(path) {
        let mut blocks = pack_documents(&read_documents(path)?, tokenizer, max_length)?;
        blocks.truncate(limit);
        return Ok(Encoded::from_blocks(blocks, max_length));
    }
    let mut records = read_records(path, &options.columns(), &options.prompt_template)?;
    records.truncate(limit);
    encode(&records, options, tokenizer)
}

/// The texts of a file as the default template writes them, for example to train a tokenizer on.
///
/// # Errors
/// As [`read_documents`] or [`read_records`].
pub fn read_texts(path: &Path) -> Result<Vec<String>, DataError> {
    if is_plain_text(path) {
        return read_documents(path);
    }
    let template = PromptTemplate::default();
    let records = read_records(path, &Columns::default(), &template)?;
    Ok(records.iter().map(|record| template.text(record)).collect())
}

fn encode(records: &[Record], options: &DataOptions, tokenizer: &Tokenizer) -> Result<Encoded, DataError> {
    let DataOptions { prompt_template, supervise, overlong, .. } = options;
    encode_examples(records, prompt_template, tokenizer, options.max_length(), *supervise, *overlong)
}

#[cfg(test)]
mod tests;
