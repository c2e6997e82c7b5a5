//! Perplexity under three protocols on the same examples, and the loss that is watched during training.
//!
//! `text` and `response` score real tokens only and come from one pass. `notebook` repeats a common mistake so that
//! its numbers can be compared: it pads every text with end-of-text, scores the padding as well, and weights each
//! text's mean by its count of real tokens. Any adapter learns to predict padding at once, so read it beside `text`.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use gptneo_datasets::{Example, Padding, TokenBatch, batches_by_length};
use gptneo_model::{GptNeo, NeoBackend, device_failure};
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
    /// The bits that all tokens cost together for each byte of the text that they stand for: what models with
    /// different vocabularies compare by. `None` until [`Evaluation::in_bytes`] says how many bytes there are, and
    /// under `notebook`.
    #[serde(default)]
    pub bits_per_byte: Option<f64>,
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

/// What one example's answer and its end-of-text lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecordLoss {
    /// The record, as [`Example::record`].
    pub record: usize,
    /// Summed negative log-likelihood in nats.
    pub loss: f64,
    /// The tokens in the sum.
    pub tokens: u64,
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
    on_batch: impl FnMut(usize, usize),
) -> Result<Evaluation, TrainingError> {
    evaluate_records(model, examples, end_of_text, max_length, batch_size, on_batch).map(|found| found.0)
}

/// As [`evaluate`], with what each example lost under `response`, in the examples' order.
///
/// # Errors
///
/// As [`evaluate`].
pub fn evaluate_records<B: NeoBackend>(
    model: &GptNeo<B>,
    examples: &[Example],
    end_of_text: u32,
    max_length: usize,
    batch_size: usize,
    mut on_batch: impl FnMut(usize, usize),
) -> Result<(Evaluation, Vec<RecordLoss>), TrainingError> {
    check_length(model, max_length)?;
    check_ids(model, examples, end_of_text)?;
    let texts: Vec<Example> =
        examples.iter().map(|example| cut(example, example.ids.len(), max_length)).collect();
    let bare: Vec<Example> =
        examples.iter().map(|example| cut(example, text_length(example, end_of_text), max_length)).collect();
    let text_batches = by_length(&texts, batch_size, 2);
    let notebook_batches = by_length(&bare, batch_size, 1);
    let batches = text_batches.len() + notebook_batches.len();

    let mut text: Vec<Sum> = vec![(0.0, 0); examples.len()];
    let mut response = text.clone();
    let mut notebook = text.clone();
    for (done, indices) in text_batches.iter().enumerate() {
        let batch = collate(&texts, indices, end_of_text, Padding::Longest)?;
        let targets = every_target(&batch.lengths);
        // A target's own row of hidden states sees nothing to its right, so padding needs no mask.
        for (&(row, position), loss) in
            targets.iter().zip(target_losses(model, &batch, &targets, Padded::Seen))
        {
            add(&mut text[indices[row]], loss);
            if batch.is_response(row, position) {
                add(&mut response[indices[row]], loss);
            }
        }
        device_failure::check()?;
        on_batch(done + 1, batches);
    }
    for (done, indices) in notebook_batches.iter().enumerate() {
        let batch = collate(&bare, indices, end_of_text, Padding::Fixed(max_length))?;
        let targets = every_target(&vec![max_length; batch.rows()]);
        for (&(row, _), loss) in targets.iter().zip(target_losses(model, &batch, &targets, Padded::Hidden)) {
            notebook[indices[row]].0 += f64::from(loss);
        }
        for (&index, &length) in indices.iter().zip(&batch.lengths) {
            notebook[index].0 *= length as f64 / (max_length - 1) as f64;
            notebook[index].1 = length as u64;
        }
        device_failure::check()?;
        on_batch(text_batches.len() + done + 1, batches);
    }
    check_finite(examples, &[&text, &response, &notebook])?;
    let evaluation = Evaluation {
        notebook: Score { standard_error: None, ..score(&notebook, "the notebook protocol")? },
        text: score(&text, "the text protocol")?,
        response: score(&response, "the response protocol")?,
    };
    let rows = examples.iter().zip(&response);
    let losses = rows.map(|(example, &(loss, tokens))| RecordLoss { record: example.record, loss, tokens });
    Ok((evaluation, losses.collect()))
}

fn add(sum: &mut Sum, loss: f32) {
    sum.0 += f64::from(loss);
    sum.1 += 1;
}

fn total(sums: &[Sum]) -> Sum {
    sums.iter().fold((0.0, 0), |total, sum| (total.0 + sum.0, total.1 + sum.1))
}

/// The score of the examples' sums.
fn score(sums: &[Sum], measure: &'static str) -> Result<Score, TrainingError> {
    let (loss, tokens, standard_error) =
        ratio(sums).ok_or(TrainingError::NoTokens { measure, examples: sums.len() })?;
    let perplexity = loss.min(LARGEST_LOSS).exp();
    Ok(Score { loss, perplexity, tokens, standard_error, bits_per_byte: None })
}

/// The token-weighted mean of sums, their tokens, and the mean's standard error; nothing without a token.
pub(crate) fn ratio(sums: &[Sum]) -> Option<(f64, u64, Option<f64>)> {
    let (sum, tokens) = total(sums);
    if tokens == 0 {
        return None;
    }
    let mean = sum / tokens as f64;
    let counted = sums.iter().filter(|(_, tokens)| *tokens > 0);
    let n = counted.clone().count() as f64;
    let squares: f64 = counted.map(|&(sum, tokens)| (sum - mean * tokens as f64).powi(2)).sum();
    let standard_error = (n >= 2.0).then(|| (n / (n - 1.0) * squares).sqrt() / tokens as f64);
    Some((mean, tokens, standard_error))
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
fn by_length(examples: &[Example], batch_size: usize, shortest: usize) -> Vec<Vec<usize>> {
    let counted: Vec<usize> = (0..examples.len()).filter(|&i| examples[i].ids.len() >= shortest).collect();
    let lengths: Vec<usize> = counted.iter().map(|&i| examples[i].ids.len()).collect();
    let batches = batches_by_length(&lengths, batch_size).into_iter();
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

/// Whether attention sees padding as keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padded {
    /// It does, which no target to the left of all padding notices.
    Seen,
    /// It is masked.
    Hidden,
}

/// The negative log-likelihood of each target (row, position) in one forward pass.
fn target_losses<B: NeoBackend>(
    model: &GptNeo<B>,
    batch: &TokenBatch,
    targets: &[(usize, usize)],
    padded: Padded,
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
    let padding = (padded == Padded::Hidden).then(|| {
        let hidden: Vec<bool> = batch.lengths.iter().flat_map(|&n| (0..width).map(move |t| t >= n)).collect();
        Tensor::<B, 2, Bool>::from_data(TensorData::new(hidden, [rows, width]), &device)
    });
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [rows, width]), &device);
    let indices = |values: &[i32]| Tensor::<B, 1, Int>::from_data(values, &device);
    let hidden = model.hidden_padded(ids, padding);
    let [_, _, size] = hidden.dims();
    // [rows, width, hidden] -> [rows * width, hidden] -> [targets, hidden]
    let hidden = hidden.reshape([rows * width, size]).select(0, indices(&sources));
    model.token_nll(hidden, indices(&expected)).into_data().iter::<f32>().collect()
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
mod tests;
