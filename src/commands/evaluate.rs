//! `evaluate`: a model examined on a data file and in exams; two models on the same rows.

pub(crate) mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use gptneo_datasets::{ReadChoices, read_choices};
use gptneo_lora::run::ModelFolder;
use gptneo_lora::run::evaluate::{Candidate, Exam, Examined, Others, Paired, Syllabus};
use gptneo_lora::settings::{Layer, Origin, Settings};
use gptneo_model::adapter::adapter_files;

use self::report::{Against, Report};
use crate::cli::EvaluateArgs;
use crate::hub;
use crate::terminal::failure::Misuse;
use crate::terminal::{Progress, output};

/// The base of a comparison, and the model that is compared with it.
const NAMES: [&str; 2] = ["Model", "Other Model"];

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let layer = Layer::default()
        .with("model", &args.model)?
        .with("data", &args.data)?
        .with("data", &args.lengths)?
        .with("training", &args.batch)?
        .with("run", &args.backend)?;
    let mut settings = Settings::resolve(Origin::file(args.file.config.as_deref()), layer)?;
    let (place, weights) = (settings.run.place(), args.weights.weights);
    // Before anything is downloaded.
    place.check()?;
    place.check_weights(weights)?;
    if args.per_item && args.choices.is_none() {
        return Err(Misuse::error("--per-item lists the questions of an exam: give one with --choices"));
    }
    let name = match (&settings.data.path, &args.choices) {
        (None, Some(_)) if args.discriminate == 0 && args.questions == 0 => None,
        _ => Some(settings.data.file()?.to_path_buf()),
    };
    let exam = args.choices.as_deref().map(hub::data).transpose()?.unwrap_or_default();
    let ReadChoices { questions: mut choices, mut skipped, reasons } =
        read_choices(exam.to_measure(), &settings.data.options)?;
    super::warn_of_skipped(&reasons);
    choices.truncate(args.limit.unwrap_or(usize::MAX));
    let model = super::open_model(hub::model(settings.model.folder()?)?)?;
    let adapter = settings.model.adapter.clone();
    super::read_as_tuned(&mut settings.data.options, &args.data, &model, adapter.as_deref())?;
    let other = args.against.as_deref().map(|against| Other::find(against, &model)).transpose()?;
    // Both are examined on the same rows: they fit the one with fewer positions.
    let shorter = match other.as_ref().and_then(|other| other.model.as_ref()) {
        Some(other) if positions(other) < positions(&model) => other,
        _ => &model,
    };
    let max_length = settings.data.resolve_length(Some(positions(shorter)))?;
    // A data set with splits is measured on what it has for that.
    let files = name.as_deref().map(hub::data).transpose()?.unwrap_or_default();
    let exam = Exam::of(
        Syllabus {
            texts: files.to_measure(),
            choices: &choices,
            discriminate: Others::Exactly(args.discriminate),
            questions: args.questions,
            max_new_tokens: args.max_new_tokens,
            limit: args.limit,
        },
        &settings.data_options(),
        shorter,
    )?;

    if let Some(reading) = exam.reading() {
        super::warn_of_skipped(&reading.reasons);
        skipped += reading.skipped;
    }

    let started = Instant::now();
    let batch_size = settings.training.batch_size;
    let sit = |name, model: &ModelFolder, adapter: Option<&Path>| -> Result<Examined> {
        let mut progress = None;
        let candidate = Candidate { name, model, adapter, weights, batch_size };
        Ok(exam.set(place, candidate, &mut |done, total| {
            progress.get_or_insert_with(|| Progress::new("evaluating")).update(done, total);
            if done == total {
                progress = None;
            }
        })?)
    };
    let found = sit(NAMES[0], &model, adapter.as_deref())?;
    let against = match &other {
        None => None,
        Some(other) => {
            let theirs = sit(NAMES[1], other.model.as_ref().unwrap_or(&model), other.adapter.as_deref())?;
            let paired = Paired::of(&theirs, &found);
            Some(Against { name: args.against.clone().unwrap_or_default(), found: theirs.into(), paired })
        }
    };
    let items =
        args.per_item.then(|| found.choices.iter().flat_map(|choices| choices.items.clone()).collect());
    let report = Report {
        found: found.into(),
        items,
        against,
        model: settings.model.folder()?.to_path_buf(),
        adapter,
        data: name,
        examples: exam.texts().map(|texts| texts.examples.len()),
        max_seq_length: max_length,
        truncation: exam.texts().map(|texts| texts.truncation),
        skipped,
        backend: settings.run.backend.resolved().name(),
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.json { output::json(&report) } else { output::line(report.render().trim_end()) }
}

fn positions(model: &ModelFolder) -> usize {
    model.config().max_position_embeddings
}

/// The model that `--against` names: an adapter's folder stands for that adapter over the same base.
struct Other {
    model: Option<ModelFolder>,
    adapter: Option<PathBuf>,
}

impl Other {
    fn find(name: &Path, base: &ModelFolder) -> Result<Self> {
        if adapter_files(name).iter().all(|file| file.is_file()) {
            return Ok(Self { model: None, adapter: Some(name.to_path_buf()) });
        }
        let model = ModelFolder::open(hub::model(name)?)?;
        let same = |text: &str| -> Result<bool> {
            Ok(model.tokenizer().encode(text)? == base.tokenizer().encode(text)?)
        };
        // Rows are paired by their tokens.
        let alike = model.tokenizer().vocab_size() == base.tokenizer().vocab_size();
        if !alike
            || !same("Instruction: Answer this question truthfully\nQuestion: What is angina?\nResponse: 9")?
        {
            return Err(Misuse::error(format!(
                "{} has another tokenizer than {}, so that rows cannot be paired: evaluate each alone and compare bits \
                 per byte",
                name.display(),
                base.path().display()
            )));
        }
        Ok(Self { model: Some(model), adapter: None })
    }
}
