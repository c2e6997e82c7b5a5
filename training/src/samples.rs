//! A few fixed questions, answered after every evaluation, so that one can read how a model learns to answer.
//!
//! Without a temperature no random number is drawn, and the training goes on as if nobody had asked.

use std::path::Path;

use gptneo_datasets::Tokenizer;
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, NeoBackend, SamplingConfig};
use serde::{Deserialize, Serialize};

use crate::TrainingError;
use crate::step_log::{LogRow, StepLog, read_rows};

/// Prompts that are continued at a time.
const BATCH: usize = 8;

/// What is asked after every evaluation.
#[derive(Clone)]
pub struct SampleQuestions {
    /// The questions.
    pub questions: Vec<SampleQuestion>,
    /// The longest answer in tokens. Every prompt must leave room for it.
    pub max_new_tokens: usize,
    /// How each token is chosen.
    pub sampling: SamplingConfig,
    /// The model's tokenizer.
    pub tokenizer: Tokenizer,
}

/// A question as a person reads it and as the model is asked it.
#[derive(Clone, Debug)]
pub struct SampleQuestion {
    /// The question.
    pub text: String,
    /// The whole prompt's tokens.
    pub prompt: Vec<u32>,
}

/// A row of `samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRow {
    /// The step after which the question was asked.
    pub step: usize,
    /// The question.
    pub question: String,
    /// The answer, without white space around.
    pub answer: String,
}

impl LogRow for SampleRow {}

/// The questions of a run and the file of their answers.
pub(crate) struct Samples {
    asked: SampleQuestions,
    log: StepLog<SampleRow>,
}

impl Samples {
    /// Opens the file at `path`. Of a run that goes on, it keeps the rows that `keep` takes.
    pub(crate) fn open(
        asked: SampleQuestions,
        path: &Path,
        keep: impl Fn(&SampleRow) -> bool,
    ) -> Result<Self, TrainingError> {
        let log = if path.exists() { StepLog::resume(path, keep)? } else { StepLog::create(path)? };
        Ok(Self { asked, log })
    }

    /// Asks the model and writes down what it answers.
    pub(crate) fn take<B: NeoBackend>(
        &mut self,
        model: &GptNeo<B>,
        step: usize,
    ) -> Result<Vec<SampleRow>, TrainingError> {
        let rows = self.asked.ask(model, step)?;
        rows.iter().try_for_each(|row| self.log.append(row))?;
        Ok(rows)
    }
}

impl SampleQuestions {
    /// What a model answers, of which `step` steps were trained.
    ///
    /// # Errors
    ///
    /// As [`generate`]; or the tokenizer fails.
    pub fn ask<B: NeoBackend>(
        &self,
        model: &GptNeo<B>,
        step: usize,
    ) -> Result<Vec<SampleRow>, TrainingError> {
        let config = GenerationConfig {
            max_new_tokens: self.max_new_tokens,
            sampling: self.sampling.clone(),
            end_tokens: vec![self.tokenizer.end_of_text()],
        };
        let mut rows = Vec::with_capacity(self.questions.len());
        for batch in self.questions.chunks(BATCH) {
            let prompts: Vec<Vec<u32>> = batch.iter().map(|question| question.prompt.clone()).collect();
            let answers = generate(model, &prompts, &config, |_, _| {})?;
            for (question, answer) in batch.iter().zip(answers) {
                let answer = self.tokenizer.decode(&answer.ids)?.trim().to_string();
                rows.push(SampleRow { step, question: question.text.clone(), answer });
            }
        }
        Ok(rows)
    }
}

/// The rows of `samples.jsonl`, in order.
///
/// # Errors
///
/// The file cannot be read, or a line is no row.
pub fn read_samples(path: impl AsRef<Path>) -> Result<Vec<SampleRow>, TrainingError> {
    read_rows(path)
}
