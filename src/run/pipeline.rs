//! The recipe, one step after the other: measure the base, train, measure again, merge with proof, compare answers, and
//! write down what came of it.

use std::path::PathBuf;

use burn::module::AutodiffModule;
use gptneo_datasets::Turns;
use gptneo_model::generate::GenerationConfig;
use gptneo_model::{GptNeo, NeoBackend, WeightFormat};
use gptneo_report::{
    Chart, Findings, HeldOutRow, ScoreRow, measure_rows, write_answer_scores, write_generation,
    write_held_out, write_measures, write_perplexities, write_scores,
};
use gptneo_training::TuningKind;
use gptneo_training::measure::{
    Bytes, Discrimination, Evaluation, PairedDifference, RecordLoss, evaluate_records,
};

use super::answers::{self, Answer, Question};
use super::export::{self, About, Export, Output, SampleText, check_exportable};
use super::facts;
use super::knowledge::KnowledgeTest;
use super::merge::{IntoFolder, Merge};
use super::model_folder::ModelFolder;
use super::opening::Run;
use super::progress::{Event, Measured, Observer, Told};
use super::start::{FineTuned, Started, check_answers};
use crate::backend::{Job, dispatch, is_gpu};
use crate::{Error, Remedy, Result};

/// What a whole run found.
pub struct Outcome {
    /// The measurements and answers.
    pub findings: Findings,
    /// The folders of the adapter and of the plain model.
    pub weights: Vec<PathBuf>,
}

impl Run {
    /// The whole way: everything ends up in the run's folder.
    ///
    /// # Errors
    /// No record is left to measure on, a device that lacks room, an interrupt ([`Error::Interrupted`]), or what a step
    /// says.
    pub fn complete(self, observer: impl Observer + 'static) -> Result<Outcome> {
        self.completed(Told::new(observer))
    }

    /// The training alone, with its page.
    ///
    /// # Errors
    /// As [`Run::complete`], but for the records to measure on.
    pub fn train(self, observer: impl Observer + 'static) -> Result<()> {
        self.trained(Told::new(observer))
    }

    // Below, nothing depends on who listens: the backends' code is compiled here, not in the program.

    fn completed(self, observer: Told) -> Result<Outcome> {
        if self.data.measured_records().is_empty() {
            return Err(Error::settings(
                format!(
                    "a run measures on records that it does not learn from, but none is left for that \
                     (validation_fraction is {})",
                    self.settings.data.options.validation_fraction
                ),
                Remedy::Either(vec![
                    Remedy::Raise("data.validation_fraction"),
                    Remedy::Give("data.test_data"),
                    Remedy::say("train alone"),
                ]),
            ));
        }
        let run = &self.settings.run;
        if let Some(format) = run.export {
            check_exportable(&self.base, format, run.max_positions)?;
        }
        // The protocol `notebook` pads to the full length.
        self.check_room(self.max_length)?;
        self.warn(&observer);
        observer.tell(Event::Data(&self.data_report()));
        dispatch(self.settings.run.place(), Whole(self, observer))
    }

    fn trained(self, observer: Told) -> Result<()> {
        self.check_room(self.longest())?;
        self.warn(&observer);
        dispatch(self.settings.run.place(), Training(self, observer))
    }

    fn warn(&self, observer: &Told) {
        self.warnings.iter().for_each(|problem| observer.tell(Event::Warning(problem)));
    }
}

struct Training(Run, Told);

impl Job for Training {
    type Output = ();

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<()> {
        let started = self.0.start::<B>(device, self.1)?;
        let tuned = started.train()?;
        started.report(&tuned, None)
    }
}

struct Whole(Run, Told);

