//! `run`: the whole way from a base model and records to a measured, merged and compared model, in one folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::module::AutodiffModule;
use gptneo_model::generate::GenerationConfig;
use gptneo_model::{GptNeo, NeoBackend, SamplingConfig};
use gptneo_training::evaluate::{Evaluation, RecordLoss, evaluate_records};
use gptneo_training::paired::PairedDifference;
use gptneo_training::report::{
    HeldOutRow, perplexity_chart, write_answer_metrics, write_generation, write_held_out, write_performance,
};

use crate::answers::{self, Answer, Question};
use crate::backend::{Job, dispatch, is_gpu};
use crate::cli::{RunArgs, TrainArgs};
use crate::commands::compare_runs::HELD_OUT;
use crate::commands::merge::{FromFiles, Merge};
use crate::failure::Misuse;
use crate::fine_tuning::{FineTuning, Request, Started};
use crate::model_card::ModelCard;
use crate::presets::Preset;
use crate::progress::Progress;
use crate::report_page::{self, Findings};
use crate::settings::{Flags, Origin, Tuning};
use crate::{loading, notes, output, performance};

/// Runs the command.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    if let Some(preset) = args.print_preset {
        return output::piece(preset.text());
    }
    if args.train.resume && args.preset.is_some() {
        return Err(Misuse::error("--resume goes on with the run's own settings: leave --preset out"));
    }
    let preset = chosen_preset(args);
    let plan = FineTuning::open(Request {
        command: "run",
        args: &args.train,
        flags: Flags::default().with("answers", &args.answers)?,
        origin: preset.map_or(Origin::file(args.train.file.config.as_deref()), Origin::Preset),
        default_output: Some(free_folder(preset.map_or("run", Preset::name))),
    })?;
    if plan.data.split.validation.is_empty() {
        return Err(Misuse::error(format!(
            "a run measures on records that it does not learn from, but none is left for that: raise \
             validation_fraction (now {}), or use train",
            plan.settings.data.validation_fraction
        )));
    }
    // The protocol `notebook` pads to the full length.
    plan.check_room(plan.max_length)?;
    let folder = plan.folder.path().to_path_buf();
    if !notes::are_quiet() {
        output::line(plan.data_report().render().trim_end())?;
    }
    let Outcome { findings, weights } = dispatch(plan.settings.run.place(), Pipeline(plan))?;
    if !findings.answers.is_empty() {
        output::line(format_args!("\n{}", answers::render(&findings.answers).trim_end()))?;
        output::line(format_args!("\n{}", answers::render_metrics(&findings.metrics).trim_end()))?;
    }
    output::line(format_args!("\n{}{}", performance::render(&findings.performance), performance::NOTE))?;
    let weights: Vec<String> = weights.iter().map(|path| path.display().to_string()).collect();
    let page = folder.join(report_page::FILE);
    output::line(format_args!(
        "\neverything is in {}; weights: {}; to read: {}",
        folder.display(),
        weights.join(", "),
        page.display()
    ))
}

