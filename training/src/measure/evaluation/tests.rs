//! The protocols against transformers, and what they refuse.

#![allow(clippy::unwrap_used)]
use std::collections::HashMap;
use std::path::PathBuf;

use burn_flex::Flex;
use burn_ndarray::NdArray;
use gptneo_datasets::{Overlong, PromptTemplate, Record, Supervise, Tokenizer, encode_examples};
use gptneo_model::{adapter, checkpoint};

use super::*;

const MAX_LENGTH: usize = 64;
const END_OF_TEXT: u32 = 399;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn json<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn model<B: NeoBackend>(adapted: bool) -> GptNeo<B> {
    let device = Default::default();
    let base = checkpoint::load_model(&fixture("wide"), &device).unwrap();
    match adapted {
        true => adapter::load_adapter(base, &fixture("adapter_wide"), &device).unwrap().0,
        false => base,
    }
}

fn examples(records: usize, supervise: Supervise) -> Vec<Example> {
    let template: PromptTemplate =
        "Instruction: {instruction}\\nQuestion: {input}\\nResponse: {output}".parse().unwrap();
    let tokenizer = Tokenizer::from_folder(&fixture("wide")).unwrap();
    assert_eq!(tokenizer.end_of_text(), END_OF_TEXT);
    let all: Vec<Record> = json("records.json");
    let first = &all[..records];
    encode_examples(first, &template, &tokenizer, MAX_LENGTH, supervise, Overlong::Cut).unwrap().examples
}

#[derive(Deserialize)]
struct Expected {
    without_adapter: HashMap<String, Protocol>,
    with_adapter: HashMap<String, Protocol>,
}

#[derive(Deserialize)]
struct Protocol {
    loss: f64,
    perplexity: f64,
    tokens: u64,
    records: Vec<Sum>,
}

/// Numbers by tests/reference/make_fixtures.py. Float32 losses around 7 carry an error of about 1e-6 of their
/// size; the perplexity multiplies it by the loss.
fn equals_transformers<B: NeoBackend>() {
    let expected: Expected = json("perplexity.json");
    let examples = examples(40, Supervise::Text);
    for (adapted, expected) in [(false, expected.without_adapter), (true, expected.with_adapter)] {
        let found = evaluate::<B>(&model(adapted), &examples, END_OF_TEXT, MAX_LENGTH, 8, |_, _| ()).unwrap();
        let found = [("notebook", found.notebook), ("text", found.text), ("response", found.response)];
        for (name, found) in found {
            let expected = &expected[name];
            let close = |what: &str, a: f64, b: f64| {
                assert!((a / b - 1.0).abs() < 1e-5, "{name} {what}, adapter {adapted}: {a} {b}");
            };
            assert_eq!(found.tokens, expected.tokens, "{name}");
            close("loss", found.loss, expected.loss);
            close("perplexity", found.perplexity, expected.perplexity);
            let error = score(&expected.records, "").unwrap().standard_error.unwrap();
            match found.standard_error {
                // Differences of sums that agree to 1e-6 lose some of those digits.
                Some(found) => assert!((found / error - 1.0).abs() < 1e-3, "{name}: {found} {error}"),
                None => assert_eq!(name, "notebook"),
            }
        }
    }
}

#[test]
fn flex_equals_transformers() {
    equals_transformers::<Flex>();
}

#[test]
fn ndarray_equals_transformers() {
    equals_transformers::<NdArray>();
}

#[test]
fn the_batch_size_changes_nothing_but_rounding_and_progress_is_told() {
    let (model, examples) = (model::<Flex>(true), examples(14, Supervise::Text));
    let run = |batch_size| {
        let mut heard = Vec::new();
        let found = evaluate(&model, &examples, END_OF_TEXT, MAX_LENGTH, batch_size, |done, all| {
            heard.push((done, all));
        });
        (found.unwrap(), heard)
    };
    let (one, _) = run(1);
    let (five, heard) = run(5);
    assert_eq!(heard, [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]);
    let pairs = [(one.notebook, five.notebook), (one.text, five.text), (one.response, five.response)];
    for (one, five) in pairs {
        assert_eq!(one.tokens, five.tokens);
        assert!((one.loss / five.loss - 1.0).abs() < 1e-6, "{one:?} {five:?}");
    }
}

#[test]
fn a_shorter_length_cuts_as_encoding_to_it_does() {
    let model = model::<Flex>(false);
    let mut examples = examples(3, Supervise::Text);
    let shorter = evaluate(&model, &examples, END_OF_TEXT, 30, 4, |_, _| ()).unwrap();
    examples.iter_mut().for_each(|example| example.ids.truncate(30));
    assert_eq!(shorter, evaluate(&model, &examples, END_OF_TEXT, 30, 4, |_, _| ()).unwrap());
    assert_eq!((shorter.notebook.tokens, shorter.text.tokens), (90, 87));
}

#[test]
fn the_standard_error_is_that_of_a_ratio() {
    // By hand: L = 24 / 6; residuals 2 - 4, 22 - 20, 0; sqrt(2 / 1 * 8) / 6.
    let found = score(&[(2.0, 1), (22.0, 5), (0.0, 0)], "").unwrap();
    assert_eq!((found.loss, found.tokens, found.standard_error), (4.0, 6, Some(4.0 / 6.0)));
    assert_eq!(score(&[(2.0, 1), (0.0, 0)], "").unwrap().standard_error, None);
    assert!(score(&[(1e6, 1)], "").unwrap().perplexity.is_finite());
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let model = model::<Flex>(false);
    let good = examples(2, Supervise::Text);
    let fault = |examples: &[Example], max_length| {
        evaluate(&model, examples, END_OF_TEXT, max_length, 4, |_, _| ()).unwrap_err().to_string()
    };
    assert!(fault(&good, 65).contains("expected 2 to 64"));
    assert!(fault(&good, 1).contains("expected 2 to 64"));
    assert!(fault(&[], 64).contains("0 examples"));
    let mut strange = good.clone();
    strange[1].ids[4] = 400;
    assert!(fault(&strange, 64).contains("id 400"));
    let mut questions = good.clone();
    questions.iter_mut().for_each(|example| example.response_from = example.ids.len());
    assert!(fault(&questions, 64).contains("the response protocol"));
    let mut broken = model.clone();
    let gamma = &mut broken.transformer.ln_f.weight;
    *gamma = gamma.clone().map(|gamma| gamma * f32::NAN);
    let error = evaluate(&broken, &good, END_OF_TEXT, 64, 4, |_, _| ()).unwrap_err();
    assert!(matches!(&error, TrainingError::NonFiniteScore { records } if *records == [1, 2]), "{error}");
}
