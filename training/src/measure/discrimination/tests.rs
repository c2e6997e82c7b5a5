//! What is known by construction is told apart, what is random is not, and too few records are refused.

#![allow(clippy::unwrap_used)]
use std::path::PathBuf;
use std::sync::Arc;

use burn::backend::Autodiff;
use burn_flex::Flex;
use gptneo_datasets::{Overlong, Supervise, encode_examples};
use gptneo_model::{LoraConfig, checkpoint};

use super::*;
use crate::reference_tests::turn;
use crate::{TrainingConfig, TrainingRun, Tuning};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn records() -> Vec<Record> {
    let all: Vec<Record> = serde_json::from_slice(&std::fs::read(fixture("records.json")).unwrap()).unwrap();
    // Those that leave something of their answer at 64 tokens.
    all.into_iter().filter(|record| record.input.len() < 50 && record.output.len() < 90).collect()
}

fn task(records: &[Record], others: usize) -> Result<DiscriminationTask, TrainingError> {
    let tokenizer = Tokenizer::from_folder(&fixture("wide")).unwrap();
    let borrowed: Vec<&Record> = records.iter().collect();
    let asked: Vec<usize> = (0..records.len()).collect();
    DiscriminationTask::new(&borrowed, &asked, &template(), &tokenizer, 64, others)
}

fn template() -> PromptTemplate {
    "Q: {input}\\nA: {output}".parse().unwrap()
}

#[test]
fn a_random_model_guesses_and_one_that_learned_the_answers_knows_them() {
    let _turn = turn();
    let records = records();
    let task = task(&records, 3).unwrap();
    let base = checkpoint::load_model::<Autodiff<Flex>>(&fixture("wide"), &Default::default()).unwrap();
    let random = task.measure(&base, 16, |_, _| ()).unwrap();
    assert_eq!((random.chance, random.count, random.items.len()), (0.25, task.count(), task.count()));
    assert!(random.count > 30, "{random:?}");
    let error = (0.25f64 * 0.75 / random.count as f64).sqrt();
    assert!((random.accuracy - 0.25).abs() < 2.0 * error, "{} of {}", random.accuracy, random.count);
    // No batch colours a number.
    assert_eq!(task.measure(&base, 3, |_, _| ()).unwrap(), random);
    let shared: f64 = random.items.iter().map(|item| item.found_by_shared_words).sum();
    assert_eq!(random.shared_words, shared / random.count as f64);
    assert!(random.shared_words > 0.0);

    let tokenizer = Tokenizer::from_folder(&fixture("wide")).unwrap();
    let examples =
        encode_examples(&records, &template(), &tokenizer, 64, Supervise::Response, Overlong::Cut).unwrap();
    let config = TrainingConfig { learning_rate: 1e-2, max_steps: Some(300), ..Default::default() };
    let lora = LoraConfig {
        target_modules: gptneo_model::Target::ALL.map(Into::into).to_vec(),
        dropout: 0.0,
        ..Default::default()
    };
    let trained = TrainingRun::new(base, Arc::from(examples.examples))
        .tuning(Tuning::Lora(lora))
        .config(config)
        .train()
        .unwrap();
    let knows = task.measure(&trained.model, 16, |_, _| ()).unwrap();
    assert!(knows.accuracy > 0.95, "{} of {}", knows.accuracy, knows.count);
}

#[test]
fn what_is_found_beyond_shared_words_is_paired_by_question() {
    let item = |right, found_by_shared_words| DiscriminationItem { record: 0, right, found_by_shared_words };
    let of = |items: Vec<DiscriminationItem>| Discrimination {
        accuracy: 0.0,
        standard_error: None,
        chance: 0.25,
        shared_words: 0.0,
        count: items.len(),
        items,
    };
    let beside = |items| of(items).error_beside_shared_words();
    // What both find says nothing of either; a tie counts as its part.
    let mixed = vec![item(true, 1.0), item(true, 0.0), item(false, 0.5), item(false, 0.0)];
    assert_eq!(beside(mixed), 1.25f64.sqrt() / 4.0);
    assert_eq!(beside(vec![item(true, 0.0); 4]), 0.5);
    assert_eq!((beside(vec![item(true, 1.0)]), beside(Vec::new())), (0.0, 0.0));
}

#[test]
fn too_few_records_and_too_short_a_text_are_refused() {
    let records = records();
    let said = task(&records[..3], 3).unwrap_err().to_string();
    assert!(said.contains("is 3; expected 1 to 2") && said.contains("these 3 records"), "{said}");
    assert!(task(&records[..3], 0).unwrap_err().to_string().contains("is 0; expected 1 to 2"));
    assert!(task(&records[..4], 3).is_ok());
    let tokenizer = Tokenizer::from_folder(&fixture("wide")).unwrap();
    let borrowed: Vec<&Record> = records.iter().collect();
    // Of few that are asked, the others are found among all.
    let few = DiscriminationTask::new(&borrowed, &[4, 7], &template(), &tokenizer, 64, 3).unwrap();
    assert_eq!(few.questions.iter().map(|question| question.record).collect::<Vec<_>>(), [4, 7]);
    let said =
        DiscriminationTask::new(&borrowed, &[0, 1], &template(), &tokenizer, 2, 1).unwrap_err().to_string();
    assert!(said.contains("2 tokens"), "{said}");
}

#[test]
fn answers_that_a_cut_makes_alike_are_not_to_be_told_apart() {
    let tokenizer = Tokenizer::from_folder(&fixture("wide")).unwrap();
    let answers = ["The same words, one", "The same words, two", "The same words, three", "Other words"];
    let records: Vec<Record> = (0..4).map(|at| Record::new(format!("What is {at}?"), answers[at])).collect();
    let borrowed: Vec<&Record> = records.iter().collect();
    let length = |record: &Record| tokenizer.encode(&template().text(record)).unwrap().len();
    let longest = records.iter().map(length).max().unwrap();
    let made = |max_length: usize, others: usize| {
        let found =
            DiscriminationTask::up_to(&borrowed, &[0, 1, 2], &template(), &tokenizer, max_length, others);
        found.unwrap().map(|task| task.count())
    };
    let cut = tokenizer.encode(&template().text(&Record { output: "The same".into(), ..records[0].clone() }));
    let cut = cut.unwrap().len();
    assert_eq!((made(longest + 1, 3), made(cut, 3), made(longest + 1, 9)), (Some(3), None, Some(3)));
    let said = DiscriminationTask::new(&borrowed, &[0], &template(), &tokenizer, cut, 2).unwrap_err();
    assert!(said.to_string().contains("tell them apart"), "{said}");
}
