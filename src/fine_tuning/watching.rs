//! What lets one see a run: what it will take, before it starts; what the model is asked while it learns; and the page
//! that tells of it at the end.

use anyhow::Result;
use gptneo_model::NeoBackend;
use gptneo_training::BatchOrder;
use gptneo_training::metrics::read_metrics;
use gptneo_training::samples::{SampleQuestion, SampleQuestions, read_samples};

use super::{FineTuned, FineTuning, Started};
use crate::preflight::{Planned, Preflight};
use crate::report_page::{self, Findings, Page};
use crate::{answers, notes};

impl<B: NeoBackend> Started<B> {
    /// Tells what the run will take and warns of what may not fit. A run that goes on is past that.
    ///
    /// # Errors
    /// A step without a supervised token, or a device that fails.
    pub(crate) fn preflight(&self) -> Result<()> {
        if self.plan.resume {
            return Ok(());
        }
        let FineTuning { settings, folder, data, .. } = &self.plan;
        let plan = BatchOrder::new(self.training.clone(), &settings.training)?;
        let counts = &self.manifest.counts;
        let found = Preflight::measure(&Planned {
            settings,
            model: &self.model,
            tuning: &self.tuning,
            plan: &plan,
            truncation: &data.truncation,
            parameters: (counts.trainable_parameters, counts.total_parameters),
            folder: folder.path(),
        })?;
        notes::say(found.render().trim_end());
        found.warnings.iter().for_each(|warning| notes::say(format_args!("warning: {warning}")));
        Ok(())
    }

    /// What the model is asked while it learns, if anything.
    pub(super) fn samples(&self) -> Result<Option<SampleQuestions>> {
        let FineTuning { settings, data, tokenizer, .. } = &self.plan;
        let (positions, count) = (self.base.config().max_position_embeddings, settings.answers.samples);
        let questions = answers::held_out(settings, data, tokenizer, positions, count)?.into_iter();
        let questions: Vec<SampleQuestion> = questions
            .map(|question| SampleQuestion { text: question.text, prompt: question.prompt })
            .collect();
        Ok((!questions.is_empty()).then(|| SampleQuestions {
            questions,
            max_new_tokens: settings.answers.max_new_tokens,
            tokenizer: tokenizer.clone(),
        }))
    }

    /// Writes `report.html`.
    ///
    /// # Errors
    /// The run's logs cannot be read, or the page cannot be written.
    pub(crate) fn report(&self, tuned: &FineTuned<B>, findings: Option<&Findings>) -> Result<()> {
        let folder = self.plan.folder.path();
        let samples = folder.join("samples.jsonl");
        Page {
            settings: &self.plan.settings,
            manifest: &self.manifest,
            data: &self.plan.data_report(),
            steps: tuned.state.step,
            model_step: tuned.model_step,
            metrics: &read_metrics(folder.join("metrics.jsonl"))?,
            samples: &if samples.exists() { read_samples(samples)? } else { Vec::new() },
            findings,
        }
        .write(&folder.join(report_page::FILE))
    }
}
