//! A data set: records or plain text as examples on two or three sides: to learn from, to validate with, to test with.
//!
//! Files ([`Dataset::from_files`]) and what a program holds already ([`Dataset::from_records`],
//! [`Dataset::from_documents`]) take the same way.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::duplicates::{Duplicates, find_duplicates};
use crate::error::DataError;
use crate::example::{Encoded, Example, Truncation, encode_examples};
use crate::files::DataFiles;
use crate::leaks::Leaks;
use crate::options::DataOptions;
use crate::pack::pack_documents;
use crate::read::{ReadData, Reading, read_part};
use crate::record::Record;
use crate::rows::check_given;
use crate::source::Budget;
use crate::split::Split;
use crate::tokenizer::Tokenizer;

/// Examples to learn from and examples to measure on, and what is known of where they came from.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Records or documents that went in.
    pub count: usize,
    /// The records, those to learn from first; none for plain text.
    pub records: Vec<Record>,
    /// The sides, by [`Example::record`].
    pub split: Split,
    /// How many tokens each record or block has uncut, its end-of-text included; those left out too.
    pub lengths: Vec<usize>,
    /// What was cut or left out.
    pub truncation: Truncation,
    /// What stands more than once where the training data come from; none for plain text.
    pub duplicates: Option<Duplicates>,
    /// What stands on several sides; none where the sides are a split of one file, which has no such thing.
    pub leaks: Option<Leaks>,
    /// How the files were read; none of records and documents that were handed over.
    pub reading: Option<Reading>,
    training: Arc<[Example]>,
    /// All that was put aside, without the limit.
    validation: Arc<[Example]>,
    /// All that is touched once, without the limit.
    test: Arc<[Example]>,
    validation_limit: Option<usize>,
}

impl Dataset {
    /// Reads a file, or a folder of files, of records (.json, .jsonl, .ndjson, .csv, .tsv, .parquet) or of plain text
    /// (.txt), packed with gzip or Zstandard or not.
    ///
    /// # Errors
    /// As [`DataFiles::of`] and [`Dataset::from_files`].
    pub fn from_file(path: &Path, options: &DataOptions, tokenizer: &Tokenizer) -> Result<Self, DataError> {
        Self::from_files(&DataFiles::of(path)?, options, tokenizer)
    }

    /// Reads files to learn from, and those to validate and to test with, where there are such. Without files to
    /// validate with, a part of the training data is put aside for that.
    ///
    /// # Errors
    /// As [`read_data`](crate::read_data) and [`Dataset::from_records`] or [`Dataset::from_documents`]; records on one side and plain
    /// text on another; or leaks that are denied.
    pub fn from_files(
        files: &DataFiles,
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        options.validate()?;
        let (marker, budget) = (tokenizer.end_of_text_token(), Budget::new(options.max_data_size));
        let mut training = read_part(&files.training, options, marker, &budget)?;
        let mut further = |files: &[PathBuf]| match files.first() {
            None => Ok(None),
            Some(file) => {
                let part = read_part(files, options, marker, &budget)?;
                training.reading.join(&part, file)?;
                Ok::<_, DataError>(Some(part))
            }
        };
        let (validation, test) = (further(&files.validation)?, further(&files.test)?);
        let leaks = (validation.is_some() || test.is_some())
            .then(|| leaks(&training, validation.as_ref(), test.as_ref()));
        if let Some(leaks) = leaks.as_ref().filter(|leaks| options.deny_leaks && !leaks.is_empty()) {
            return Err(DataError::Leaks(leaks.clone()));
        }
        let reading = Some(training.reading.clone());
        let data = match training.documents.is_empty() {
            true => {
                let records = |part: Option<ReadData>| part.map(|part| part.records);
                Self::of_checked(training.records, records(validation), records(test), options, tokenizer)?
            }
            false => {
                let documents = |part: &Option<ReadData>| part.as_ref().map(|part| part.documents.clone());
                let (validation, test) = (documents(&validation), documents(&test));
                Self::of_documents(&training.documents, validation, test, options, tokenizer)?
            }
        };
        Ok(Self { leaks, reading, ..data })
    }

    /// Splits `records` by question and makes an example of each.
    ///
    /// # Errors
    /// A setting outside its range, no records, a question or an answer that is blank, or as [`split_by_question`](crate::split_by_question)
    /// and [`encode_examples`].
    pub fn from_records(
        records: Vec<Record>,
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        options.validate()?;
        check_given(&records)?;
        Self::of_checked(records, None, None, options, tokenizer)
    }

    fn of_checked(
        training: Vec<Record>,
        validation: Option<Vec<Record>>,
        test: Option<Vec<Record>>,
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let asked: Vec<Cow<'_, str>> = training.iter().map(Record::asked).collect();
        let questions: Vec<&str> = asked.iter().map(AsRef::as_ref).collect();
        let split = Split::of_parts(&questions, validation.as_ref().map(Vec::len), test.as_ref(), options)?;
        drop(asked);
        let duplicates = find_duplicates(&training);
        let mut records = training;
        records.extend(validation.into_iter().chain(test).flatten());
        let encoded = encode(&records, options, tokenizer)?;
        let sides = Self::of_sides(records.len(), encoded, split, options);
        Ok(Self { records, duplicates: Some(duplicates), ..sides })
    }

    /// Splits `documents` and packs each side into blocks of the longest length.
    ///
    /// They are split before they are packed, so that no block has text of both sides; [`Example::record`] is the
    /// number of the block, the training side's first.
    ///
    /// # Errors
    /// A setting outside its range, or as [`split_by_question`](crate::split_by_question) and [`pack_documents`].
    pub fn from_documents(
        documents: &[String],
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        options.validate()?;
        Self::of_documents(documents, None, None, options, tokenizer)
    }

