//! The same questions to two models: which questions, what came back, and how it is shown.

use std::fmt::Write;

use anyhow::Result;
use gptneo_datasets::{DEFAULT_INSTRUCTION, PromptTemplate, Record, Tokenizer};
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_training::report::GenerationRow;

use crate::progress::Progress;

/// Prompts that are continued at a time.
const BATCH: usize = 8;

/// A question as a person reads it and as a model is asked it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) text: String,
    prompt: Vec<u32>,
}

impl Question {
    /// A question that has no record.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn new(text: &str, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let prompt = tokenizer.encode(&template.question_prompt(text, DEFAULT_INSTRUCTION))?;
        Ok(Self { text: text.to_string(), prompt })
    }

    /// The question of a record, with the record's own instruction.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn of(record: &Record, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self { text: record.input.clone(), prompt: tokenizer.encode(&template.prompt(record))? })
    }

    /// Whether an answer of `max_new_tokens` has room behind it in a model of `positions`.
    pub(crate) fn fits(&self, max_new_tokens: usize, positions: usize) -> bool {
        self.prompt.len() + max_new_tokens <= positions
    }
}

/// What a model answers, in the questions' order, without white space around.
///
/// # Errors
/// As [`generate`]; or the tokenizer fails.
pub(crate) fn answers<B: NeoBackend>(
    model: &GptNeo<B>,
    questions: &[Question],
    tokenizer: &Tokenizer,
    config: &GenerationConfig,
) -> Result<Vec<String>> {
    let mut progress = Progress::new("answering");
    let mut answers = Vec::with_capacity(questions.len());
    for batch in questions.chunks(BATCH) {
        let prompts: Vec<Vec<u32>> = batch.iter().map(|question| question.prompt.clone()).collect();
        for generation in generate(model, &prompts, config, |_, _| {})? {
            answers.push(tokenizer.decode(&generation.ids)?.trim().to_string());
        }
        progress.update(answers.len(), questions.len());
    }
    Ok(answers)
}

/// Questions and answers side by side.
pub(crate) fn rows(questions: &[Question], base: Vec<String>, tuned: Vec<String>) -> Vec<GenerationRow> {
    let questions = questions.iter().map(|question| question.text.clone());
    let rows = questions.zip(base).zip(tuned);
    rows.map(|((question, base), tuned)| GenerationRow { question, base, tuned }).collect()
}

/// The rows for a terminal, a blank line between them.
pub(crate) fn render(rows: &[GenerationRow]) -> String {
    let mut text = String::new();
    for GenerationRow { question, base, tuned } in rows {
        let gap = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{gap}Question  {question}\n  before  {}\n  after   {}", flat(base), flat(tuned));
    }
    text
}

/// An answer on one line, for a terminal.
fn flat(answer: &str) -> String {
    answer.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_on_one_line_and_kept_as_it_is() {
        let question = Question { text: "Why?".into(), prompt: vec![1, 2, 3] };
        assert!(question.fits(5, 8) && !question.fits(6, 8));
        let rows = rows(&[question], vec!["a\n\nb".into()], vec!["c".into()]);
        assert_eq!(rows[0].base, "a\n\nb");
        assert_eq!(render(&rows), "Question  Why?\n  before  a b\n  after   c\n");
    }
}
