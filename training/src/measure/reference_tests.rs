//! Log-likelihoods of choices against lm-evaluation-harness, ROUGE-L against `rouge-score` and chrF against `sacrebleu`.

#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use burn_flex::Flex;
use gptneo_datasets::{DataOptions, PromptTemplate, Tokenizer, encode_choices, read_choices};
use gptneo_model::{GptNeo, adapter, checkpoint};
use serde::Deserialize;

use super::{chrf, rouge_l, score_choices};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Exam {
    models: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    model: String,
    adapter: Option<String>,
    loglikelihoods: Vec<Vec<f64>>,
    accuracy: f64,
    accuracy_normalised: f64,
}

/// By tests/reference/exams.py. Sums over at most thirty float32 losses of about 7 carry an error of about 1e-5.
#[test]
fn loglikelihoods_equal_the_harness() {
    let exam: Exam = json("exams/loglikelihoods.json");
    let questions =
        read_choices(&[fixture("exams/choices.jsonl")], &DataOptions::default()).unwrap().questions;
    assert!(questions.len() >= 20 && exam.models.len() == 3);
    for expected in &exam.models {
        let folder = fixture(&expected.model);
        let device = Default::default();
        let mut model: GptNeo<Flex> = checkpoint::load_model(&folder, &device).unwrap();
        if let Some(name) = &expected.adapter {
            model = adapter::load_adapter(model, &fixture(name), &device).unwrap().0;
        }
        let tokenizer = Tokenizer::from_folder(&folder).unwrap();
        let positions = model.config().max_position_embeddings;
        let texts = encode_choices(&questions, &PromptTemplate::default(), &tokenizer, positions).unwrap();
        for batch_size in [1, 7] {
            let found = score_choices(&model, &texts, batch_size, |_, _| ()).unwrap();
            for (item, expected) in found.items.iter().zip(&expected.loglikelihoods) {
                assert_eq!(item.loglikelihoods.len(), expected.len());
                for (a, b) in item.loglikelihoods.iter().zip(expected) {
                    assert!((a - b).abs() < 1e-4, "{}: {a} {b}", folder.display());
                }
            }
            assert!((found.accuracy - expected.accuracy).abs() < 1e-7, "{found:?}");
            assert!((found.accuracy_normalised - expected.accuracy_normalised).abs() < 1e-7, "{found:?}");
        }
    }
}

#[derive(Deserialize)]
struct Pair {
    answer: String,
    reference: String,
    rouge_l: f64,
    chrf: f64,
}

/// By tests/reference/exams.py; its numbers have eight digits.
#[test]
fn scores_of_texts_equal_the_packages() {
    let pairs: Vec<Pair> = json("exams/texts.json");
    assert_eq!(pairs.len(), 200);
    for pair in &pairs {
        let found = (rouge_l(&pair.answer, &pair.reference), chrf(&pair.answer, &pair.reference));
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-7 * b.max(1.0);
        assert!(
            close(found.0, pair.rouge_l),
            "{:?} {:?}: {} {}",
            pair.answer,
            pair.reference,
            found.0,
            pair.rouge_l
        );
        assert!(
            close(found.1, pair.chrf),
            "{:?} {:?}: {} {}",
            pair.answer,
            pair.reference,
            found.1,
            pair.chrf
        );
    }
}
