//! The text that an export's perplexities are measured on.

use gptneo_datasets::{Encoded, Example, PromptTemplate, Record, Tokenizer, medical_flashcards};

use crate::{Error, Remedy, Result};

/// The most tokens that are kept.
const KEPT: usize = 8192;
/// Tokens that a perplexity is measured on, or two blocks where they are longer: enough to see a difference that
/// quantisation makes, and seconds of computing for a model of 125 million parameters.
const MEASURED: usize = 4096;

/// Texts one behind the other, each closed with end-of-text.
#[derive(Clone, Debug)]
pub struct SampleText {
    name: String,
    ids: Vec<u32>,
}

impl SampleText {
    /// The first of these examples; `name` says which they are.
    pub fn new<'a>(name: impl Into<String>, examples: impl IntoIterator<Item = &'a Example>) -> Self {
        let ids = examples.into_iter().flat_map(|example| example.ids.iter().copied());
        Self { name: name.into(), ids: ids.take(KEPT).collect() }
    }

    /// The first texts of a data file.
    pub fn of_file(name: impl Into<String>, texts: &Encoded) -> Self {
        Self::new(name, &texts.examples)
    }

    /// The flashcards that the program carries.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn embedded(tokenizer: &Tokenizer, template: &PromptTemplate) -> Result<Self> {
        let records: Vec<Record> =
            serde_json::from_slice(medical_flashcards::FILES[0].1).map_err(|error| {
                Error::input(format!("the embedded flashcards are damaged: {error}"), Remedy::None)
            })?;
        let mut ids = Vec::new();
        for record in &records {
            ids.extend(tokenizer.encode(&template.text(record))?);
            ids.push(tokenizer.end_of_text());
            if ids.len() >= KEPT {
                break;
            }
        }
        Ok(Self { name: format!("the embedded {}", medical_flashcards::NAME), ids })
    }

    /// What it is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Blocks of `length` tokens, at least one of which is predicted; the last may be shorter.
    pub(super) fn blocks(&self, length: usize) -> impl Iterator<Item = &[u32]> {
        let measured = self.ids.len().min(MEASURED.max(2 * length));
        self.ids[..measured].chunks(length).filter(|block| block.len() > 1)
    }
}
