//! Two models that sat the same exam: each part's test of whether they differ.

use std::collections::BTreeMap;

use gptneo_training::measure::{
    Bootstrap, ChoiceItem, ChoiceScores, Discrimination, McNemar, PairedDifference, Verdict,
};
use serde::Serialize;

use super::Examined;
use crate::run::answers::NamedScore;

/// One model against another, row by row; a part that either lacks is left out.
#[derive(Clone, Debug, Serialize)]
pub struct Paired {
    /// The loss on the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<PairedLoss>,
    /// Multiple choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<McNemar>,
    /// Answers told from others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discrimination: Option<McNemar>,
    /// The scores of the models' own answers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<&'static str, Bootstrap>,
}

/// How far two losses are apart, and what that says.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PairedLoss {
    /// The difference.
    #[serde(flatten)]
    pub paired: PairedDifference,
    /// What it says.
    pub verdict: Verdict,
}

impl Paired {
    /// `second` against `first`.
    pub fn of(first: &Examined, second: &Examined) -> Self {
        let paired = PairedDifference::of(&first.losses, &second.losses);
        let right = |choices: &ChoiceScores| choices.items.iter().map(ChoiceItem::right).collect::<Vec<_>>();
        let choices = first.choices.as_ref().zip(second.choices.as_ref());
        let told = |found: &Discrimination| found.items.iter().map(|item| item.right).collect::<Vec<_>>();
        let discrimination = first.discrimination.as_ref().zip(second.discrimination.as_ref());
        let scores: [NamedScore; 3] = [
            ("token_f1", |score| score.token_f1),
            ("rouge_l", |score| score.rouge_l),
            ("chrf", |score| score.chrf),
        ];
        let answers = scores.into_iter().filter_map(|(name, score)| {
            let of = |found: &Examined| found.answer_scores.iter().map(score).collect::<Vec<_>>();
            Some((name, Bootstrap::of(&of(first), &of(second))?))
        });
        Self {
            response: paired.map(|paired| PairedLoss { paired, verdict: paired.verdict() }),
            choices: choices.and_then(|(first, second)| McNemar::of(&right(first), &right(second))),
            discrimination: discrimination
                .and_then(|(first, second)| McNemar::of(&told(first), &told(second))),
            answers: answers.collect(),
        }
    }
}
