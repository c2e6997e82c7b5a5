//! A model examined: loss and perplexity on texts, multiple choice, answers told from others, and its own answers; and
//! two models on the same rows.

mod paired;

use std::path::{Path, PathBuf};

use gptneo_datasets::{
    ChoiceQuestion, DataOptions, Encoded, EncodedChoices, PromptTemplate, Reading, Record, encode_choices,
    encode_files, read_data,
};
use gptneo_model::generate::GenerationConfig;
use gptneo_model::{GptNeo, NeoBackend, WeightFormat};
use gptneo_report::AnswerScores;
use gptneo_training::measure::{
    AnswerScore, Bytes, ChoiceScores, Discrimination, DiscriminationTask, Evaluation, RecordLoss,
    evaluate_records, score_choices,
};

pub use self::paired::{Paired, PairedLoss};
use super::answers::{self, Question};
use super::model_folder::ModelFolder;
use crate::backend::{Job, Load, Place, Work, dispatch, smaller_batches};
use crate::{Error, Remedy, Result};

/// Which model is examined.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// What its answers are called, such as "Base Model".
    pub name: &'a str,
    /// The model.
    pub model: &'a ModelFolder,
    /// The folder of an adapter over it.
    pub adapter: Option<&'a Path>,
    /// The format that the weights are kept in.
    pub weights: WeightFormat,
    /// Texts in a batch; the result does not depend on it beyond rounding.
    pub batch_size: usize,
}

/// What an exam is made of. A part that is not asked for is left out.
#[derive(Clone, Copy, Default)]
pub struct Syllabus<'a> {
    /// The files of texts, which the protocols score; none where there is nothing to score.
    pub texts: &'a [PathBuf],
    /// Multiple-choice questions.
    pub choices: &'a [ChoiceQuestion],
    /// How many answers to other questions stand beside the one of each record.
    pub discriminate: Others,
    /// How many of the records' questions the model is to answer itself.
    pub questions: usize,
    /// The longest answer in tokens.
    pub max_new_tokens: usize,
    /// Only the first so many records of the texts; answers to choose among may be those of the others.
    pub limit: Option<usize>,
}

/// How many answers to other questions stand beside the one of each record; 0 for no such question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// So many, or the exam is refused.
    Exactly(usize),
    /// So many, or as many as there are; with nothing to tell apart, no question.
    UpTo(usize),
}

impl Others {
    fn most(self) -> usize {
        match self {
            Self::Exactly(count) | Self::UpTo(count) => count,
        }
    }
}

impl Default for Others {
    fn default() -> Self {
        Self::Exactly(0)
    }
}

/// An exam as models with one tokenizer are set it.
pub struct Exam {
    texts: Option<Encoded>,
    reading: Option<Reading>,
    choices: Vec<EncodedChoices>,
    discrimination: Option<DiscriminationTask>,
    questions: Vec<Question>,
    generation: GenerationConfig,
    max_length: usize,
}

/// What came of an exam, part by part.
pub struct Examined {
    /// The three protocols, in nats and in bits per byte.
    pub protocols: Option<Evaluation>,
    /// What each text lost under `response`.
    pub losses: Vec<RecordLoss>,
    /// Multiple choice.
    pub choices: Option<ChoiceScores>,
    /// Answers told from others.
    pub discrimination: Option<Discrimination>,
    /// The model's own answers.
    pub answers: Option<AnswerScores>,
    /// The scores of each of them.
    pub answer_scores: Vec<AnswerScore>,
}

impl Exam {
    /// Reads and encodes an exam for models with the tokenizer and the positions of `model`.
    ///
    /// # Errors
    /// A file that cannot be read or used, texts without questions where questions are asked for, or too few records to
    /// choose among.
    pub fn of(syllabus: Syllabus<'_>, options: &DataOptions, model: &ModelFolder) -> Result<Self> {
        let (tokenizer, positions) = (model.tokenizer(), model.config().max_position_embeddings);
        let max_length = options.max_length();
        let template = &options.prompt_template;
        let (texts, reading) = match syllabus.texts {
            [] => (None, None),
            files => {
                let (texts, reading) = encode_files(files, options, tokenizer, syllabus.limit)?;
                (Some(texts), Some(reading))
            }
        };
        let records = records(syllabus, options)?;
        let limit = syllabus.limit.unwrap_or(usize::MAX).min(records.len());
        let (all, asked): (Vec<&Record>, Vec<usize>) = (records.iter().collect(), (0..limit).collect());
        let discrimination = match syllabus.discriminate {
            Others::Exactly(0) => None,
            Others::Exactly(count) => {
                Some(DiscriminationTask::new(&all, &asked, template, tokenizer, max_length, count)?)
            }
            Others::UpTo(count) => {
                DiscriminationTask::up_to(&all, &asked, template, tokenizer, max_length, count)?
            }
        };
        let generation = GenerationConfig {
            max_new_tokens: syllabus.max_new_tokens,
            sampling: Default::default(),
            end_tokens: model.end_tokens_of_tuned(),
        };
        Ok(Self {
            texts,
            reading,
            choices: encode_choices(syllabus.choices, template, tokenizer, positions)?,
            discrimination,
            questions: questions(&records[..limit], template, model, syllabus)?,
            generation,
            max_length,
        })
    }

