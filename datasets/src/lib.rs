//! Records in files or in memory to token batches: reading, formatting, tokenizing, splitting, batching.
//!
//! ```
//! use gptneo_datasets::{DataOptions, Dataset, Padding, Record, TokenBatch, train_byte_level_bpe};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let records = vec![
//!     Record::new("What carries oxygen in the blood?", "Haemoglobin in the red cells."),
//!     Record::new("What does insulin do?", "It lets cells take up sugar."),
//!     Record::new("Where is bile made?", "In the liver."),
//! ];
//! // Or the tokenizer of a Hugging Face folder: `Tokenizer::from_folder`.
//! let texts = records.iter().map(|record| format!("{} {}", record.input, record.output));
//! let tokenizer = train_byte_level_bpe(texts, 300, folder)?;
//!
//! // Or a file: `Dataset::from_file`.
//! let options = DataOptions { max_seq_length: Some(64), validation_fraction: 0.3, ..Default::default() };
//! let data = Dataset::from_records(records, &options, &tokenizer)?;
//! assert_eq!((data.training().len(), data.validation().len()), (2, 1));
//!
//! let training = data.training();
//! let batch = TokenBatch::collate(&[&training[0], &training[1]], tokenizer.end_of_text(), Padding::Longest)?;
//! assert_eq!(batch.rows(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! The way of a record, as [`Dataset`] goes it: [`read_data`] reads it from JSON, JSON Lines, CSV, TSV or Parquet in the
//! [`DataFormat`] that its fields have, a [`PromptTemplate`] makes it a text, [`encode_examples`] makes that an [`Example`] of token ids, and
//! [`split_by_question`] puts it on one side of the split. Then [`batches_in_order`] says in which batch it goes, and
//! [`TokenBatch::collate`] pads that batch. Plain text takes [`read_documents`] and [`pack_documents`] instead.
//!
//! The crate knows no model and no tensor, and it reads local files only.

mod batch;
mod bpe;
mod choices;
mod dataset;
mod document;
mod duplicates;
mod error;
mod example;
mod excerpt;
mod files;
#[cfg(test)]
mod flashcards_tests;
mod form;
mod leaks;
pub mod medical_flashcards;
mod options;
mod pack;
mod panics;
mod pieces;
mod prompt;
mod question;
mod read;
mod record;
mod report;
mod rows;
mod size;
mod source;
mod split;
mod tokenizer;
mod value;

pub use batch::{Order, Padding, TokenBatch, WINDOW_BATCHES, batches_by_length, batches_in_order};
pub use bpe::{SMALLEST_VOCABULARY, train_byte_level_bpe};
pub use choices::{
    ChoiceQuestion, EncodedChoices, ReadChoices, encode_choices, encode_continuation, read_choices,
};
pub use dataset::{Dataset, encode_files};
pub use document::{DocumentEnd, is_plain_text, read_documents};
pub use duplicates::{Duplicates, Repeated, find_duplicates};
pub use error::{BadRecord, BadRecords, DataError};
pub use example::{Encoded, Example, Overlong, Supervise, Truncation, encode_examples};
pub use files::{DataFiles, Together, listed, paths_under};
pub use form::{DataFormat, OnBadRecord};
pub use leaks::Leaks;
pub use options::{DEFAULT_LENGTH, DataOptions};
pub use pack::pack_documents;
pub use prompt::{CHAT_TEMPLATE_FILE, PROMPT_TEMPLATE_FILE, PromptTemplate, Turns};
pub use question::normalise_question;
pub use read::{ReadData, Reading, read_data, read_texts};
pub use record::{Columns, DEFAULT_INSTRUCTION, Record, Turn};
pub use report::{Bin, DataReport, Lengths, grouped, mark_supervised, mark_supervised_with};
pub use rows::read_records;
pub use size::DataSize;
pub use source::is_data;
pub use split::{Split, split_by_question};
pub use tokenizer::{
    ByteLevelBpe, DEFAULT_END_OF_TEXT, StreamDecoder, TOKENIZER_FILES, TokenKind, Tokenizer,
};
