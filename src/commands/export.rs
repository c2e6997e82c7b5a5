//! `export`: a model for other engines, as the GPT-2 that it is, with the proof that it computes the same.

use anyhow::Result;
use gptneo_datasets::{DataOptions, encode_files};
use gptneo_lora::run::ModelFolder;
use gptneo_lora::run::export::{About, Export, Output, SampleText, check_exportable, export, refuse_taken};

use gptneo_model::export::ExportFormat;

use crate::cli::ExportArgs;
use crate::hub;
use crate::terminal::failure::Misuse;
use crate::terminal::output;

/// Texts of a data file that are read; their first tokens are measured.
const TEXTS: usize = 1000;

/// Runs the command.
pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    let ExportArgs { model: name, adapter, format, how, output: path, modelfile, .. } = args;
    if *format == ExportFormat::Gpt2 && (*modelfile || how.gguf_type.is_some()) {
        return Err(Misuse::error("--gguf-type and --modelfile are for --format gguf: leave them out"));
    }
    // Before anything is downloaded.
    refuse_taken(*format, path, *modelfile)?;
    // GPUs may multiply in TF32, and what is proven is to be exact.
    let place = args.backend.place().on_processor();
    place.check()?;
    let model = ModelFolder::open(hub::model(name)?)?;
    check_exportable(&model, *format, how.max_positions)?;
    let template = super::prompt_template(args.prompt_template.as_ref(), &model, adapter.as_deref())?;
    let text = match &args.data {
        None => SampleText::embedded(model.tokenizer(), &template)?,
        Some(data) => {
            let positions = model.config().max_position_embeddings;
            let options = DataOptions {
                prompt_template: template.clone(),
                max_seq_length: Some(positions),
                ..DataOptions::default()
            };
            let (texts, _) =
                encode_files(hub::data(data)?.to_measure(), &options, model.tokenizer(), Some(TEXTS))?;
            SampleText::of_file(data.display().to_string(), &texts)
        }
    };
    let about = About::of(name, adapter.as_deref()).named(args.name.clone()).licensed(args.license.clone());
    let what = Export {
        model: &model,
        adapter: adapter.as_deref(),
        format: *format,
        gguf_type: how.gguf_type.unwrap_or_default(),
        max_positions: how.max_positions,
        template: &template,
        turns: model.turns(adapter.as_deref(), &template),
        text: &text,
        about: &about,
        output: Output::Alone { path, modelfile: *modelfile },
        backend: place.kind,
    };
    let report = export(place, what)?;
    match args.json {
        true => output::json(&report),
        false => output::line(format_args!("{report}\nwritten to {}", path.display())),
    }
}
