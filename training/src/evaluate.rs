//! Perplexity under three protocols on the same examples, and the loss that is watched during training.
//!
//! `text` and `response` score real tokens only and come from one pass. `notebook` repeats a common mistake so that
//! its numbers can be compared: it pads every text with end-of-text, scores the padding as well, and weights each
//! text's mean by its count of real tokens. Any adapter learns to predict padding at once, so read it beside `text`.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use gptneo_datasets::{Example, Padding, TokenBatch, plan_by_length};
use gptneo_model::ops::token_nll;
use gptneo_model::{GptNeo, NeoBackend};
use serde::{Deserialize, Serialize};

use crate::error::TrainingError;

/// The loss from which on the perplexity is no longer computed: its exponential leaves the range of f64 at 709.
const LARGEST_LOSS: f64 = 700.0;

/// A mean loss over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean negative log-likelihood, in nats per token.
    pub loss: f64,
    /// The loss's exponential; of 700 nats where the loss is larger.
    pub perplexity: f64,
    /// Tokens in the mean; under `notebook`, the weight.
    pub tokens: u64,
    /// Standard error of the loss, the examples being the independent draws: tokens of one text are not.
    ///
    /// It is that of a ratio of means (Cochran, Sampling Techniques, 1977, equation 6.13, without the correction
    /// for a finite population). `None` for fewer than two examples, and under `notebook`.
    pub standard_error: Option<f64>,
}

/// The same examples under three protocols.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Padding scored, each text's mean weighted by its real tokens.
    pub notebook: Score,
    /// Every real token but the first, and the closing end-of-text.
    pub text: Score,
    /// The answer's tokens and the closing end-of-text.
    pub response: Score,
}

/// One example's summed loss in nats and the weight that it enters the mean with.
type Sum = (f64, u64);

/// Scores `examples` under all protocols, each text cut to its first `max_length` ids.
///
/// `end_of_text` is the id that closes each example and pads it under `notebook`. An example of `max_length` ids that
/// ends with it counts as complete, so its end-of-text is padding there, not text. `on_batch` hears, after each batch,
/// how many are done and how many there are. The result does not depend on `batch_size` (0 counts as 1) beyond
/// rounding.
///
/// # Errors
///
/// `max_length` is below 2 or above the model's positions, an id is outside the vocabulary, a protocol has no token
/// to count, or a loss is not finite.
pub fn evaluate<B: NeoBackend>(
    model: &GptNeo<B>,
    examples: &[Example],
    end_of_text: u32,
    max_length: usize,
    batch_size: usize,
    mut on_batch: impl FnMut(usize, usize),
) -> Result<Evaluation, TrainingError> {
    check_length(model, max_length)?;
    check_ids(model, examples, end_of_text)?;
    let texts: Vec<Example> =
        examples.iter().map(|example| cut(example, example.ids.len(), max_length)).collect();
    let bare: Vec<Example> =
        examples.iter().map(|example| cut(example, text_length(example, end_of_text), max_length)).collect();
    let text_plan = plan(&texts, batch_size, 2);
    let notebook_plan = plan(&bare, batch_size, 1);
    let batches = text_plan.len() + notebook_plan.len();

    let mut text: Vec<Sum> = vec![(0.0, 0); examples.len()];
    let mut response = text.clone();
    let mut notebook = text.clone();
    for (done, indices) in text_plan.iter().enumerate() {
        let batch = collate(&texts, indices, end_of_text, Padding::Longest)?;
        let targets = every_target(&batch.lengths);
        // A target's own row of hidden states sees nothing to its right, so padding needs no mask.
        for (&(row, position), loss) in targets.iter().zip(target_losses(model, &batch, &targets, false)) {
            add(&mut text[indices[row]], loss);
            if position >= batch.response_from[row] {
                add(&mut response[indices[row]], loss);
            }
        }
        on_batch(done + 1, batches);
    }
    for (done, indices) in notebook_plan.iter().enumerate() {
        let batch = collate(&bare, indices, end_of_text, Padding::Fixed(max_length))?;
        let targets = every_target(&vec![max_length; batch.rows()]);
        for (&(row, _), loss) in targets.iter().zip(target_losses(model, &batch, &targets, true)) {
            notebook[indices[row]].0 += f64::from(loss);
        }
        for (&index, &length) in indices.iter().zip(&batch.lengths) {
            notebook[index].0 *= length as f64 / (max_length - 1) as f64;
            notebook[index].1 = length as u64;
        }
        on_batch(text_plan.len() + done + 1, batches);
    }
    check_finite(examples, &[&text, &response, &notebook])?;
    Ok(Evaluation {
        notebook: Score { standard_error: None, ..score(&notebook, "the notebook protocol")? },
        text: score(&text, "the text protocol")?,
        response: score(&response, "the response protocol")?,
    })
}

fn add(sum: &mut Sum, loss: f32) {
    sum.0 += f64::from(loss);
    sum.1 += 1;
}

fn total(sums: &[Sum]) -> Sum {
    sums.iter().fold((0.0, 0), |total, sum| (total.0 + sum.0, total.1 + sum.1))
}

