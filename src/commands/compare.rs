//! `compare`: the same questions to a base model and to its tuned form.

use std::path::Path;

use anyhow::Result;
use gptneo_datasets::{PromptTemplate, Tokenizer, read_records};
use gptneo_model::NeoBackend;
use gptneo_model::generate::GenerationConfig;
use gptneo_training::report::{GenerationRow, write_generation};
use serde::Serialize;

use crate::answers::{self, Question};
use crate::backend::{Job, dispatch};
use crate::cli::CompareArgs;
use crate::failure::Misuse;
use crate::loading::{load, read_config, read_tokenizer};
use crate::output;
use crate::settings::{DataSettings, Flags, Origin, Settings};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    comparisons: &'a [GenerationRow],
}

/// Runs the command.
pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    check_output(args.output.as_deref())?;
    let settings = Settings::resolve(Origin::Defaults, Flags::default().with("data", &args.data)?)?.data;
    let config = read_config(&args.model)?;
    let tokenizer = read_tokenizer(&args.model, &config)?;
    if let Some(tuned) = &args.tuned {
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
    let job = Compare { args, questions: &questions, tokenizer: &tokenizer, config };
    let rows = dispatch(args.backend.backend.unwrap_or_default(), job)?;
    if let Some(output) = &args.output {
        write_generation(output, &rows)?;
    }
    match args.json {
        true => output::json(&Report { comparisons: &rows }),
        false => output::piece(&answers::render(&rows)),
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
    let records = read_records(settings.file()?, &settings.columns(), template)?;
    let different = records.iter().filter(|record| seen.insert(record.input.as_str()));
    different.take(args.limit).map(|record| Question::of(record, template, tokenizer)).collect()
}

struct Compare<'a> {
    args: &'a CompareArgs,
    questions: &'a [Question],
    tokenizer: &'a Tokenizer,
    config: GenerationConfig,
}

impl Job for Compare<'_> {
    type Output = Vec<GenerationRow>;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output> {
        let Self { args, questions, tokenizer, config } = self;
        let ask = |folder, adapter| {
            let model = load::<B>(folder, adapter, &device)?;
            answers::answers(&model, questions, tokenizer, &config)
        };
        let base = ask(&args.model, None)?;
        let tuned = ask(args.tuned.as_ref().unwrap_or(&args.model), args.adapter.as_deref())?;
        Ok(answers::rows(questions, base, tuned))
    }
}
