//! `prepare`: what the model will see of a data file, and what a training run would take, before anything is trained.

use anyhow::{Result, anyhow};
use gptneo_datasets::{DataReport, Dataset, Example, Tokenizer, mark_supervised};
use gptneo_lora::run::Sources;
use gptneo_lora::run::data::{FoundData, OpenedData};
use gptneo_lora::run::preflight::{Preflight, cut_answers};
use gptneo_lora::settings::{Layer, Origin, Settings};
use gptneo_training::BatchOrder;
use serde::Serialize;

use crate::cli::PrepareArgs;
use crate::hub;
use crate::terminal::failure::Misuse;
use crate::terminal::{notes, output, wording};

/// What `--json` prints.
#[derive(Serialize)]
struct Prepared<'a> {
    #[serde(flatten)]
    report: &'a DataReport,
    example: Shown,
    batches: Vec<Batch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preflight: Option<Preflight>,
}

/// A training batch, for the eye.
#[derive(Serialize)]
struct Batch {
    /// The longest text, in tokens: what the others are padded to.
    width: usize,
    texts: Vec<Shown>,
}

/// One example, for the eye.
#[derive(Serialize)]
struct Shown {
    /// The record, from 0.
    record: usize,
    ids: Vec<u32>,
    /// The first and the end of the supervised positions; of a conversation, the later questions lie within.
    supervised: [usize; 2],
    /// How many positions are supervised.
    learned: usize,
    /// The text, its supervised tokens between marks.
    marked: String,
}

/// Runs the command.
pub(crate) fn run(args: &PrepareArgs) -> Result<()> {
    let layer = Layer::default()
        .with("model", &args.tuning)?
        .with("data", &args.data)?
        .with("lora", &args.lora)?
        .with("training", &args.training)?
        .with("training", &args.steps)?
        .with("run", &args.held)?
        .with("run", &args.backend)?;
    let mut settings = Settings::resolve(Origin::file(args.file.config.as_deref()), layer)?;
    settings.data.file()?;
    let named = args.model.as_deref().or(settings.model.path.as_deref());
    let (tokenizer, model) = match (args.tokenizer.as_deref(), named) {
        (Some(folder), _) => (Tokenizer::from_folder(folder)?, None),
        (None, Some(name)) => {
            let model = super::open_model(hub::model(name)?)?;
            (model.tokenizer().clone(), Some(model))
        }
        (None, None) => {
            return Err(Misuse::error("a tokenizer is missing: give --model DIR or --tokenizer DIR"));
        }
    };
    let positions = model.as_ref().map(|model| model.config().max_position_embeddings);
    settings.data.resolve_length(positions)?;
    let found = FoundData::of(&settings.data, &Sources::default(), &mut hub::find)?;
    let OpenedData { data, warnings: known } = found.read(&settings, &tokenizer)?;
    let shown = show_one(&data, &tokenizer)?;
    let report = data.report(settings.training.batch_size, settings.training.seed);
    // Data that cannot be trained on are shown nevertheless; that is what this command is for.
    let order = BatchOrder::new(data.training(), &settings.training);
    let first = order.as_ref().map(|order| order.first_batches(args.batches)).unwrap_or_default();
    let batches: Vec<Batch> =
        first.iter().map(|batch| show_batch(batch, &tokenizer)).collect::<Result<_>>()?;
    let preflight = match (args.memory, &model) {
        (false, _) => None,
        (true, None) => return Err(Misuse::error("--memory needs the model itself: give --model DIR")),
        (true, Some(model)) => {
            let order = order.as_ref().map_err(|error| anyhow!("{error}"))?;
            Some(Preflight::of(&settings, model, &data, order)?)
        }
    };
    if args.json {
        return output::json(&Prepared { report: &report, example: shown, batches, preflight });
    }
    output::line(report.render().trim_end())?;
    output::line(format_args!(
        "\nExample: record {} (from 0), {} tokens, the supervised ones between ⟦ and ⟧\n\n{}",
        shown.record,
        shown.ids.len(),
        shown.marked
    ))?;
    for (number, batch) in batches.iter().enumerate() {
        output::line(format_args!("\n{}", batch.render(number + 1).trim_end()))?;
    }
    let problems = match &preflight {
        Some(found) => {
            output::line(format_args!("\n{}{}", found.render(), found.render_more().trim_end()))?;
            found.warnings.clone()
        }
        None => cut_answers(&report.truncation, positions.unwrap_or(usize::MAX)).into_iter().collect(),
    };
    let mut warnings: Vec<String> = known.iter().chain(&problems).map(wording::of_problem).collect();
    warnings.extend(order.err().map(|error| format!("training would not start: {error}")));
    warnings.iter().for_each(|warning| notes::say(format_args!("warning: {warning}")));
    Ok(())
}

fn show_batch(batch: &[&Example], tokenizer: &Tokenizer) -> Result<Batch> {
    let texts = batch.iter().map(|example| show(example, tokenizer)).collect::<Result<_>>()?;
    Ok(Batch { width: batch.iter().map(|example| example.ids.len()).max().unwrap_or(0), texts })
}

impl Batch {
    /// The batch for a terminal, a line a text.
    fn render(&self, number: usize) -> String {
        let (rows, positions) = (self.texts.len(), self.texts.len() * self.width);
        let real: usize = self.texts.iter().map(|text| text.ids.len()).sum();
        let learned: usize = self.texts.iter().map(|text| text.learned).sum();
        let mut text = format!(
            "Batch {number}: {rows} texts padded to {} tokens; of {positions} positions {learned} are supervised, {} are \
             padding\n",
            self.width,
            positions - real
        );
        for shown in &self.texts {
            text += &format!("{:>7}  {}\n", shown.record, shown.marked.replace('\n', "⏎"));
        }
        text
    }
}

/// The first training example that has something to learn, else the first of all.
fn show_one(data: &Dataset, tokenizer: &Tokenizer) -> Result<Shown> {
    let training = data.training();
    let learns = |example: &&Example| example.supervised_tokens() > 0;
    let Some(example) = training.iter().find(learns).or(data.examples().next()) else {
        anyhow::bail!("no example is left of the data");
    };
    show(example, tokenizer)
}

fn show(example: &Example, tokenizer: &Tokenizer) -> Result<Shown> {
    Ok(Shown {
        record: example.record,
        ids: example.ids.clone(),
        supervised: [example.targets().start, example.targets().end],
        learned: example.supervised_tokens(),
        marked: mark_supervised(example, tokenizer)?,
    })
}
