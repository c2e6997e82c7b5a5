//! What a run finds out about its models' knowledge: whether they tell the answers of held-out questions from others,
//! before and after the training.

use gptneo_datasets::{Example, Record};
use gptneo_model::{GptNeo, NeoBackend};
use gptneo_training::TrainingError;
use gptneo_training::measure::{Discrimination, DiscriminationTask};

use super::opening::Run;
use crate::error::Result;

/// As many questions are asked at most: two points of a percent are the standard error then, and a large data set's
/// held-out part would take longer than its training's evaluation.
const MOST_QUESTIONS: usize = 500;

/// Held-out questions, each with its answer among others.
pub(crate) struct KnowledgeTest {
    task: DiscriminationTask,
    /// The index in the data of each of the task's records.
    pub(crate) records: Vec<usize>,
    /// How many other answers stand beside each true one.
    pub(crate) others: usize,
}

impl KnowledgeTest {
    /// The test of a run that measures on `measured`, with as many other answers as the settings ask for, or as there
    /// are; none where the settings ask for none, of plain text, and where there is nothing to tell apart.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(crate) fn of(run: &Run, measured: &[Example]) -> Result<Option<Self>> {
        let held_out: Vec<usize> = measured.iter().map(|example| example.record).collect();
        let count = held_out.len().min(MOST_QUESTIONS);
        let records: Vec<usize> = (0..count).map(|at| held_out[at * held_out.len() / count]).collect();
        let texts: Vec<&Record> = records.iter().filter_map(|&index| run.data.records.get(index)).collect();
        if texts.len() != records.len() || texts.is_empty() {
            return Ok(None);
        }
        let template = &run.settings.data.options.prompt_template;
        for others in (1..=run.settings.answers.discriminate).rev() {
            let made =
                DiscriminationTask::new(&texts, template, run.base.tokenizer(), run.max_length, others);
            match made {
                Ok(task) => return Ok(Some(Self { task, records, others })),
                // There are not so many answers: fewer may do.
                Err(TrainingError::Setting { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
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