    fn of_documents(
        training: &[String],
        validation: Option<Vec<String>>,
        test: Option<Vec<String>>,
        options: &DataOptions,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let texts: Vec<&str> = training.iter().map(String::as_str).collect();
        let sides = Split::of_parts(&texts, validation.as_ref().map(Vec::len), test.as_ref(), options)?;
        let texts: Vec<&str> =
            training.iter().chain(validation.iter().chain(&test).flatten()).map(String::as_str).collect();
        let mut blocks: Vec<Example> = Vec::new();
        let mut pack = |side: &[usize]| -> Result<Range<usize>, DataError> {
            let from = blocks.len();
            let side: Vec<&str> = side.iter().map(|&index| texts[index]).collect();
            if !side.is_empty() {
                blocks.extend(pack_documents(&side, tokenizer, options.max_length())?);
            }
            Ok(from..blocks.len())
        };
        let (train, validation) = (pack(&sides.train)?, pack(&sides.validation)?);
        let test = pack(&sides.test)?;
        for (record, block) in blocks.iter_mut().enumerate() {
            block.record = record;
        }
        let split = Split { train: train.collect(), validation: validation.collect(), test: test.collect() };
        let encoded = Encoded::from_blocks(blocks, options.max_length());
        Ok(Self::of_sides(texts.len(), encoded, split, options))
    }

    /// Puts each example on its side.
    fn of_sides(count: usize, encoded: Encoded, split: Split, options: &DataOptions) -> Self {
        let Encoded { examples, lengths, truncation } = encoded;
        let on = |side: &[usize], example: &Example| side.binary_search(&example.record).is_ok();
        let (training, rest): (Vec<_>, Vec<_>) =
            examples.into_iter().partition(|example| on(&split.train, example));
        let (validation, test): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|example| on(&split.validation, example));
        Self {
            count,
            records: Vec::new(),
            split,
            lengths,
            truncation,
            duplicates: None,
            leaks: None,
            reading: None,
            training: training.into(),
            validation: validation.into(),
            test: test.into(),
            validation_limit: options.validation_limit,
        }
    }

    /// The examples to learn from, in file order.
    pub fn training(&self) -> Arc<[Example]> {
        self.training.clone()
    }

    /// The examples to validate with, in file order, no more than [`DataOptions::validation_limit`].
    pub fn validation(&self) -> Arc<[Example]> {
        self.limited(&self.validation)
    }

    /// The examples to test with, in file order, no more than [`DataOptions::validation_limit`]; none where no such
    /// data were given.
    pub fn test(&self) -> Arc<[Example]> {
        self.limited(&self.test)
    }

    /// The examples that a result is told of: those to test with, else those to validate with.
    pub fn measured(&self) -> Arc<[Example]> {
        if self.split.test.is_empty() { self.validation() } else { self.test() }
    }

    /// The records of [`Dataset::measured`], by their indices, whatever the limit.
    pub fn measured_records(&self) -> &[usize] {
        if self.split.test.is_empty() { &self.split.validation } else { &self.split.test }
    }

    fn limited(&self, examples: &Arc<[Example]>) -> Arc<[Example]> {
        match self.validation_limit {
            Some(limit) if limit < examples.len() => examples[..limit].into(),
            _ => examples.clone(),
        }
    }

    /// All examples that were put aside to validate with, whatever the limit.
    pub fn held_out(&self) -> &[Example] {
        &self.validation
    }

    /// The examples of all sides, the training side's first.
    pub fn examples(&self) -> impl Iterator<Item = &Example> {
        self.training.iter().chain(self.validation.iter()).chain(self.test.iter())
    }
}

/// What stands on several sides.
fn leaks(training: &ReadData, validation: Option<&ReadData>, test: Option<&ReadData>) -> Leaks {
    fn texts(part: Option<&ReadData>) -> impl Iterator<Item = Vec<&str>> {
        let records =
            part.into_iter().flat_map(|part| part.records.iter().map(|record| record.questions().collect()));
        records.chain(part.into_iter().flat_map(|part| part.documents.iter().map(|text| vec![text.as_str()])))
    }
    Leaks::find(texts(Some(training)), texts(validation), texts(test))
}

/// The examples of the first `limit` records of files that count as one, or of the first `limit` blocks of plain text,
/// without a split; and how the files were read.
///
/// # Errors
/// A setting outside its range, or as [`read_data`](crate::read_data), [`encode_examples`] and [`pack_documents`].
pub fn encode_files(
    files: &[PathBuf],
    options: &DataOptions,
    tokenizer: &Tokenizer,
    limit: Option<usize>,
) -> Result<(Encoded, Reading), DataError> {
    options.validate()?;
    let (limit, max_length) = (limit.unwrap_or(usize::MAX), options.max_length());
    let budget = Budget::new(options.max_data_size);
    let mut data = read_part(files, options, tokenizer.end_of_text_token(), &budget)?;
    if !data.documents.is_empty() {
        let mut blocks = pack_documents(&data.documents, tokenizer, max_length)?;
        blocks.truncate(limit);
        return Ok((Encoded::from_blocks(blocks, max_length), data.reading));
    }
    data.records.truncate(limit);
    Ok((encode(&data.records, options, tokenizer)?, data.reading))
}

fn encode(records: &[Record], options: &DataOptions, tokenizer: &Tokenizer) -> Result<Encoded, DataError> {
    let DataOptions { prompt_template, supervise, overlong, .. } = options;
    encode_examples(records, prompt_template, tokenizer, options.max_length(), *supervise, *overlong)
}

#[cfg(test)]
mod tests;
