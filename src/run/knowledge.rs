//! What a run finds out about its models' knowledge: whether they tell the answers of held-out questions from others,
//! before and after the training.
//!
//! The others are answers to the nearest questions of the whole data, most of which were learned from: among the few that
//! were held out, hardly any would be of the same topic, and the question's own words would give the true answer away.

use gptneo_datasets::{Example, Record};
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_training::measure::{Discrimination, DiscriminationTask};

use super::opening::Run;
use crate::Result;

/// As many questions are asked at most: two points of a percent are the standard error then, and a large data set's
/// held-out part would take longer than its training's evaluation.
const MOST_QUESTIONS: usize = 500;

/// Held-out questions, each with its answer among others.
pub(crate) struct KnowledgeTest {
    task: DiscriminationTask,
}

impl KnowledgeTest {
    /// The test of a run that measures on `measured`, with as many other answers as the settings ask for, or as there
    /// are; none where the settings ask for none, of plain text, and where there is nothing to tell apart.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn of(run: &Run, measured: &[Example]) -> Result<Option<Self>> {
        let records: Vec<&Record> = run.data.records.iter().collect();
        let held_out: Vec<usize> = measured.iter().map(|example| example.record).collect();
        let count = held_out.len().min(MOST_QUESTIONS);
        let asked: Vec<usize> = (0..count).map(|at| held_out[at * held_out.len() / count]).collect();
        if records.is_empty() || asked.is_empty() {
            return Ok(None);
        }
        let (template, tokenizer) = (&run.settings.data.options.prompt_template, run.base.tokenizer());
        let others = run.settings.answers.discriminate;
        let task = DiscriminationTask::up_to(&records, &asked, template, tokenizer, run.max_length, others)?;
        Ok(task.map(|task| Self { task }))
    }

    /// How many other answers stand beside each true one.
    pub(crate) fn others(&self) -> usize {
        self.task.others()
    }

    /// Asks a model.
    ///
    /// # Errors
    /// A loss is not finite.
    pub(crate) fn measure<B: NeoBackend>(
        &self,
        model: &GptNeo<B>,
        batch_size: usize,
        on_batch: impl FnMut(usize, usize),
    ) -> Result<Discrimination> {
        Ok(self.task.measure(model, batch_size, on_batch)?)
    }
}
