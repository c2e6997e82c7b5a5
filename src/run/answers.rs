//! The same questions to two models: which questions, what came back, and how good it is.

use gptneo_datasets::{DEFAULT_INSTRUCTION, Dataset, PromptTemplate, Record, Tokenizer};
use gptneo_model::generate::{FinishReason, Generation, GenerationConfig, Told, generate_queued};
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_report::{AnswerScores, GenerationRow};
use gptneo_training::measure::{AnswerMetrics, AnswerScore, Answered};

use crate::Result;
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
    /// The index of its record, where the question is one that a run held out.
    pub record: Option<usize>,
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
        Ok(Self { text: text.to_string(), reference: None, record: None, prompt })
    }

    /// The question of a record, with the record's own instruction.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn of(record: &Record, template: &PromptTemplate, tokenizer: &Tokenizer) -> Result<Self> {
        let prompt = tokenizer.encode(&template.prompt(record))?;
        Ok(Self { text: record.input.clone(), reference: Some(record.output.clone()), record: None, prompt })
    }

    /// Whether an answer of `max_new_tokens` has room behind it in a model of `positions`.
    pub fn fits(&self, max_new_tokens: usize, positions: usize) -> bool {
        self.prompt.len() + max_new_tokens <= positions
    }
}

/// `count` of the questions of the records `asked`, or as many as have room for an answer in a model of `positions`,
/// taken evenly from the file; none for plain text.
///
/// # Errors
/// The tokenizer fails.
pub fn held_out(
    settings: &Settings,
    data: &Dataset,
    asked: &[usize],
    tokenizer: &Tokenizer,
    positions: usize,
    count: usize,
) -> Result<Vec<Question>> {
    let template = &settings.data.options.prompt_template;
    let of = |&index: &usize| {
        let question = data.records.get(index).map(|record| Question::of(record, template, tokenizer))?;
        Some(question.map(|question| Question { record: Some(index), ..question }))
    };
    let questions: Vec<Question> = asked.iter().filter_map(of).collect::<Result<_>>()?;
    let fits = |question: &Question| question.fits(settings.answers.max_new_tokens, positions);
    let fitting: Vec<Question> = questions.into_iter().filter(fits).collect();
    let count = count.min(fitting.len());
    Ok((0..count).map(|number| fitting[number * fitting.len() / count].clone()).collect())
}

/// `shown` of the questions of the records `asked` as [`held_out`] picks them, and behind them as many more as make `scored` in all,
/// picked in the same way among the others.
///
/// # Errors
/// The tokenizer fails.
pub fn shown_and_scored(
    settings: &Settings,
    data: &Dataset,
    asked: &[usize],
    tokenizer: &Tokenizer,
    positions: usize,
    (shown, scored): (usize, usize),
) -> Result<(Vec<Question>, Vec<Question>)> {
    let shown = held_out(settings, data, asked, tokenizer, positions, shown)?;
    let mut others = held_out(settings, data, asked, tokenizer, positions, usize::MAX)?;
    others.retain(|question| shown.iter().all(|one| one.record != question.record));
    let count = scored.saturating_sub(shown.len()).min(others.len());
    let more = (0..count).map(|number| others[number * others.len() / count].clone()).collect();
    Ok((shown, more))
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

/// What a score is called, and how it is read from an answer's scores.
pub(crate) type NamedScore = (&'static str, fn(&AnswerScore) -> f64);

/// The scores that two models are paired by.
pub(crate) const SCORES: [NamedScore; 3] =
    [("token F1", |score| score.token_f1), ("ROUGE-L", |score| score.rouge_l), ("chrF", |score| score.chrf)];

/// How close each answer is to the expected one, of the questions that have one: the record, and the scores.
pub fn each_score(questions: &[Question], answers: &[Answer]) -> Vec<(Option<usize>, AnswerScore)> {
    let scored = questions.iter().zip(answers).filter_map(|(question, answer)| {
        Some((question.record, AnswerScore::of(&answer.text, question.reference.as_deref()?)))
    });
    scored.collect()
}

/// How close each model's answers are to the expected ones, how long, and whether they end.
pub fn scores(questions: &[Question], models: &[(&str, &[Answer])]) -> Vec<AnswerScores> {
    let measure = |&(model, answers): &(&str, &[Answer])| {
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
        Some(AnswerScores {
            model: found.model,
            questions: found.questions,
            token_f1: found.token_f1,
            standard_error: found.standard_error,
            exact_match: found.exact_match,
            mean_tokens: found.mean_tokens,
            ended: found.ended,
            rouge_l: found.rouge_l,
            chrf: found.chrf,
            repeating: found.repeating,
            distinct_2: found.distinct_2,
        })
    };
    models.iter().filter_map(measure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Answer {
        Answer { text: text.into(), tokens: 4, stopped: true }
    }

    #[test]
    fn an_answer_is_kept_as_it_is_and_scored() {
        let question = Question {
            text: "Why?".into(),
            reference: Some("b".into()),
            record: Some(4),
            prompt: vec![1, 2, 3],
        };
        assert!(question.fits(5, 8) && !question.fits(6, 8));
        let questions = [question];
        let (base, tuned) = ([answer("a\n\nb")], [answer("c")]);
        let rows = rows(&questions, &base, &tuned);
        assert_eq!(rows[0].base, "a\n\nb");
        let found = scores(&questions, &[("Base Model", &base), ("LoRA Model", &tuned)]);
        assert_eq!((found[0].token_f1, found[1].token_f1), (Some(1.0), Some(0.0)));
        let each = each_score(&questions, &base);
        assert_eq!((each.len(), each[0].0, each[0].1.token_f1), (1, Some(4), 1.0));
    }
}