/// The preset that settings start from: the one named, or the quick run where no settings, model or data are named.
fn chosen_preset(args: &RunArgs) -> Option<Preset> {
    let TrainArgs { file, model, data, resume, .. } = &args.train;
    let named = file.config.is_some() || model.model.is_some() || data.read.data.is_some() || *resume;
    args.preset.or((!named).then_some(Preset::Quick))
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3` ... that does not exist.
fn free_folder(name: &str) -> PathBuf {
    let folder = Path::new("runs");
    let mut free = folder.join(name);
    let mut number = 2;
    while free.exists() {
        free = folder.join(format!("{name}-{number}"));
        number += 1;
    }
    free
}

/// What a run found.
struct Outcome {
    findings: Findings,
    /// The folders of the adapter and of the plain model.
    weights: Vec<PathBuf>,
}

struct Pipeline(FineTuning);

impl Job for Pipeline {
    type Output = Outcome;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Outcome> {
        let started = self.0.start::<B>(device)?;
        started.preflight()?;
        let base = started.base.valid();
        let (measured, before) = measure(&started, &base, "measuring the base")?;
        let mut performance = performance::rows("Base Model", &measured);
        let tuned = started.train()?;
        let mut weights = vec![tuned.result.clone()];
        let lora = started.plan.settings.model.tuning == Tuning::Lora;
        let name = if lora { "LoRA Model" } else { "Tuned Model" };
        let (measured, after) = measure(&started, &tuned.model, "measuring the tuned model")?;
        performance.extend(performance::rows(name, &measured));
        if lora {
            let merged = merge(&started, tuned.model.clone(), &tuned.result)?;
            // From the files, so that what was written is what was measured.
            let model = loading::load::<B>(&merged, None, &started.device)?;
            let (measured, _) = measure(&started, &model, "measuring the merged model")?;
            performance.extend(performance::rows("Merged Model", &measured));
            weights.push(merged);
        }
        let Compared { questions, base, tuned: answers } = compare(&started, &base, &tuned.model)?;
        let findings = Findings {
            performance,
            gain: PairedDifference::of(&before, &after),
            answers: answers::rows(&questions, &base, &answers),
            expected: questions.iter().filter_map(|question| question.reference.clone()).collect(),
            metrics: answers::metrics(&questions, [("Base Model", &base), (name, &answers)]),
        };

        let file = |name: &str| started.plan.folder.path().join(name);
        write_performance(file("model_performance_comparison.csv"), &findings.performance)?;
        perplexity_chart(file("perplexity_chart.png"), &findings.performance)?;
        write_held_out(file(HELD_OUT), &held_out_rows(&before, &after))?;
        if !findings.answers.is_empty() {
            write_generation(file("generation_comparison.csv"), &findings.answers)?;
            write_answer_metrics(file("answer_metrics.csv"), &findings.metrics)?;
        }
        let card = ModelCard {
            settings: &started.plan.settings,
            manifest: &started.manifest,
            steps: tuned.state.step,
            model_step: tuned.model_step,
            performance: &findings.performance,
            answers: &findings.answers,
        };
        card.write(&file("README.md"))?;
        started.report(&tuned, Some(&findings))?;
        Ok(Outcome { findings, weights })
    }
}

/// The three protocols, and what each held-out example lost under `response`.
fn measure<B: NeoBackend>(
    started: &Started<B>,
    model: &GptNeo<B>,
    what: &'static str,
) -> Result<(Evaluation, Vec<RecordLoss>)> {
    let plan = &started.plan;
    let mut progress = Progress::new(what);
    Ok(evaluate_records::<B>(
        model,
        &started.validation,
        plan.tokenizer.end_of_text(),
        plan.max_length,
        plan.settings.training.batch_size,
        |done, total| progress.update(done, total),
    )?)
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

/// Merges into the run's folder, with the proof.
fn merge<B: NeoBackend>(started: &Started<B>, adapted: GptNeo<B>, adapter: &Path) -> Result<PathBuf> {
    let plan = &started.plan;
    let output = plan.folder.path().join("merged");
    let merge = Merge {
        base: &plan.base.path,
        base_name: plan.settings.model.folder()?,
        adapter,
        output: &output,
        dtype: plan.settings.run.dtype,
        max_shard_size: plan.settings.run.max_shard_size,
        backend: plan.settings.run.place().on_processor().kind,
        tokenizer: &plan.tokenizer,
    };
    // GPUs may multiply in TF32, and what a merge writes is to be exact.
    let report = match is_gpu::<B>(&started.device) {
        true => dispatch(plan.settings.run.place().on_processor(), FromFiles(merge))?,
        false => merge.write(adapted)?,
    };
    notes::say(report);
    Ok(output)
}

/// Both models' answers to the same questions.
struct Compared {
    questions: Vec<Question>,
    base: Vec<Answer>,
    tuned: Vec<Answer>,
}

/// Asks both models held-out questions; none for plain text.
fn compare<B: NeoBackend>(started: &Started<B>, base: &GptNeo<B>, tuned: &GptNeo<B>) -> Result<Compared> {
    let FineTuning { settings, data, tokenizer, .. } = &started.plan;
    let wanted = &settings.answers;
    let positions = base.config().max_position_embeddings;
    let questions = answers::held_out(settings, data, tokenizer, positions, wanted.questions)?;
    if questions.is_empty() {
        notes::say("no answers are compared: there is no held-out question with room for an answer");
        return Ok(Compared { questions, base: Vec::new(), tuned: Vec::new() });
    }
    let config = GenerationConfig {
        max_new_tokens: wanted.max_new_tokens,
        sampling: SamplingConfig::default(),
        end_of_text: Some(tokenizer.end_of_text()),
    };
    let base = answers::answers(base, &questions, tokenizer, &config)?;
    let tuned = answers::answers(tuned, &questions, tokenizer, &config)?;
    Ok(Compared { questions, base, tuned })
}
