//! The same questions to two models: which questions, what came back, and how good it is.

use gptneo_datasets::{DEFAULT_INSTRUCTION, Dataset, PromptTemplate, Record, Tokenizer};
use gptneo_model::generate::{FinishReason, Generation, GenerationConfig, Told, generate_queued};
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_report::{AnswerScores, GenerationRow};
use gptneo_training::measure::{AnswerMetrics, Answered};

use crate::error::Result;
use crate::settings::Settings;

/// Questions that are answered at a time.
const BATCH: usize = 8;

/// A question as a person reads it and as a model is asked it.
#[derive(Clone, Debug)]
pub struct Question {
    /// The question.
    pub text: String,
    /// The answer that the data have, where the question is from data.
    pub reference: Option<String>,
    /// The whole prompt's tokens.
    pub prompt: Vec<u32>,
}

/// What a model answers.
#[derive(Clone, Debug)]
pub struct Answer {
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
    pub fn new(text: &str, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let prompt = tokenizer.encode(&template.question_prompt(text, DEFAULT_INSTRUCTION))?;
        Ok(Self { text: text.to_string(), reference: None, prompt })
    }

    /// The question of a record, with the record's own instruction.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn of(record: &Record, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let prompt = tokenizer.encode(&template.prompt(record))?;
        Ok(Self { text: record.input.clone(), reference: Some(record.output.clone()), prompt })
    }

    /// Whether an answer of `max_new_tokens` has room behind it in a model of `positions`.
    pub fn fits(&self, max_new_tokens: usize, positions: usize) -> bool {
        self.prompt.len() + max_new_tokens <= positions
    }
}

/// `count` of the held-out questions, or as many as have room for an answer in a model of `positions`, taken evenly
/// from the file; none for plain text.
///
/// # Errors
/// The tokenizer fails.
pub fn held_out(
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

/// What a model answers, in the questions' order. `on_answers` hears how many of how many are answered.
///
/// # Errors
/// As [`generate_queued`]; or the tokenizer fails.
pub fn answers<B: NeoBackend>(
    model: &GptNeo<B>,
    questions: &[Question],
    tokenizer: &Tokenizer,
    config: &GenerationConfig,
    on_answers: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Answer>> {
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    let prompts: Vec<Vec<u32>> = questions.iter().map(|question| question.prompt.clone()).collect();
    let mut answered = 0;
    let generations = generate_queued(model, &prompts, config, BATCH, |_, told| {
        if let Told::End(_) = told {
            answered += 1;
            on_answers(answered, questions.len());
        }
    })?;
    let answer = |generation: Generation| {
        Ok(Answer {
            text: tokenizer.decode(&generation.ids)?.trim().to_string(),
            tokens: generation.ids.len(),
            stopped: generation.finish == FinishReason::Stop,
        })
    };
    generations.into_iter().map(answer).collect()
}

/// Questions and answers side by side.
pub fn rows(questions: &[Question], base: &[Answer], tuned: &[Answer]) -> Vec<GenerationRow> {
    let rows = questions.iter().zip(base).zip(tuned);
    rows.map(|((question, base), tuned)| GenerationRow {
        question: question.text.clone(),
        base: base.text.clone(),
        tuned: tuned.text.clone(),
    })
    .collect()
}

/// How close each model's answers are to the expected ones, how long, and whether they end.
pub fn scores(questions: &[Question], models: [(&str, &[Answer]); 2]) -> Vec<AnswerScores> {
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
        let found = AnswerMetrics::of(model, &answered)?;
        let AnswerMetrics { model, questions, token_f1, standard_error, exact_match, mean_tokens, stopped } =
            found;
        Some(AnswerScores { model, questions, token_f1, standard_error, exact_match, mean_tokens, stopped })
    };
    models.into_iter().filter_map(measure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer { text: text.into(), tokens: 4, stopped: true }
    }

    #[test]
    fn an_answer_is_kept_as_it_is_and_scored() {
        let question = Question { text: "Why?".into(), reference: Some("b".into()), prompt: vec![1, 2, 3] };
        assert!(question.fits(5, 8) && !question.fits(6, 8));
        let questions = [question];
        let (base, tuned) = ([answer("a\n\nb")], [answer("c")]);
        let rows = rows(&questions, &base, &tuned);
        assert_eq!(rows[0].base, "a\n\nb");
        let found = scores(&questions, [("Base Model", &base), ("LoRA Model", &tuned)]);
        assert_eq!((found[0].token_f1, found[1].token_f1), (Some(1.0), Some(0.0)));
    }
}
