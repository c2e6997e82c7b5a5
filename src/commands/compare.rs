//! `compare`: the same questions to a base model and to its tuned form; or two runs, in `compare_runs`.

use std::path::Path;

use anyhow::Result;
use gptneo_datasets::{PromptTemplate, Tokenizer, read_records};
use gptneo_model::NeoBackend;
use gptneo_model::generate::GenerationConfig;
use gptneo_report::{AnswerScores, GenerationRow, write_generation};
use serde::Serialize;

use crate::answers::{self, Question};
use crate::backend::{Job, dispatch};
use crate::cli::CompareArgs;
use crate::commands::compare_runs;
use crate::failure::Misuse;
use crate::hub;
use crate::loading::{load, read_config, read_tokenizer};
use crate::settings::{DataSettings, Flags, Origin, Settings};
use crate::{output, tables};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    comparisons: Vec<GenerationRow>,
    metrics: Vec<AnswerScores>,
}

/// Runs the command.
pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    if let [first, second] = &args.runs[..] {
        return compare_runs::run(first, second, args.json);
    }
    let Some(base) = args.model.as_deref() else {
        return Err(Misuse::error("--model is missing: give it, or the folders of two runs"));
    };
    check_output(args.output.as_deref())?;
    let place = args.backend.place();
    place.check()?;
    let settings = Settings::resolve(Origin::Defaults, Flags::default().with("data", &args.data)?)?.data;
    let base = hub::model(base)?;
    let config = read_config(&base)?;
    let tokenizer = read_tokenizer(&base, &config)?;
    place.check_room(&config, 0, 0)?;
    let tuned = args.tuned.as_deref().map(hub::model).transpose()?;
    if let Some(tuned) = &tuned {
        let found = read_config(tuned)?.vocab_size;
        if found != config.vocab_size {
            return Err(Misuse::error(format!(
                "{} has a vocabulary of {found} tokens and the base one of {}: give a model tuned from this base",
                tuned.display(),
                config.vocab_size
            )));
        }
    }
    let questions = questions(args, &settings, &tokenizer)?;
    let mut config = GenerationConfig::from(&args.generation);
    config.end_of_text = Some(tokenizer.end_of_text());
    config.sampling.validate()?;
    let tuned = tuned.as_deref().unwrap_or(&base);
    let job = Compare {
        base: &base,
        tuned,
        adapter: args.adapter.as_deref(),
        questions: &questions,
        tokenizer: &tokenizer,
        config,
    };
    let report = dispatch(place, job)?;
    if let Some(output) = &args.output {
        write_generation(output, &report.comparisons)?;
    }
    match args.json {
        true => output::json(&report),
        false => output::line(format_args!(
            "{}\n{}",
            tables::answers(&report.comparisons),
            tables::scores(&report.metrics).trim_end()
        )),
    }
}

/// Refuses before the work what could not be written after it.
fn check_output(output: Option<&Path>) -> Result<()> {
    let Some(output) = output else { return Ok(()) };
    if output.exists() {
        return Err(Misuse::error(format!("{} exists already: give a new file", output.display())));
    }
    let parent = output.parent().filter(|parent| *parent != Path::new(""));
    match parent {
        Some(parent) if !parent.is_dir() => Err(Misuse::error(format!(
            "{} cannot be written: there is no folder {}",
            output.display(),
            parent.display()
        ))),
        _ => Ok(()),
    }
}

/// The questions given, or the first different ones of the data.
fn questions(args: &CompareArgs, settings: &DataSettings, tokenizer: &Tokenizer) -> Result<Vec<Question>> {
    let template: &PromptTemplate = &settings.prompt_template;
    if settings.path.is_none() {
        return args.question.iter().map(|text| Question::new(text, template, tokenizer)).collect();
    }
    let mut seen = std::collections::HashSet::new();
    let file = hub::data(settings.file()?)?;
    let records = read_records(&file, &settings.columns(), template)?;
    let different = records.iter().filter(|record| seen.insert(record.input.as_str()));
    different.take(args.limit).map(|record| Question::of(record, template, tokenizer)).collect()
}

struct Compare<'a> {
    base: &'a Path,
    /// The base's own folder where an adapter makes the difference.
    tuned: &'a Path,
    adapter: Option<&'a Path>,
    questions: &'a [Question],
    tokenizer: &'a Tokenizer,
    config: GenerationConfig,
}

impl Job for Compare<'_> {
    type Output = Report;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        let Self { base, tuned, adapter, questions, tokenizer, config } = self;
        let ask = |folder, adapter| {
            let model = load::<B>(folder, adapter, &device)?;
            answers::answers(&model, questions, tokenizer, &config)
        };
        let base = ask(base, None)?;
        let tuned = ask(tuned, adapter)?;
        let name = if adapter.is_some() { "LoRA Model" } else { "Tuned Model" };
        Ok(Report {
            comparisons: answers::rows(questions, &base, &tuned),
            metrics: answers::scores(questions, [("Base Model", &base), (name, &tuned)]),
        })
    }
}
