//! `evaluate`: loss and perplexity of a model on a data file, by three protocols.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use gptneo_datasets::{Encoded, Tokenizer, Truncation, encode_file};
use gptneo_model::{NeoBackend, WeightFormat};
use gptneo_training::measure::{Evaluation, Score, evaluate};
use serde::Serialize;

use crate::backend::{Job, dispatch};
use crate::cli::EvaluateArgs;
use crate::hub;
use crate::loading::{load_for, read_config, read_tokenizer};
use crate::output;
use crate::progress::Progress;
use crate::settings::{Flags, Origin, Settings};

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
    let flags = Flags::default()
        .with("model", &args.model)?
        .with("data", &args.data)?
        .with("data", &args.lengths)?
        .with("training", &args.batch)?
        .with("run", &args.backend)?;
    let mut settings = Settings::resolve(Origin::file(args.file.config.as_deref()), flags)?;
    let weights = args.weights.weights.into();
    let place = settings.run.place();
    place.check()?;
    place.check_weights(weights)?;
    let name = settings.data.file()?.to_path_buf();
    let folder = hub::model(settings.model.folder()?)?;
    let config = read_config(&folder)?;
    let tokenizer = read_tokenizer(&folder, &config)?;
    let max_length = settings.data.resolve_length(Some(config.max_position_embeddings))?;
    place.check_room_for(weights, &config, settings.training.batch_size, max_length)?;
    let encoded = encode_file(&hub::data(&name)?, &settings.data.options, &tokenizer, args.limit)?;

    let started = Instant::now();
    let job = Evaluate {
        settings: &settings,
        folder: &folder,
        tokenizer: &tokenizer,
        encoded: &encoded,
        max_length,
        weights,
    };
    let protocols = dispatch(place, job)?;
    let report = Report {
        protocols,
        model: settings.model.folder()?.to_path_buf(),
        adapter: settings.model.adapter.clone(),
        data: name,
        examples: encoded.examples.len(),
        max_seq_length: max_length,
        truncation: encoded.truncation,
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

struct Evaluate<'a> {
    settings: &'a Settings,
    folder: &'a Path,
    tokenizer: &'a Tokenizer,
    encoded: &'a Encoded,
    max_length: usize,
    weights: WeightFormat,
}

impl Job for Evaluate<'_> {
    type Output = Evaluation;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Evaluation> {
        let settings = self.settings;
        let adapter = settings.model.adapter.as_deref();
        let model = load_for::<B>(self.weights, self.folder, adapter, &device)?;
        let mut progress = Progress::new("evaluating");
        Ok(evaluate::<B>(
            &model,
            &self.encoded.examples,
            self.tokenizer.end_of_text(),
            self.max_length,
            settings.training.batch_size,
            |done, total| progress.update(done, total),
        )?)
    }
}
