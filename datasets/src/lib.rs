//! Records in files to token batches: reading, formatting, tokenizing, splitting, batching.
//!
//! The way of a record: [`read_records`] reads it from JSON, JSON Lines, CSV or Parquet, a [`PromptTemplate`] makes
//! it a text, [`encode_examples`] makes that an [`Example`] of token ids, [`split_by_question`] puts it on one side
//! of the split, [`plan_batches`] says in which batch it goes, and [`TokenBatch::collate`] pads that batch. Plain
//! text takes [`read_documents`] and [`pack_documents`] instead.
//!
//! The crate knows no model and no tensor, and it reads local files only.

mod batch;
mod bpe;
mod document;
mod duplicates;
mod error;
mod example;
#[cfg(test)]
mod flashcards_tests;
mod pack;
mod prompt;
mod question;
mod record;
mod report;
mod split;
mod tokenizer;

pub use batch::{Order, Padding, TokenBatch, WINDOW_BATCHES, plan_batches, plan_by_length};
pub use bpe::{SMALLEST_VOCABULARY, train_byte_level_bpe};
pub use document::read_documents;
pub use duplicates::{Duplicates, Repeated, find_duplicates};
pub use error::{BadRecord, BadRecords, DataError};
pub use example::{Encoded, Example, Overlong, Supervise, Truncation, encode_examples};
pub use pack::pack_documents;
pub use prompt::{DEFAULT_INSTRUCTION, PromptTemplate};
pub use question::normalise_question;
pub use record::{Columns, Record, read_records};
pub use report::{Bin, DataReport, Lengths, grouped, mark_supervised, mark_supervised_with};
pub use split::{Split, split_by_question};
pub use tokenizer::{DEFAULT_END_OF_TEXT, StreamDecoder, Tokenizer};
