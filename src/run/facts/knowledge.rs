//! What the models know, in the report's words: two models' measures put side by side, and paired.

use gptneo_report::{DiscriminationFacts, ModelShare, PairedShare, ScoreChange, ScoreRow};
use gptneo_training::measure::{AnswerScore, Bootstrap, Discrimination, McNemar};

use crate::run::answers::SCORES;

/// How the base and the tuned model tell true answers from `others` more, on the same questions; both have so many
/// `parameters`.
pub(crate) fn discrimination(
    (others, parameters): (usize, usize),
    base: &Discrimination,
    (name, tuned): (&str, &Discrimination),
) -> DiscriminationFacts {
    let model = |model: &str, found: &Discrimination| ModelShare {
        model: model.to_string(),
        share: found.accuracy,
        standard_error: found.standard_error,
    };
    let change = McNemar::of(&right(base), &right(tuned));
    DiscriminationFacts {
        others,
        questions: base.count,
        parameters,
        chance: base.chance,
        shared_words: base.shared_words,
        beside_shared_words: tuned.error_beside_shared_words(),
        models: vec![model("Base Model", base), model(name, tuned)],
        change: change.map(|McNemar { gained, lost, p_value }| PairedShare { gained, lost, p_value }),
    }
}

/// Which questions were right.
fn right(found: &Discrimination) -> Vec<bool> {
    found.items.iter().map(|item| item.right).collect()
}

/// An answer's scores with the record that was asked.
type Scored = (Option<usize>, AnswerScore);

/// How far each score went from the base's answers to the tuned model's.
pub(crate) fn changes(base: &[Scored], tuned: &[Scored]) -> Vec<ScoreChange> {
    let change = |(measure, score): &(&str, fn(&AnswerScore) -> f64)| {
        let of = |all: &[Scored]| -> Vec<f64> { all.iter().map(|(_, one)| score(one)).collect() };
        let Bootstrap { difference, interval, p_value } = Bootstrap::of(&of(base), &of(tuned))?;
        Some(ScoreChange { measure: measure.to_string(), difference, interval, p_value })
    };
    SCORES.iter().filter_map(change).collect()
}

/// Every score of every held-out record, so that runs can be paired; discrimination is 1 for right and 0 for wrong.
pub(crate) fn score_rows(
    discrimination: Option<(&Discrimination, &Discrimination)>,
    base: &[Scored],
    tuned: &[Scored],
) -> Vec<ScoreRow> {
    let mut rows = Vec::new();
    if let Some((base, tuned)) = discrimination {
        let both = base.items.iter().zip(&tuned.items);
        rows.extend(both.map(|(base, tuned)| {
            let value = |right: bool| f64::from(u8::from(right));
            let (measure, record) = ("discrimination".to_string(), base.record + 1);
            ScoreRow { measure, record, base: value(base.right), tuned: value(tuned.right) }
        }));
    }
    for (measure, score) in SCORES {
        let both = base.iter().zip(tuned);
        rows.extend(both.filter_map(|((record, base), (_, tuned))| {
            let (measure, record) = (measure.to_string(), (*record)? + 1);
            Some(ScoreRow { measure, record, base: score(base), tuned: score(tuned) })
        }));
    }
    rows
}
