//! What a run knows, as the plain facts that its report is written from: numbers, rows and texts.
//!
//! The report knows no settings, no manifest and no data set; here they are put into its words.

mod card;
mod data;
mod knowledge;

use std::path::Path;

use gptneo_report::{Decoding, Gain, LossCurves, PerplexityRow, RunFacts, SampleAnswer, StepSeries};
use gptneo_training::measure::{Evaluation, PairedDifference, Verdict};
use gptneo_training::metrics::{MetricsRow, TrainRow};
use gptneo_training::samples::SampleRow;

use super::manifest::{Counts, Manifest};
use crate::settings::Settings;

pub(crate) use card::card;
pub(crate) use data::data;
pub(crate) use knowledge::{changes, discrimination, score_rows};

/// How much a run was about that did `steps` steps and saved the weights of `model_step`.
pub(crate) fn run(manifest: &Manifest, steps: usize, model_step: usize) -> RunFacts {
    let Counts { train_examples, trainable_parameters, total_parameters, .. } = manifest.counts;
    RunFacts {
        steps,
        model_step,
        train_examples,
        held_out_examples: manifest.counts.measured_examples(),
        trainable_parameters,
        total_parameters,
    }
}

/// The page's heading.
pub(crate) fn title(settings: &Settings) -> String {
    let (model, data) = (settings.model.path.as_deref(), settings.data.path.as_deref());
    format!("{} tuned on {}", file_name(model), file_name(data))
}

/// The last part of a path, as far as it can be read. A path that has none, such as `.`, is called as what it means.
fn file_name(path: Option<&Path>) -> String {
    let Some(path) = path else { return String::new() };
    // A link is called as it stands, so what has a name keeps it.
    let meant = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
    let path = meant.as_deref().unwrap_or(path);
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// One model's rows, a protocol each.
pub(crate) fn perplexities(model: &str, evaluation: &Evaluation) -> Vec<PerplexityRow> {
    let Evaluation { notebook, text, response, .. } = evaluation;
    let named = [("notebook", notebook), ("text", text), ("response", response)];
    named
        .into_iter()
        .map(|(protocol, score)| PerplexityRow {
            model: model.to_string(),
            protocol: protocol.to_string(),
            loss: score.loss,
            perplexity: score.perplexity,
            tokens: score.tokens,
            standard_error: score.standard_error,
            bits_per_byte: score.bits_per_byte,
        })
        .collect()
}

/// How far two models' losses are apart, with what that says.
pub(crate) fn gain(paired: PairedDifference) -> Gain {
    let verdict = match paired.verdict() {
        Verdict::LargerThanTwice => "more than two standard errors",
        Verdict::LargerThanError => "more than its standard error, but not than two",
        Verdict::WithinError => "not more than its standard error: these rows show no change",
        Verdict::Unknown => "one example alone says nothing about others",
    };
    let PairedDifference { difference, standard_error, .. } = paired;
    Gain { difference, standard_error, verdict: verdict.to_string() }
}

/// The loss by step.
pub(crate) fn losses(rows: &[MetricsRow]) -> LossCurves {
    let mut curves = LossCurves::default();
    for row in rows {
        match row {
            // A step that was skipped may have had no loss.
            MetricsRow::Train(row) if row.skipped && !row.loss.is_finite() => {}
            MetricsRow::Train(row) => curves.training.push((row.step as f64, row.loss)),
            MetricsRow::Validation(row) => curves.validation.push((row.step as f64, row.loss)),
        }
    }
    curves
}

/// The learning rate, the gradient norm and the speed by step.
pub(crate) fn steps(rows: &[MetricsRow]) -> Vec<StepSeries> {
    let series = |title: &str, axis: &str, value: fn(&TrainRow) -> Option<f64>| {
        let points = rows.iter().filter_map(|row| match row {
            MetricsRow::Train(row) => Some((row.step as f64, value(row)?)),
            MetricsRow::Validation(_) => None,
        });
        let (title, axis) = (title.to_string(), axis.to_string());
        StepSeries { title, axis, noisy: true, points: points.collect() }
    };
    // A step that was skipped for its gradients has no norm to show.
    let norm = |row: &TrainRow| (!row.skipped || row.grad_norm.is_finite()).then_some(row.grad_norm);
    let rate = series("Learning rate", "learning rate", |row| Some(row.learning_rate));
    vec![
        StepSeries { noisy: false, ..rate },
        series("Gradient norm before clipping", "L2 norm", norm),
        series("Speed, in supervised tokens", "tokens per second", |row| row.tokens_per_second),
    ]
}

/// How the answers were chosen.
pub(crate) fn decoding(settings: &Settings) -> Decoding {
    Decoding { repetition_penalty: settings.answers.repetition_penalty }
}

/// The answers while the model learned.
pub(crate) fn samples(rows: Vec<SampleRow>) -> Vec<SampleAnswer> {
    let rows = rows.into_iter();
    rows.map(|SampleRow { step, question, answer }| SampleAnswer { step, question, answer }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_named_by_dots_has_its_name() {
        let here = std::env::current_dir().unwrap_or_default();
        let name = here.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of = |path: &str| file_name(Some(Path::new(path)));
        assert!(!name.is_empty() && of(".") == name && of("src/..") == name, "{name} {}", of("."));
        assert_eq!(
            [of("some/cards.json"), of("no/such/.."), file_name(None)],
            ["cards.json", "no/such/..", ""]
        );
        let mut settings = Settings::default();
        (settings.model.path, settings.data.path) = (Some(".".into()), Some("./".into()));
        assert_eq!(title(&settings), format!("{name} tuned on {name}"));
    }

    #[test]
    fn a_step_skipped_for_its_gradients_is_in_no_curve_of_theirs() {
        let row = |step, skipped, value| {
            MetricsRow::Train(TrainRow {
                step,
                loss: value,
                grad_norm: value,
                learning_rate: 1e-4,
                tokens: 9,
                loss_scale: None,
                skipped,
                epoch: None,
                seconds: None,
                tokens_per_second: None,
            })
        };
        let rows = [row(1, true, f64::NAN), row(2, false, 2.0)];
        assert_eq!(losses(&rows).training, [(2.0, 2.0)]);
        let [rate, norm, speed] = &steps(&rows)[..] else { panic!("three charts") };
        assert_eq!((rate.points.len(), &norm.points[..], speed.points.len()), (2, &[(2.0, 2.0)][..], 0));
        // A damaged log is not hidden.
        assert!(steps(&[row(1, false, f64::NAN)])[1].points[0].1.is_nan());
    }
}