/// The token-weighted mean of the examples' sums and its standard error.
fn score(sums: &[Sum], measure: &'static str) -> Result<Score, TrainingError> {
    let (sum, tokens) = total(sums);
    if tokens == 0 {
        return Err(TrainingError::NoTokens { measure, examples: sums.len() });
    }
    let loss = sum / tokens as f64;
    let counted = sums.iter().filter(|(_, tokens)| *tokens > 0);
    let n = counted.clone().count() as f64;
    let squares: f64 = counted.map(|&(sum, tokens)| (sum - loss * tokens as f64).powi(2)).sum();
    let standard_error = (n >= 2.0).then(|| (n / (n - 1.0) * squares).sqrt() / tokens as f64);
    Ok(Score { loss, perplexity: loss.min(LARGEST_LOSS).exp(), tokens, standard_error })
}

/// How many ids of an example are its text, without the end-of-text that was appended.
fn text_length(example: &Example, end_of_text: u32) -> usize {
    match example.ids.split_last() {
        Some((&last, text)) if last == end_of_text => text.len(),
        _ => example.ids.len(),
    }
}

/// The first `length` ids, and of those no more than `max_length`.
fn cut(example: &Example, length: usize, max_length: usize) -> Example {
    let mut example = example.clone();
    example.ids.truncate(length.min(max_length));
    example
}

/// Batches by length of the examples that have at least `shortest` ids.
fn plan(examples: &[Example], batch_size: usize, shortest: usize) -> Vec<Vec<usize>> {
    let counted: Vec<usize> = (0..examples.len()).filter(|&i| examples[i].ids.len() >= shortest).collect();
    let lengths: Vec<usize> = counted.iter().map(|&i| examples[i].ids.len()).collect();
    let batches = plan_by_length(&lengths, batch_size).into_iter();
    batches.map(|batch| batch.into_iter().map(|i| counted[i]).collect()).collect()
}

fn collate(
    examples: &[Example],
    indices: &[usize],
    padding_id: u32,
    padding: Padding,
) -> Result<TokenBatch, TrainingError> {
    let rows: Vec<&Example> = indices.iter().map(|&index| &examples[index]).collect();
    Ok(TokenBatch::collate(&rows, padding_id, padding)?)
}

/// Every position but the first of rows of these lengths, as (row, position).
fn every_target(lengths: &[usize]) -> Vec<(usize, usize)> {
    lengths.iter().enumerate().flat_map(|(row, &length)| (1..length).map(move |p| (row, p))).collect()
}

/// The negative log-likelihood of each target (row, position) in one forward pass; `hide_padding` masks the padding
/// as attention keys.
fn target_losses<B: NeoBackend>(
    model: &GptNeo<B>,
    batch: &TokenBatch,
    targets: &[(usize, usize)],
    hide_padding: bool,
) -> Vec<f32> {
    if targets.is_empty() {
        return Vec::new();
    }
    let (rows, width) = (batch.rows(), batch.width);
    let device = model.transformer.wte.weight.val().device();
    let ids: Vec<i32> = batch.ids.iter().map(|&id| id as i32).collect();
    // Position t is predicted by the hidden state before it.
    let sources: Vec<i32> = targets.iter().map(|&(row, t)| (row * width + t - 1) as i32).collect();
    let expected: Vec<i32> = targets.iter().map(|&(row, t)| ids[row * width + t]).collect();
    let padding = hide_padding.then(|| {
        let hidden: Vec<bool> = batch.lengths.iter().flat_map(|&n| (0..width).map(move |t| t >= n)).collect();
        Tensor::<B, 2, Bool>::from_data(TensorData::new(hidden, [rows, width]), &device)
    });
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [rows, width]), &device);
    let indices = |values: &[i32]| Tensor::<B, 1, Int>::from_data(values, &device);
    let hidden = model.hidden(ids, padding);
    let [_, _, size] = hidden.dims();
    // [rows, width, hidden] -> [rows * width, hidden] -> [targets, hidden]
    let hidden = hidden.reshape([rows * width, size]).select(0, indices(&sources));
    token_nll(hidden, model.head_weight(), indices(&expected)).into_data().iter::<f32>().collect()
}

fn check_length<B: NeoBackend>(model: &GptNeo<B>, max_length: usize) -> Result<(), TrainingError> {
    let positions = model.config().max_position_embeddings;
    if (2..=positions).contains(&max_length) {
        return Ok(());
    }
    Err(TrainingError::Settings(format!(
        "the longest length is {max_length} tokens; expected 2 to {positions}, the model's positions"
    )))
}

/// An id outside the vocabulary is undefined on a device: it is found here.
fn check_ids<B: NeoBackend>(model: &GptNeo<B>, examples: &[Example], pad: u32) -> Result<(), TrainingError> {
    let vocabulary = model.config().vocab_size;
    let largest = examples.iter().flat_map(|example| &example.ids).fold(pad, |a, &b| a.max(b));
    if (largest as usize) < vocabulary {
        return Ok(());
    }
    Err(TrainingError::Settings(format!(
        "the examples hold id {largest}; expected ids below {vocabulary}, the model's vocabulary: use the model's \
         own tokenizer"
    )))
}

fn check_finite(examples: &[Example], sums: &[&[Sum]]) -> Result<(), TrainingError> {
    let finite = |index: usize| sums.iter().all(|sums| sums[index].0.is_finite());
    let records: Vec<usize> =
        (0..examples.len()).filter(|&index| !finite(index)).map(|index| examples[index].record + 1).collect();
    if records.is_empty() { Ok(()) } else { Err(TrainingError::NonFiniteScore { records }) }
}

#[cfg(test)]
mod tests {
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
            let found =
                evaluate::<B>(&model(adapted), &examples, END_OF_TEXT, MAX_LENGTH, 8, |_, _| ()).unwrap();
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
}
