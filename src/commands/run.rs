//! `run`: the whole way from a base model and records to a measured, merged and compared model, in one folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::module::AutodiffModule;
use gptneo_datasets::DataReport;
use gptneo_model::checkpoint::load_model;
use gptneo_model::generate::GenerationConfig;
use gptneo_model::{GptNeo, NeoBackend, SamplingConfig};
use gptneo_training::evaluate::{Evaluation, evaluate};
use gptneo_training::report::{
    GenerationRow, PerformanceRow, perplexity_chart, write_generation, write_performance,
};

use crate::answers::{self, Question};
use crate::backend::{Job, dispatch};
use crate::cli::{RunArgs, TrainArgs};
use crate::commands::merge::Merge;
use crate::failure::Misuse;
use crate::fine_tuning::{FineTuning, Request, Started};
use crate::model_card::ModelCard;
use crate::presets::Preset;
use crate::progress::Progress;
use crate::settings::{Flags, Origin, Tuning};
use crate::{output, performance};

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
    let (folder, seed) = (plan.folder.path().to_path_buf(), plan.settings.training.seed);
    let (data, batch_size) = (&plan.data, plan.settings.training.batch_size);
    let report = DataReport::new(&data.encoded, &data.split, data.duplicates.clone(), batch_size, seed);
    output::line(report.render().trim_end())?;
    let Outcome { performance, answers, weights } = dispatch(plan.settings.run.backend, Pipeline(plan))?;
    output::line(format_args!("\n{}", answers::render(&answers).trim_end()))?;
    output::line(format_args!("\n{}{}", performance::render(&performance), performance::NOTE))?;
    let weights: Vec<String> = weights.iter().map(|path| path.display().to_string()).collect();
    output::line(format_args!("\neverything is in {}; weights: {}", folder.display(), weights.join(", ")))
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
    performance: Vec<PerformanceRow>,
    answers: Vec<GenerationRow>,
    /// The folders of the adapter and of the plain model.
    weights: Vec<PathBuf>,
}

struct Pipeline(FineTuning);

impl Job for Pipeline {
    type Output = Outcome;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Outcome> {
        let started = self.0.start::<B>(device)?;
        let base = started.base.valid();
        let mut performance =
            performance::rows("Base Model", &measure(&started, &base, "measuring the base")?);
        let tuned = started.train()?;
        let mut weights = vec![tuned.result.clone()];
        let lora = started.plan.settings.model.tuning == Tuning::Lora;
        let name = if lora { "LoRA Model" } else { "Tuned Model" };
        let measured = measure(&started, &tuned.model, "measuring the tuned model")?;
        performance.extend(performance::rows(name, &measured));
        if lora {
            let merged = merge(&started, tuned.model.clone(), &tuned.result)?;
            // From the files, so that what was written is what was measured.
            let model = load_model::<B>(&merged, &started.device)?;
            let measured = measure(&started, &model, "measuring the merged model")?;
            performance.extend(performance::rows("Merged Model", &measured));
            weights.push(merged);
        }
        let answers = compare(&started, &base, &tuned.model)?;

        let file = |name: &str| started.plan.folder.path().join(name);
        write_performance(file("model_performance_comparison.csv"), &performance)?;
        perplexity_chart(file("perplexity_chart.png"), &performance)?;
        if !answers.is_empty() {
            write_generation(file("generation_comparison.csv"), &answers)?;
        }
        let card = ModelCard {
            settings: &started.plan.settings,
            manifest: &started.manifest,
            steps: tuned.state.step,
            model_step: tuned.model_step,
            performance: &performance,
            answers: &answers,
        };
        card.write(&file("README.md"))?;
        Ok(Outcome { performance, answers, weights })
    }
}

/// The three protocols on the held-out examples.
fn measure<B: NeoBackend>(started: &Started<B>, model: &GptNeo<B>, what: &'static str) -> Result<Evaluation> {
    let plan = &started.plan;
    let mut progress = Progress::new(what);
    Ok(evaluate::<B>(
        model,
        &started.validation,
        plan.tokenizer.end_of_text(),
        plan.max_length,
        plan.settings.training.batch_size,
        |done, total| progress.update(done, total),
    )?)
}

/// Merges into the run's folder, with the proof.
fn merge<B: NeoBackend>(started: &Started<B>, adapted: GptNeo<B>, adapter: &Path) -> Result<PathBuf> {
    let plan = &started.plan;
    let output = plan.folder.path().join("merged");
    let merge = Merge {
        base: plan.settings.model.folder()?,
        adapter,
        output: &output,
        dtype: plan.settings.run.dtype,
        max_shard_size: plan.settings.run.max_shard_size,
        backend: plan.settings.run.backend,
        tokenizer: &plan.tokenizer,
    };
    eprintln!("{}", merge.write(adapted)?);
    Ok(output)
}

/// Both models' answers to held-out questions, taken evenly from the file; none for plain text.
fn compare<B: NeoBackend>(
    started: &Started<B>,
    base: &GptNeo<B>,
    tuned: &GptNeo<B>,
) -> Result<Vec<GenerationRow>> {
    let FineTuning { settings, data, tokenizer, .. } = &started.plan;
    let (template, wanted) = (&settings.data.prompt_template, &settings.answers);
    let positions = base.config().max_position_embeddings;
    let records = data.split.validation.iter().filter_map(|&index| data.records.get(index));
    let questions: Vec<Question> =
        records.map(|record| Question::of(record, template, tokenizer)).collect::<Result<_>>()?;
    let fitting: Vec<Question> =
        questions.into_iter().filter(|question| question.fits(wanted.max_new_tokens, positions)).collect();
    let count = wanted.questions.min(fitting.len());
    if count == 0 {
        eprintln!("no answers are compared: there is no held-out question with room for an answer");
        return Ok(Vec::new());
    }
    let chosen: Vec<Question> =
        (0..count).map(|number| fitting[number * fitting.len() / count].clone()).collect();
    let config = GenerationConfig {
        max_new_tokens: wanted.max_new_tokens,
        sampling: SamplingConfig::default(),
        end_of_text: Some(tokenizer.end_of_text()),
    };
    let base = answers::answers(base, &chosen, tokenizer, &config)?;
    let tuned = answers::answers(tuned, &chosen, tokenizer, &config)?;
    Ok(answers::rows(&chosen, base, tuned))
}
