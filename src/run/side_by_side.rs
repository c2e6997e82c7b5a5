//! The same questions to a base model and to its tuned form.

use std::path::Path;

use gptneo_model::generate::GenerationConfig;
use gptneo_model::{NeoBackend, WeightFormat};
use gptneo_report::{AnswerScores, GenerationRow};
use serde::{Serialize, Serializer};

use super::answers::{self, Question};
use super::model_folder::ModelFolder;
use crate::backend::{Job, Place, dispatch};
use crate::{Error, Remedy, Result};

/// What both models answered.
#[derive(Clone, Debug, Serialize)]
pub struct SideBySide {
    /// Question by question.
    pub comparisons: Vec<GenerationRow>,
    /// Model by model, in numbers.
    #[serde(serialize_with = "by_model")]
    pub metrics: Vec<AnswerScores>,
}

/// The scores under the models' names, in their order.
fn by_model<S: Serializer>(metrics: &[AnswerScores], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|scores| (&scores.model, scores)))
}

/// What makes the tuned form.
#[derive(Clone, Copy)]
pub enum Tuned<'a> {
    /// An adapter's folder, over the base.
    Adapter(&'a Path),
    /// A model of its own.
    Model(&'a ModelFolder),
}

/// Who is asked what.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The base model.
    pub base: &'a ModelFolder,
    /// Its tuned form.
    pub tuned: Tuned<'a>,
    /// The questions.
    pub questions: &'a [Question],
    /// How far and how each answer goes.
    pub config: &'a GenerationConfig,
}

impl Tuned<'_> {
    /// Refuses a model that was not tuned from `base`, as far as its shape tells.
    ///
    /// # Errors
    /// Its vocabulary is another.
    pub fn check(&self, base: &ModelFolder) -> Result<()> {
        let Self::Model(tuned) = self else { return Ok(()) };
        let [found, expected] = [tuned, base].map(|folder| folder.config().vocab_size);
        if found == expected {
            return Ok(());
        }
        Err(Error::settings(
            format!(
                "{} has a vocabulary of {found} tokens and the base one of {expected}",
                tuned.path().display()
            ),
            Remedy::say("give a model tuned from this base"),
        ))
    }
}

/// Asks both; `on_answers` hears how many of how many questions each has answered.
///
/// # Errors
/// The device lacks room, a file does not fit, or a question leaves no room for an answer.
pub fn ask(
    place: Place,
    ask: Ask<'_>,
    on_answers: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<SideBySide> {
    ask.config.sampling.validate()?;
    ask.tuned.check(ask.base)?;
    place.check_room(ask.base.config(), 0, 0)?;
    dispatch(place, AskBoth { ask, on_answers })
}

struct AskBoth<'a> {
    ask: Ask<'a>,
    on_answers: &'a mut (dyn FnMut(usize, usize) + Send),
}

impl Job for AskBoth<'_> {
    type Output = SideBySide;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<SideBySide> {
        let Ask { base, tuned, questions, config } = self.ask;
        let mut answer = |folder: &ModelFolder, adapter| {
            // One model at a time is in memory.
            let model = folder.load_adapted::<B>(adapter, WeightFormat::F32, &device)?;
            answers::answers(&model, questions, base.tokenizer(), config, self.on_answers)
        };
        let before = answer(base, None)?;
        let (after, name) = match tuned {
            Tuned::Adapter(adapter) => (answer(base, Some(adapter))?, "LoRA Model"),
            Tuned::Model(tuned) => (answer(tuned, None)?, "Tuned Model"),
        };
        Ok(SideBySide {
            comparisons: answers::rows(questions, &before, &after),
            metrics: answers::scores(questions, &[("Base Model", &before), (name, &after)]),
        })
    }
}
