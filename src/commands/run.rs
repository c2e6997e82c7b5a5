//! `run`: the whole way from a base model and records to a measured, merged and compared model, in one folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use gptneo_files::recover;
use gptneo_lora::run::seeds::{Extent, Seeds};
use gptneo_lora::run::{Outcome, Run, RunFolder};
use gptneo_lora::settings::{Layer, Origin, Preset};
use gptneo_model::export::ExportFormat;
use gptneo_report::{Decoding, Findings, PROTOCOLS_NOTE, knowledge_reading};
use gptneo_training::TuningKind;

use crate::cli::{RunArgs, TrainArgs};
use crate::hub;
use crate::terminal::failure::Misuse;
use crate::terminal::story::{self, Story};
use crate::terminal::{Watch, failure, interrupt, notes, output, tables};

/// Runs the command.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    if let Some(preset) = args.print_preset {
        return output::piece(preset.text());
    }
    if args.train.resume && args.preset.is_some() {
        return Err(Misuse::error("--resume goes on with the run's own settings: leave --preset out"));
    }
    check_export(args)?;
    let watch = Watch::new(&args.train)?;
    let preset = chosen_preset(args);
    let origin = preset.map_or(Origin::file(args.train.file.config.as_deref()), Origin::Preset);
    let folder = free_folder(preset.map_or("run", Preset::name));
    let layer = Layer::default().with("answers", &args.answers)?.with("run", &args.export)?;
    if let Some(count) = args.train.seeds {
        let seeds = args.train.seeds(origin, layer, Some(folder), (count, Extent::Whole))?;
        several_seeds(&args.train, "run", seeds, |run, watch| run.complete(watch).map(|_| ()))?;
        return output::line(PROTOCOLS_NOTE);
    }
    let run = args.train.opening(origin, layer, Some(folder))?.read(hub::find)?;
    let (folder, decoding) = (run.folder().clone(), run.decoding());
    interrupt::says_how_to_go_on("run", folder.path());
    if story::can_be_told() && !args.train.tui {
        return told_as_story(run, &folder, decoding);
    }
    let outcome = run.complete(watch).map_err(failure::of_run("run"))?;
    say(&outcome, decoding)?;
    let weights: Vec<String> = outcome.weights.iter().map(|path| path.display().to_string()).collect();
    output::line(format_args!(
        "\neverything is in {}; weights: {}; to read: {}; to ask: {}",
        folder.path().display(),
        weights.join(", "),
        folder.report().display(),
        ask(&folder)
    ))
}

/// Refuses flags that say how an export is written where none is.
fn check_export(RunArgs { train, export, .. }: &RunArgs) -> Result<()> {
    // A run's own settings, or those of a file, may ask for one.
    let elsewhere = train.resume || train.file.config.is_some();
    let says_how = export.how.gguf_type.is_some() || export.how.max_positions.is_some();
    match export.export {
        None if says_how && !elsewhere => Err(Misuse::error(
            "--gguf-type and --max-positions say how an export is written: give --export too, or leave them out",
        )),
        Some(ExportFormat::Gpt2) if export.how.gguf_type.is_some() => {
            Err(Misuse::error("--gguf-type is for --export gguf: leave it out"))
        }
        _ => Ok(()),
    }
}

/// The run on one screen, and under it what came of it and where to go on.
fn told_as_story(run: Run, folder: &RunFolder, decoding: Decoding) -> Result<()> {
    let lora = run.settings().model.tuning == TuningKind::Lora;
    let story = Story::begin(&run.title(), lora, decoding.brief());
    let outcome = run.complete(Watch::telling(story.clone())).map_err(failure::of_run("run"))?;
    let Findings { perplexities, scores, discrimination, .. } = &outcome.findings;
    let mut text = format!("\n{}", tables::before_and_after(perplexities, scores));
    if let Some(found) = discrimination {
        text += &format!("{}\n", tables::told_apart(found));
    }
    let page = std::path::absolute(folder.report()).unwrap_or_else(|_| folder.report());
    text += &format!("\nread  file://{}\nask   {}", page.display(), ask(folder));
    // The prompt of the shell comes after it.
    story.end(text.lines().count() + 1);
    output::line(text)
}

/// The command that asks a run's models in a browser.
fn ask(folder: &RunFolder) -> String {
    let path = folder.path().display().to_string();
    let quote = if path.contains(char::is_whitespace) { "\"" } else { "" };
    format!("gptneo-lora serve --run {quote}{path}{quote}")
}

/// The same under several seeds: each goes as far as `go` takes it, and mean and spread of all are told.
pub(super) fn several_seeds(
    args: &TrainArgs,
    command: &str,
    seeds: Seeds,
    go: impl Fn(Run, Watch) -> gptneo_lora::Result<()>,
) -> Result<()> {
    let whole = seeds.folder().to_path_buf();
    let command = format!("{command} --seeds {}", seeds.count());
    interrupt::says_how_to_go_on(command.clone(), &whole);
    for (number, due) in seeds.openings().enumerate() {
        let (seed, opening) = due?;
        notes::say(format_args!("{}seed {seed}", if number == 0 { "" } else { "\n" }));
        let run = opening.read(hub::find)?;
        go(run, Watch::new(args)?).map_err(failure::of_part(command.clone(), &whole))?;
    }
    let rows = seeds.summarise()?;
    output::line(format_args!("\n{}", tables::spread(&rows)))?;
    output::line(format_args!(
        "everything is in {}, a folder a seed; the table: {}",
        whole.display(),
        seeds.table().display()
    ))
}

/// The preset that settings start from: the one named, or the quick run where no settings, model or data are named.
fn chosen_preset(args: &RunArgs) -> Option<Preset> {
    let TrainArgs { file, model, data, resume, .. } = &args.train;
    let named = file.config.is_some() || model.model.is_some() || data.read.data.is_some() || *resume;
    args.preset.or((!named).then_some(Preset::Quick))
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3` ... that does not exist and that nobody makes.
fn free_folder(name: &str) -> PathBuf {
    let folder = Path::new("runs");
    let mut free = folder.join(name);
    let mut number = 2;
    while free.exists() || recover(&free).is_err() {
        free = folder.join(format!("{name}-{number}"));
        number += 1;
    }
    free
}

fn say(Outcome { findings, .. }: &Outcome, decoding: Decoding) -> Result<()> {
    if !findings.answers.is_empty() {
        output::line(format_args!("\n{}", tables::answers(&findings.answers).trim_end()))?;
    }
    if let Some(found) = &findings.discrimination {
        output::line(format_args!("\n{}", knowledge_reading(found)))?;
    }
    if !findings.scores.is_empty() {
        output::line(format_args!(
            "\n{}\n{}",
            tables::scores(&findings.scores).trim_end(),
            decoding.sentence()
        ))?;
    }
    output::line(format_args!("\n{}{PROTOCOLS_NOTE}", tables::perplexities(&findings.perplexities)))
}