impl Job for Whole {
    type Output = Outcome;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Outcome> {
        check_answers(&self.0.data.measured(), self.0.max_length)?;
        let started = self.0.start::<B>(device, self.1)?;
        let base = started.base.valid();
        let (measured, before) = started.measure(&base, Measured::Base)?;
        let test = KnowledgeTest::of(&started.run, &started.measured)?;
        let known =
            |model: &GptNeo<B>, which| test.as_ref().map(|test| started.ask(test, model, which)).transpose();
        let known_before = known(&base, Measured::Base)?;
        let mut perplexities = facts::perplexities("Base Model", &measured);
        started.first_answer(&base)?;
        let tuned = started.train()?;
        let mut weights = vec![tuned.weights.clone()];
        let lora = started.run.settings.model.tuning == TuningKind::Lora;
        let name = if lora { "LoRA Model" } else { "Tuned Model" };
        let (measured, after) = started.measure(&tuned.model, Measured::Tuned)?;
        perplexities.extend(facts::perplexities(name, &measured));
        let known_after = known(&tuned.model, Measured::Tuned)?;
        if lora {
            let merged = started.merge(&tuned)?;
            // From the files, so that what was written is what was measured.
            let model = merged.load_adapted::<B>(None, WeightFormat::F32, &started.device)?;
            let (measured, _) = started.measure(&model, Measured::Merged)?;
            perplexities.extend(facts::perplexities("Merged Model", &measured));
            weights.push(merged.path().to_path_buf());
        }
        let Compared { questions, shown, base, tuned: answers } = started.compare(&base, &tuned.model)?;
        let (before_scores, after_scores) =
            (answers::each_score(&questions, &base), answers::each_score(&questions, &answers));
        let discriminated = known_before.as_ref().zip(known_after.as_ref());
        let others = test.as_ref().map_or(0, KnowledgeTest::others);
        let parameters = started.manifest.counts.total_parameters;
        let findings = Findings {
            perplexities,
            gain: PairedDifference::of(&before, &after).map(facts::gain),
            answers: answers::rows(&questions[..shown], &base, &answers),
            expected: questions[..shown].iter().filter_map(|question| question.reference.clone()).collect(),
            discrimination: discriminated
                .map(|(before, after)| facts::discrimination((others, parameters), before, (name, after))),
            scores: answers::scores(&questions, &[("Base Model", &base), (name, &answers)]),
            changes: facts::changes(&before_scores, &after_scores),
        };
        let scores = facts::score_rows(discriminated, &before_scores, &after_scores);
        started.write(&tuned, &findings, &held_out_rows(&before, &after), &scores)?;
        // Last: the run is whole without it.
        weights.extend(started.export()?);
        Ok(Outcome { findings, weights })
    }
}

impl<B: NeoBackend> Started<B> {
    /// The three protocols, and what each held-out example lost under `response`.
    fn measure(&self, model: &GptNeo<B>, measured: Measured) -> Result<(Evaluation, Vec<RecordLoss>)> {
        let run = &self.run;
        let tell = |done, total| self.observer.tell(Event::Measuring { model: measured, done, total });
        tell(0, 0);
        let tokenizer = run.base.tokenizer();
        let (evaluation, losses) = evaluate_records::<B>(
            model,
            &self.measured,
            tokenizer.end_of_text(),
            run.max_length,
            run.settings.training.batch_size,
            tell,
        )?;
        let bytes = Bytes::of(&self.measured, tokenizer, run.max_length)?;
        Ok((evaluation.in_bytes(bytes), losses))
    }

    /// Whether a model tells true answers from others.
    fn ask(&self, test: &KnowledgeTest, model: &GptNeo<B>, measured: Measured) -> Result<Discrimination> {
        let tell = |done, total| self.observer.tell(Event::Measuring { model: measured, done, total });
        tell(0, 0);
        test.measure(model, self.run.settings.training.batch_size, tell)
    }

    /// Tells what the base answers to the first of the questions that are asked while it learns.
    fn first_answer(&self, base: &GptNeo<B>) -> Result<()> {
        let Some(mut asked) = self.samples()? else { return Ok(()) };
        asked.questions.truncate(1);
        let no_steps = 0;
        asked.ask(base, no_steps)?.iter().for_each(|row| self.observer.tell(Event::Sample(row)));
        Ok(())
    }

    /// Merges into the run's folder, with the proof.
    fn merge(&self, tuned: &FineTuned<B>) -> Result<ModelFolder> {
        let Run { settings, folder, base, .. } = &self.run;
        let output = folder.merged();
        let merge = Merge {
            base,
            base_name: settings.model.folder()?,
            adapter: &tuned.weights,
            format: settings.run.save_format(),
            backend: settings.run.place().on_processor().kind,
        };
        // GPUs may multiply in TF32, and what a merge writes is to be exact.
        let report = match is_gpu::<B>(&self.device) {
            true => dispatch(settings.run.place().on_processor(), IntoFolder { merge, folder: &output })?,
            false if settings.run.base_weights == WeightFormat::F32 => {
                merge.write(tuned.model.clone(), None, &output)?
            }
            // The adapter goes into the base as it was published.
            false => {
                let adapter = Some(tuned.weights.as_path());
                let adapted = base.load_adapted::<B>(adapter, WeightFormat::F32, &self.device)?;
                merge.write(adapted, Some(&tuned.model), &output)?
            }
        };
        self.observer.tell(Event::Merged(&report));
        ModelFolder::open(output)
    }

