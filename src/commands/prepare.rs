//! `prepare`: what the model will see of a data file, before anything is trained.

use std::path::Path;

use anyhow::Result;
use gptneo_datasets::{DataReport, Tokenizer, mark_supervised};
use serde::Serialize;

use crate::cli::PrepareArgs;
use crate::data::Data;
use crate::failure::Misuse;
use crate::loading::{read_config, read_tokenizer};
use crate::output;
use crate::settings::{Flags, Origin, Settings};

/// What `--json` prints.
#[derive(Serialize)]
struct Prepared<'a> {
    #[serde(flatten)]
    report: &'a DataReport,
    example: Shown,
}

/// One example, for the eye.
#[derive(Serialize)]
struct Shown {
    /// The record, from 0.
    record: usize,
    ids: Vec<u32>,
    /// The first and the end of the supervised positions.
    supervised: [usize; 2],
    /// The text, its supervised tokens between marks.
    marked: String,
}

/// Runs the command.
pub(crate) fn run(args: &PrepareArgs) -> Result<()> {
    let flags = Flags::default().with("data", &args.data)?.with("training", &args.training)?;
    let mut settings = Settings::resolve(Origin::file(args.file.config.as_deref()), flags)?;
    let model = args.model.as_deref().or(settings.model.path.as_deref());
    let (tokenizer, positions) = match (args.tokenizer.as_deref(), model) {
        (Some(folder), _) => (Tokenizer::from_folder(folder)?, None),
        (None, Some(folder)) => from_model(folder)?,
        (None, None) => {
            return Err(Misuse::error("a tokenizer is missing: give --model DIR or --tokenizer DIR"));
        }
    };
    let max_length = settings.data.resolve_length(positions)?;
    let seed = settings.training.seed;
    let data = Data::load(&settings.data, &tokenizer, max_length, seed)?;
    let shown = show_one(&data, &tokenizer)?;
    let report =
        DataReport::new(&data.encoded, &data.split, data.duplicates, settings.training.batch_size, seed);
    if args.json {
        return output::json(&Prepared { report: &report, example: shown });
    }
    output::line(report.render().trim_end())?;
    output::line(format_args!(
        "\nExample: record {} (from 0), {} tokens, the supervised ones between ⟦ and ⟧\n\n{}",
        shown.record,
        shown.ids.len(),
        shown.marked
    ))
}

fn from_model(folder: &Path) -> Result<(Tokenizer, Option<usize>)> {
    let config = read_config(folder)?;
    Ok((read_tokenizer(folder, &config)?, Some(config.max_position_embeddings)))
}

/// The first training example that has something to learn, else the first of all.
fn show_one(data: &Data, tokenizer: &Tokenizer) -> Result<Shown> {
    let examples = &data.encoded.examples;
    let learns = |example: &&gptneo_datasets::Example| {
        !example.targets().is_empty() && data.split.train.binary_search(&example.record).is_ok()
    };
    let Some(example) = examples.iter().find(learns).or(examples.first()) else {
        anyhow::bail!("no example is left of the data");
    };
    Ok(Shown {
        record: example.record,
        ids: example.ids.clone(),
        supervised: [example.targets().start, example.targets().end],
        marked: mark_supervised(example, tokenizer)?,
    })
}
