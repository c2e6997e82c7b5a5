//! `compare`: the same questions to a base model and to its tuned form; or runs on the same held-out answers.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use gptneo_datasets::{ReadData, Tokenizer, read_data};
use gptneo_files::FileClaim;
use gptneo_lora::Error;
use gptneo_lora::run::answers::Question;
use gptneo_lora::run::compare::{Comparison, RunDifference, RunLoss, compare_runs};
use gptneo_lora::run::side_by_side::{Ask, Tuned, ask};
use gptneo_lora::settings::{DataSettings, Layer, Origin, Settings};
use gptneo_model::generate::{GenerationConfig, PenaltyScope};
use gptneo_report::write_generation;
use gptneo_training::measure::{Bootstrap, McNemar, PairedDifference, Verdict};

use crate::cli::CompareArgs;
use crate::hub;
use crate::terminal::failure::Misuse;
use crate::terminal::{Progress, output, tables};

/// Runs the command.
pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    match (&args.runs[..], args.model.as_deref()) {
        ([_, ..], _) => {
            let found = compare_runs(&args.runs)?;
            if args.json { output::json(&found) } else { output::line(render(&found)) }
        }
        (_, Some(base)) => ask_both(args, base),
        _ => Err(Misuse::error("--model is missing: give it, or the folders of two runs")),
    }
}

fn ask_both(args: &CompareArgs, base: &Path) -> Result<()> {
    check_output(args.output.as_deref())?;
    let place = args.backend.place();
    place.check()?;
    let layer = Layer::default().with("data", &args.data)?;
    let mut settings = Settings::resolve(Origin::Defaults, layer)?.data;
    let base = super::open_model(hub::model(base)?)?;
    let own =
        args.tuned.as_deref().map(|name| anyhow::Ok(super::open_model(hub::model(name)?)?)).transpose()?;
    let tuned = match (&own, &args.adapter) {
        (Some(own), _) => Tuned::Model(own),
        (None, Some(adapter)) => Tuned::Adapter(adapter),
        (None, None) => return Err(Misuse::error("the tuned form is missing: give --adapter or --tuned")),
    };
    tuned.check(&base)?;
    let asked = own.as_ref().unwrap_or(&base);
    super::read_as_tuned(&mut settings.options, &args.data, asked, args.adapter.as_deref())?;
    // Taken before the work: of two at once, the second says so now.
    let output = args.output.as_ref().map(FileClaim::new).transpose().map_err(Error::from)?;
    let questions = questions(args, &settings, base.tokenizer())?;
    let mut config = super::generation(&args.generation);
    config.end_tokens = base.end_tokens_of_tuned();
    // As the report of a run has it.
    config.sampling.penalty_scope = PenaltyScope::Answer;
    let asked = Ask { base: &base, tuned, questions: &questions, config: &config };
    let mut progress = None;
    let found = ask(place, asked, &mut |done, total| {
        progress.get_or_insert_with(|| Progress::new("answering")).update(done, total);
        if done == total {
            progress = None;
        }
    })?;
    if let Some(output) = output {
        write_generation(output.file(), &found.comparisons)?;
        output.settle().map_err(Error::from)?;
    }
    match args.json {
        true => output::json(&found),
        false => output::line(format_args!(
            "{}\n{}{}",
            tables::answers(&found.comparisons),
            tables::scores(&found.metrics).trim_end(),
            penalty(&config)
        )),
    }
}

/// What the answers were chosen with, where that is more than the likeliest token.
fn penalty(config: &GenerationConfig) -> String {
    match config.sampling.repetition_penalty {
        1.0 => String::new(),
        penalty => format!("\nboth with a repetition penalty of {penalty} on what the answer has already"),
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
    let template = &settings.options.prompt_template;
    if settings.path.is_none() {
        return args.question.iter().map(|text| Ok(Question::new(text, template, tokenizer)?)).collect();
    }
    let mut seen = std::collections::HashSet::new();
    let files = hub::data(settings.file()?)?;
    let ReadData { records, reading, .. } = read_data(files.to_measure(), &settings.options)?;
    super::warn_of_skipped(&reading.reasons);
    let different = records.iter().filter(|record| seen.insert(record.input.as_str()));
    different.take(args.limit).map(|record| Ok(Question::of(record, template, tokenizer)?)).collect()
}

/// The measures that the table of runs shows, where the runs have them.
const SHOWN: [&str; 6] =
    ["perplexity, response", "bits per byte, response", "discrimination", "token F1", "ROUGE-L", "chrF"];

/// The runs' losses and measures, and each difference from the first with what it says. Writing to a string cannot fail.
fn render(Comparison { runs, differences, .. }: &Comparison) -> String {
    let width = runs.iter().map(|run| run.run.chars().count()).max().unwrap_or(0).max(10);
    let shown: Vec<&str> =
        SHOWN.into_iter().filter(|name| runs.iter().any(|run| run.measures.contains_key(*name))).collect();
    let mut text = format!("{:<width$}  {:>12}", "response", "loss");
    shown.iter().for_each(|name| text += &format!("  {name:>12}"));
    for RunLoss { run, loss, measures, .. } in runs {
        let _ = write!(text, "\n{run:<width$}  {loss:>12.5}");
        for name in &shown {
            let cell = measures.get(*name).map_or("-".to_string(), |value| format!("{value:.4}"));
            let _ = write!(text, "  {cell:>wide$}", wide = name.len().max(12));
        }
    }
    text.push('\n');
    let first = &runs[0].run;
    for RunDifference { run, paired, verdict, discrimination, other_tasks, answers, not_alike } in differences
    {
        if differences.len() > 1 {
            let _ = write!(text, "\n{run} against {first}\n");
        }
        let PairedDifference { difference, standard_error, records, tokens } = paired;
        let error = standard_error.map(|error| format!(" ± {error:.5}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<width$}  {difference:>+12.5}{error} nats per token, on the same {records} answers ({tokens} tokens)",
            "difference"
        );
        let better = if *difference < 0.0 { run } else { first };
        text += &says(*verdict, better);
        text.push('\n');
        if let Some(McNemar { gained, lost, p_value }) = discrimination {
            let _ = writeln!(
                text,
                "{:<width$}  {gained} questions gained, {lost} lost (McNemar's test, p = {p_value:.4})",
                "true answers"
            );
        }
        if let Some(why) = other_tasks {
            let _ = writeln!(text, "{:<width$}  not compared: they are other tasks ({why})", "true answers");
        }
        if let Some(why) = not_alike {
            let _ = writeln!(text, "{:<width$}  not compared: they were chosen otherwise ({why})", "answers");
        }
        for (name, Bootstrap { difference, interval: [low, high], p_value }) in answers {
            let _ = writeln!(
                text,
                "{name:<width$}  {difference:>+12.4} ({low:+.4} to {high:+.4}; paired bootstrap, p = {p_value:.4})"
            );
        }
    }
    text.trim_end().to_string()
}

/// What a difference of losses says.
fn says(verdict: Verdict, better: &str) -> String {
    match verdict {
        Verdict::Unknown => "one answer alone says nothing about others".to_string(),
        Verdict::WithinError => {
            "the difference is not larger than its standard error: these rows do not tell the runs apart"
                .into()
        }
        Verdict::LargerThanError => {
            format!(
                "the difference is larger than its standard error, but not than two: {better} may be better"
            )
        }
        Verdict::LargerThanTwice => {
            format!("the difference is larger than two standard errors: {better} is better on these rows")
        }
    }
}