    /// Writes the plain model for other engines, where the settings ask for it, and says where.
    fn export(&self) -> Result<Option<PathBuf>> {
        let Run { settings, folder, .. } = &self.run;
        let Some(format) = settings.run.export else { return Ok(None) };
        let place = settings.run.place().on_processor();
        let (merged, output) = (folder.merged(), folder.export());
        let export = Export {
            model: &ModelFolder::open(merged.clone())?,
            adapter: None,
            format,
            gguf_type: settings.run.gguf_type,
            max_positions: settings.run.max_positions,
            template: &settings.data.options.prompt_template,
            turns: Turns::of(&self.run.data.records),
            text: &SampleText::new("the held-out examples", self.measured.iter()),
            about: &About::of(&merged, None),
            output: Output::Folder(&output),
            backend: place.kind,
        };
        let report = export::export(place, export)?;
        self.observer.tell(Event::Exported(&report));
        Ok(Some(output))
    }

    /// Asks both models held-out questions; none for plain text.
    fn compare(&self, base: &GptNeo<B>, tuned: &GptNeo<B>) -> Result<Compared> {
        let Run { settings, data, base: folder, .. } = &self.run;
        let (tokenizer, wanted) = (folder.tokenizer(), &settings.answers);
        let positions = folder.config().max_position_embeddings;
        let counts = (wanted.questions, wanted.scored_questions);
        let asked = data.measured_records();
        let (mut questions, more) =
            answers::shown_and_scored(settings, data, asked, tokenizer, positions, counts)?;
        let shown = questions.len();
        questions.extend(more);
        if questions.is_empty() {
            self.observer.tell(Event::NoQuestions);
            return Ok(Compared { questions, shown, base: Vec::new(), tuned: Vec::new() });
        }
        let config = GenerationConfig {
            max_new_tokens: wanted.max_new_tokens,
            sampling: wanted.sampling(),
            end_tokens: folder.end_tokens_of_tuned(),
        };
        let answers = |model: &GptNeo<B>| {
            let mut tell = |done, total| self.observer.tell(Event::Answering { done, total });
            tell(0, questions.len());
            answers::answers(model, &questions, tokenizer, &config, &mut tell)
        };
        let (base, tuned) = (answers(base)?, answers(tuned)?);
        Ok(Compared { questions, shown, base, tuned })
    }

    /// Writes tables, charts, card and page.
    fn write(
        &self,
        tuned: &FineTuned<B>,
        findings: &Findings,
        held_out: &[HeldOutRow],
        scores: &[ScoreRow],
    ) -> Result<()> {
        let folder = &self.run.folder;
        write_perplexities(folder.performance_table(), &findings.perplexities)?;
        Chart::perplexities(&findings.perplexities)?.write_png(folder.perplexity_chart())?;
        write_held_out(folder.held_out_table(), held_out)?;
        if !findings.answers.is_empty() {
            write_generation(folder.answers_table(), &findings.answers)?;
        }
        if !findings.scores.is_empty() {
            write_answer_scores(folder.answer_metrics_table(), &findings.scores)?;
        }
        let measures = measure_rows(findings.discrimination.as_ref(), &findings.scores);
        write_measures(folder.knowledge_table(), &measures)?;
        write_scores(folder.held_out_scores_table(), scores)?;
        if let Some(found) = &findings.discrimination {
            Chart::discrimination(found)?.write_png(folder.knowledge_chart())?;
        }
        let facts = facts::run(&self.manifest, tuned.state.step, tuned.model_step);
        facts::card(&self.run.settings, &self.manifest, &facts, findings).write(folder.card())?;
        self.report(tuned, Some(findings))
    }
}

/// Both models' losses, a row an example; records count from 1.
fn held_out_rows(before: &[RecordLoss], after: &[RecordLoss]) -> Vec<HeldOutRow> {
    let rows = before.iter().zip(after);
    rows.map(|(base, tuned)| HeldOutRow {
        record: base.record + 1,
        tokens: base.tokens,
        base: base.loss,
        tuned: tuned.loss,
    })
    .collect()
}

/// Both models' answers to the same questions.
struct Compared {
    questions: Vec<Question>,
    /// How many of them, from the first on, are shown; all are scored.
    shown: usize,
    base: Vec<Answer>,
    tuned: Vec<Answer>,
}
