//! What lets one see a run: what it will take, before it starts; what the model is asked while it learns; and the page
//! that tells of it at the end.

use anyhow::Result;
use gptneo_model::NeoBackend;
use gptneo_report::{Findings, Page};
use gptneo_training::metrics::read_metrics;
use gptneo_training::plan::Plan;
use gptneo_training::samples::{SamplePlan, SampleQuestion, read_samples};

use super::{FineTuned, FineTuning, Started};
use crate::preflight::{Planned, Preflight};
use crate::{answers, facts, notes};

impl<B: NeoBackend> Started<B> {
    /// Tells what the run will take and warns of what may not fit. A run that goes on is past that.
    ///
    /// # Errors
    /// A step without a supervised token, or a device that fails.
    pub(crate) fn preflight(&self) -> Result<()> {
        if self.plan.resume {
            return Ok(());
        }
        let FineTuning { settings, folder, tokenizer, data, .. } = &self.plan;
        let plan = Plan::new(self.training.clone(), &settings.training, tokenizer.end_of_text())?;
        let counts = &self.manifest.counts;
        let found = Preflight::measure(&Planned {
            settings,
            model: &self.model,
            tuning: &self.tuning,
            plan: &plan,
            truncation: &data.encoded.truncation,
            parameters: (counts.trainable_parameters, counts.total_parameters),
            folder: folder.path(),
            device: &self.device,
        })?;
        notes::say(found.render().trim_end());
        found.warnings.iter().for_each(|warning| notes::say(format_args!("warning: {warning}")));
        Ok(())
    }

    /// What the model is asked while it learns, if anything.
    pub(super) fn samples(&self) -> Result<Option<SamplePlan>> {
        let FineTuning { settings, data, tokenizer, .. } = &self.plan;
        let (positions, count) = (self.base.config().max_position_embeddings, settings.answers.samples);
        let questions = answers::held_out(settings, data, tokenizer, positions, count)?.into_iter();
        let questions: Vec<SampleQuestion> = questions
            .map(|question| SampleQuestion { text: question.text, prompt: question.prompt })
            .collect();
        Ok((!questions.is_empty()).then(|| SamplePlan {
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
        let metrics = read_metrics(folder.join("metrics.jsonl"))?;
        let samples = folder.join("samples.jsonl");
        let samples = if samples.exists() { read_samples(samples)? } else { Vec::new() };
        let page = Page {
            title: facts::title(&self.plan.settings),
            run: &facts::run(&self.manifest, tuned.state.step, tuned.model_step),
            losses: facts::losses(&metrics),
            steps: facts::steps(&metrics),
            samples: facts::samples(samples),
            data: facts::data(&self.plan.data_report()),
            settings: self.plan.settings.to_toml()?,
            manifest: serde_json::to_string_pretty(&self.manifest)?,
            findings,
        };
        Ok(page.write(folder.join(facts::PAGE))?)
    }
}
