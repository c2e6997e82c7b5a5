//! The same questions to two models: which questions, what came back, and how it is shown.

use std::fmt::Write;

use anyhow::Result;
use gptneo_datasets::{DEFAULT_INSTRUCTION, Dataset, PromptTemplate, Record, Tokenizer};
use gptneo_model::generate::{FinishReason, GenerationConfig, generate};
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_training::measure::{AnswerMetrics, Answered};
use gptneo_training::report::GenerationRow;

use crate::progress::Progress;
use crate::settings::Settings;

/// Prompts that are continued at a time.
const BATCH: usize = 8;

/// A question as a person reads it and as a model is asked it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) text: String,
    /// The answer that the data have, where the question is from data.
    pub(crate) reference: Option<String>,
    pub(crate) prompt: Vec<u32>,
}

/// What a model answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The text, without white space around.
    text: String,
    /// Its tokens, without the end-of-text.
    tokens: usize,
    /// Whether the model ended it itself.
    stopped: bool,
}

impl Question {
    /// A question that has no record.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn new(text: &str, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let prompt = tokenizer.encode(&template.question_prompt(text, DEFAULT_INSTRUCTION))?;
        Ok(Self { text: text.to_string(), reference: None, prompt })
    }

    /// The question of a record, with the record's own instruction.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn of(record: &Record, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let prompt = tokenizer.encode(&template.prompt(record))?;
        Ok(Self { text: record.input.clone(), reference: Some(record.output.clone()), prompt })
    }

    /// Whether an answer of `max_new_tokens` has room behind it in a model of `positions`.
    pub(crate) fn fits(&self, max_new_tokens: usize, positions: usize) -> bool {
        self.prompt.len() + max_new_tokens <= positions
    }
}

/// `count` of the held-out questions, or as many as have room for an answer in a model of `positions`, taken evenly
/// from the file; none for plain text.
///
/// # Errors
/// The tokenizer fails.
pub(crate) fn held_out(
    settings: &Settings,
    data: &Dataset,
    tokenizer: &Tokenizer,
    positions: usize,
    count: usize,
) -> Result<Vec<Question>> {
    let records = data.split.validation.iter().filter_map(|&index| data.records.get(index));
    let questions: Vec<Question> = records
        .map(|record| Question::of(record, &settings.data.options.prompt_template, tokenizer))
        .collect::<Result<_>>()?;
    let fits = |question: &Question| question.fits(settings.answers.max_new_tokens, positions);
    let fitting: Vec<Question> = questions.into_iter().filter(fits).collect();
    let count = count.min(fitting.len());
    Ok((0..count).map(|number| fitting[number * fitting.len() / count].clone()).collect())
}

/// What a model answers, in the questions' order.
///
/// # Errors
/// As [`generate`]; or the tokenizer fails.
pub(crate) fn answers<B: NeoBackend>(
    model: &GptNeo<B>,
    questions: &[Question],
    tokenizer: &Tokenizer,
    config: &GenerationConfig,
) -> Result<Vec<Answer>> {
    let mut progress = Progress::new("answering");
    let mut answers = Vec::with_capacity(questions.len());
    for batch in questions.chunks(BATCH) {
        let prompts: Vec<Vec<u32>> = batch.iter().map(|question| question.prompt.clone()).collect();
        for generation in generate(model, &prompts, config, |_, _| {})? {
            answers.push(Answer {
                text: tokenizer.decode(&generation.ids)?.trim().to_string(),
                tokens: generation.ids.len(),
                stopped: generation.finish == FinishReason::Stop,
            });
        }
        progress.update(answers.len(), questions.len());
    }
    Ok(answers)
}

/// Questions and answers side by side.
pub(crate) fn rows(questions: &[Question], base: &[Answer], tuned: &[Answer]) -> Vec<GenerationRow> {
    let rows = questions.iter().zip(base).zip(tuned);
    rows.map(|((question, base), tuned)| GenerationRow {
        question: question.text.clone(),
        base: base.text.clone(),
        tuned: tuned.text.clone(),
    })
    .collect()
}

/// How close each model's answers are to the expected ones, how long, and whether they end.
pub(crate) fn metrics(questions: &[Question], models: [(&str, &[Answer]); 2]) -> Vec<AnswerMetrics> {
    let measure = |(model, answers): (&str, &[Answer])| {
        let answered: Vec<Answered<'_>> = questions
            .iter()
            .zip(answers)
            .map(|(question, answer)| Answered {
                text: &answer.text,
                reference: question.reference.as_deref(),
                tokens: answer.tokens,
                stopped: answer.stopped,
            })
            .collect();
        AnswerMetrics::of(model, &answered)
    };
    models.into_iter().filter_map(measure).collect()
}

/// The measures for a terminal.
pub(crate) fn render_metrics(rows: &[AnswerMetrics]) -> String {
    let heads = ["token F1", "exact match", "mean tokens", "ended by itself"];
    let mut text =
        format!("{:<14}{:>18}{:>14}{:>14}{:>18}\n", "answers", heads[0], heads[1], heads[2], heads[3]);
    let share = |value: f64| format!("{:.1} %", 100.0 * value);
    for row in rows {
        let f1 = match (row.token_f1, row.standard_error) {
            (Some(f1), Some(error)) => format!("{f1:.3} ± {error:.3}"),
            (Some(f1), None) => format!("{f1:.3}"),
            (None, _) => "-".into(),
        };
        let exact = row.exact_match.map_or("-".into(), share);
        let (tokens, stopped) = (row.mean_tokens, share(row.stopped));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<14}{f1:>18}{exact:>14}{tokens:>14.1}{stopped:>18}", row.model);
    }
    text
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

    fn answer(text: &str) -> Answer {
        Answer { text: text.into(), tokens: 4, stopped: true }
    }

    #[test]
    fn an_answer_is_shown_on_one_line_and_kept_as_it_is() {
        let question = Question { text: "Why?".into(), reference: Some("b".into()), prompt: vec![1, 2, 3] };
        assert!(question.fits(5, 8) && !question.fits(6, 8));
        let questions = [question];
        let (base, tuned) = ([answer("a\n\nb")], [answer("c")]);
        let rows = rows(&questions, &base, &tuned);
        assert_eq!(rows[0].base, "a\n\nb");
        assert_eq!(render(&rows), "Question  Why?\n  before  a b\n  after   c\n");
        let found = metrics(&questions, [("Base Model", &base), ("LoRA Model", &tuned)]);
        assert_eq!((found[0].token_f1, found[1].token_f1), (Some(1.0), Some(0.0)));
        assert!(
            render_metrics(&found).contains("Base Model                 1.000       100.0 %           4.0")
        );
    }
}
