//! `evaluate`: loss and perplexity of a model on a data file, by three protocols.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use gptneo_datasets::{Truncation, encode_files};
use gptneo_lora::run::evaluate::{Evaluate, evaluate};
use gptneo_lora::settings::{Layer, Origin, Settings};
use gptneo_training::measure::{Evaluation, Score};
use serde::Serialize;

use crate::cli::EvaluateArgs;
use crate::hub;
use crate::terminal::{Progress, output};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    protocols: Evaluation,
    model: PathBuf,
    adapter: Option<PathBuf>,
    data: PathBuf,
    /// Records, or blocks of plain text, that were scored.
    examples: usize,
    max_seq_length: usize,
    truncation: Truncation,
    backend: &'static str,
    seconds: f64,
}

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
    let name = settings.data.file()?.to_path_buf();
    let model = super::open_model(hub::model(settings.model.folder()?)?)?;
    let max_length = settings.data.resolve_length(Some(model.config().max_position_embeddings))?;
    // A data set with splits is measured on what it has for that.
    let files = hub::data(&name)?;
    let texts = encode_files(files.to_measure(), &settings.data_options(), model.tokenizer(), args.limit)?;

    let started = Instant::now();
    let adapter = settings.model.adapter.as_deref();
    let batch_size = settings.training.batch_size;
    let what = Evaluate { model: &model, adapter, weights, texts: &texts, max_length, batch_size };
    let mut progress = Progress::new("evaluating");
    let protocols = evaluate(place, what, &mut |done, total| progress.update(done, total))?;
    drop(progress);
    let report = Report {
        protocols,
        model: settings.model.folder()?.to_path_buf(),
        adapter: settings.model.adapter.clone(),
        data: name,
        examples: texts.examples.len(),
        max_seq_length: max_length,
        truncation: texts.truncation,
        backend: settings.run.backend.resolved().name(),
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.json { output::json(&report) } else { print_table(&report) }
}

fn print_table(report: &Report) -> Result<()> {
    let Evaluation { notebook, text, response, .. } = &report.protocols;
    output::line(format_args!("{:<10} {:>10} {:>12} {:>10}", "protocol", "loss", "perplexity", "tokens"))?;
    for (name, score) in [("notebook", notebook), ("text", text), ("response", response)] {
        let Score { loss, perplexity, tokens, standard_error, .. } = score;
        let error = standard_error.map(|error| format!("  (loss ± {error:.4})")).unwrap_or_default();
        output::line(format_args!("{name:<10} {loss:>10.4} {perplexity:>12.4} {tokens:>10}{error}"))?;
    }
    output::line(format_args!(
        "{} examples of at most {} tokens in {:.1} s; {} were longer. notebook also scores the padding: compare text \
         and response",
        report.examples, report.max_seq_length, report.seconds, report.truncation.over_long
    ))
}