    /// The encoded texts, where there are any.
    pub fn texts(&self) -> Option<&Encoded> {
        self.texts.as_ref()
    }

    /// How the files of the texts were read, where there are any.
    pub fn reading(&self) -> Option<&Reading> {
        self.reading.as_ref()
    }

    /// Sets a model the exam; `on_batch` hears how many of how many batches of a part are done.
    ///
    /// # Errors
    /// The device lacks room, a file does not fit, or a loss is not finite.
    pub fn set(
        &self,
        place: Place,
        candidate: Candidate<'_>,
        on_batch: &mut (dyn FnMut(usize, usize) + Send),
    ) -> Result<Examined> {
        let Candidate { model, weights, batch_size, .. } = candidate;
        place.check_weights(weights)?;
        let texts = self.texts.iter().flat_map(|texts| &texts.examples);
        let (count, tokens) = texts.fold((0, 0), |(n, all), text| (n + 1, all + text.ids.len()));
        let rows = batch_size.min(count.max(1));
        place.check_room_for(weights, model.config(), rows, self.max_length)?;
        // The largest batch has at least the mean's tokens.
        place.check_memory(&Load {
            model: model.config(),
            weights,
            work: Work::Answering,
            positions: tokens as f64 / count.max(1).div_ceil(rows.max(1)) as f64,
            smaller: smaller_batches(),
        })?;
        dispatch(place, Sit { exam: self, candidate, on_batch })
    }

    fn sat<B: NeoBackend>(
        &self,
        model: &GptNeo<B>,
        candidate: Candidate<'_>,
        on_batch: &mut dyn FnMut(usize, usize),
    ) -> Result<Examined> {
        let (tokenizer, batch_size) = (candidate.model.tokenizer(), candidate.batch_size);
        let (mut protocols, mut losses) = (None, Vec::new());
        if let Some(texts) = &self.texts {
            let end_of_text = tokenizer.end_of_text();
            let (found, each) = evaluate_records::<B>(
                model,
                &texts.examples,
                end_of_text,
                self.max_length,
                batch_size,
                &mut *on_batch,
            )?;
            let bytes = Bytes::of(&texts.examples, tokenizer, self.max_length)?;
            (protocols, losses) = (Some(found.in_bytes(bytes)), each);
        }
        let choices = match self.choices.as_slice() {
            [] => None,
            questions => Some(score_choices(model, questions, batch_size, &mut *on_batch)?),
        };
        let discrimination = self.discrimination.as_ref();
        let discrimination =
            discrimination.map(|task| task.measure(model, batch_size, &mut *on_batch)).transpose()?;
        let (mut answers, mut answer_scores) = (None, Vec::new());
        if !self.questions.is_empty() {
            let found = answers::answers(model, &self.questions, tokenizer, &self.generation, on_batch)?;
            answer_scores =
                answers::each_score(&self.questions, &found).into_iter().map(|(_, score)| score).collect();
            answers = answers::scores(&self.questions, &[(candidate.name, &found)]).pop();
        }
        Ok(Examined { protocols, losses, choices, discrimination, answers, answer_scores })
    }
}

struct Sit<'a> {
    exam: &'a Exam,
    candidate: Candidate<'a>,
    on_batch: &'a mut (dyn FnMut(usize, usize) + Send),
}

impl Job for Sit<'_> {
    type Output = Examined;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Examined> {
        let Candidate { model, adapter, weights, .. } = self.candidate;
        let model = model.load_adapted::<B>(adapter, weights, &device)?;
        self.exam.sat(&model, self.candidate, self.on_batch)
    }
}

/// All records, of which the first are asked; none where none are.
fn records(syllabus: Syllabus<'_>, options: &DataOptions) -> Result<Vec<Record>> {
    if syllabus.discriminate.most() == 0 && syllabus.questions == 0 {
        return Ok(Vec::new());
    }
    let Some(first) = syllabus.texts.first() else {
        return Err(Error::settings(
            "questions are to be asked, but there are no data to take them from",
            Remedy::Give("data.path"),
        ));
    };
    let data = read_data(syllabus.texts, options)?;
    if !data.documents.is_empty() {
        return Err(Error::settings(
            format!("{} is plain text, which has no questions to ask", first.display()),
            Remedy::say("give records with questions and answers, or ask none"),
        ));
    }
    Ok(data.records)
}

/// As many questions as are to be answered, evenly from the records that leave room for an answer.
fn questions(
    records: &[Record],
    template: &PromptTemplate,
    model: &ModelFolder,
    Syllabus { questions: count, max_new_tokens, .. }: Syllabus<'_>,
) -> Result<Vec<Question>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let positions = model.config().max_position_embeddings;
    let all: Vec<Question> = records
        .iter()
        .map(|record| Question::of(record, template, model.tokenizer()))
        .collect::<Result<_>>()?;
    let fitting: Vec<&Question> =
        all.iter().filter(|question| question.fits(max_new_tokens, positions)).collect();
    if fitting.is_empty() {
        return Err(Error::settings(
            format!(
                "no question leaves room for an answer of {max_new_tokens} tokens in {positions} positions"
            ),
            Remedy::Lower("answers.max_new_tokens"),
        ));
    }
    let count = count.min(fitting.len());
    Ok((0..count).map(|number| fitting[number * fitting.len() / count].clone()).collect())
}
