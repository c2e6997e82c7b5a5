//! A data file as examples on two sides of a split, whether it holds records or plain text.

use std::path::Path;

use gptneo_datasets::{
    Duplicates, Encoded, Example, PromptTemplate, Record, Split, Tokenizer, encode_examples, find_duplicates,
    pack_documents, read_documents, read_records, split_by_question,
};

use crate::error::Result;
use crate::settings::DataSettings;

/// The examples of a data file.
pub struct Data {
    /// Records or documents in the file.
    pub count: usize,
    /// The records; none for plain text.
    pub records: Vec<Record>,
    /// The examples, those of both sides.
    pub encoded: Encoded,
    /// The sides, by [`Example::record`].
    pub split: Split,
    /// What stands more than once; none for plain text.
    pub duplicates: Option<Duplicates>,
}

impl Data {
    /// Reads the file, splits it by `seed` and makes its examples of at most `max_length` tokens.
    ///
    /// Documents are split before they are packed, so that no block has text of both sides; `record` is then the
    /// number of the block.
    ///
    /// # Errors
    /// As the readers, [`encode_examples`] and [`split_by_question`] of `gptneo-datasets`.
    pub fn load(
        settings: &DataSettings,
        tokenizer: &Tokenizer,
        max_length: usize,
        seed: u64,
    ) -> Result<Self> {
        let path = settings.file()?;
        let fraction = settings.validation_fraction;
        if is_plain_text(path) {
            let documents = read_documents(path)?;
            let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
            let sides = split_by_question(&texts, fraction, seed)?;
            let mut blocks = pack_side(&texts, &sides.train, tokenizer, max_length)?;
            let train = (0..blocks.len()).collect();
            let validation = pack_side(&texts, &sides.validation, tokenizer, max_length)?;
            let split =
                Split { train, validation: (blocks.len()..blocks.len() + validation.len()).collect() };
            blocks.extend(validation);
            for (record, block) in blocks.iter_mut().enumerate() {
                block.record = record;
            }
            let encoded = Encoded::from_blocks(blocks, max_length);
            let (count, records) = (documents.len(), Vec::new());
            return Ok(Self { count, records, encoded, split, duplicates: None });
        }
        let records = read_records(path, &settings.columns(), &settings.prompt_template)?;
        let questions: Vec<&str> = records.iter().map(|record| record.input.as_str()).collect();
        let split = split_by_question(&questions, fraction, seed)?;
        let encoded = encode_examples(
            &records,
            &settings.prompt_template,
            tokenizer,
            max_length,
            settings.supervise,
            settings.overlong,
        )?;
        let duplicates = Some(find_duplicates(&records));
        Ok(Self { count: records.len(), records, encoded, split, duplicates })
    }

    /// The first `limit` examples to measure on, in file order.
    pub fn validation(&self, limit: Option<usize>) -> Vec<Example> {
        let mut examples = self.examples(&self.split.validation);
        examples.truncate(limit.unwrap_or(usize::MAX));
        examples
    }

    /// The examples of one side, in file order; `side` is ascending.
    pub fn examples(&self, side: &[usize]) -> Vec<Example> {
        let examples = self.encoded.examples.iter();
        examples.filter(|example| side.binary_search(&example.record).is_ok()).cloned().collect()
    }
}

/// The examples of the first `limit` records, or of the first `limit` blocks of plain text, for measuring.
///
/// # Errors
/// As the readers and [`encode_examples`].
pub fn first_examples(
    settings: &DataSettings,
    tokenizer: &Tokenizer,
    max_length: usize,
    limit: Option<usize>,
) -> Result<Encoded> {
    let path = settings.file()?;
    let limit = limit.unwrap_or(usize::MAX);
    if is_plain_text(path) {
        let mut blocks = pack_documents(&read_documents(path)?, tokenizer, max_length)?;
        blocks.truncate(limit);
        return Ok(Encoded::from_blocks(blocks, max_length));
    }
    let mut records = read_records(path, &settings.columns(), &settings.prompt_template)?;
    records.truncate(limit);
    let (template, supervise, overlong) = (&settings.prompt_template, settings.supervise, settings.overlong);
    Ok(encode_examples(&records, template, tokenizer, max_length, supervise, overlong)?)
}

/// The texts of a file, to train a tokenizer on.
///
/// # Errors
/// As the readers.
pub fn texts(path: &Path) -> Result<Vec<String>> {
    if is_plain_text(path) {
        return Ok(read_documents(path)?);
    }
    let settings = DataSettings::default();
    let template = PromptTemplate::default();
    let records = read_records(path, &settings.columns(), &template)?;
    Ok(records.iter().map(|record| template.text(record)).collect())
}

fn pack_side(
    texts: &[&str],
    side: &[usize],
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<Vec<Example>> {
    let texts: Vec<&str> = side.iter().filter_map(|index| texts.get(*index).copied()).collect();
    if texts.is_empty() { Ok(Vec::new()) } else { Ok(pack_documents(&texts, tokenizer, max_length)?) }
}

fn is_plain_text(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.ends_with(".txt") || name.ends_with(".txt.gz")
}
