//! What a model loses on the end of a text given its beginning: the ground of every measure that ranks answers.

use burn::tensor::{Int, Tensor, TensorData};
use gptneo_datasets::{Example, batches_by_length};
use gptneo_model::{GptNeo, NeoBackend, device_failure};

use crate::error::TrainingError;

/// The negative log-likelihood in nats of each token from [`Example::response_from`] on, text by text.
///
/// `on_batch` hears, after each batch, how many are done and how many there are. The result does not depend on
/// `batch_size` (0 counts as 1) beyond rounding.
///
/// # Errors
/// An id is outside the vocabulary, a text has no beginning or too many tokens, or a loss is not finite.
pub(super) fn continuation_losses<B: NeoBackend>(
    model: &GptNeo<B>,
    texts: &[&Example],
    batch_size: usize,
    mut on_batch: impl FnMut(usize, usize),
) -> Result<Vec<Vec<f32>>, TrainingError> {
    check(model, texts)?;
    let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    let batches = batches_by_length(&lengths, batch_size);
    let mut losses = vec![Vec::new(); texts.len()];
    for (done, indices) in batches.iter().enumerate() {
        let rows: Vec<&Example> = indices.iter().map(|&index| texts[index]).collect();
        let mut found = batch_losses(model, &rows).into_iter();
        for (&index, row) in indices.iter().zip(&rows) {
            losses[index] = found.by_ref().take(row.ids.len() - row.response_from).collect();
        }
        device_failure::check()?;
        on_batch(done + 1, batches.len());
    }
    let broken = |index: &usize| losses[*index].iter().any(|loss| !loss.is_finite());
    let mut records: Vec<usize> =
        (0..texts.len()).filter(broken).map(|index| texts[index].record + 1).collect();
    records.dedup();
    if records.is_empty() { Ok(losses) } else { Err(TrainingError::NonFiniteScore { records }) }
}

/// The losses of all rows' continuations, row after row, in one forward pass.
fn batch_losses<B: NeoBackend>(model: &GptNeo<B>, rows: &[&Example]) -> Vec<f32> {
    // A row's last token is predicted, never read.
    let width = rows.iter().map(|row| row.ids.len() - 1).max().unwrap_or(0);
    let (mut ids, mut sources, mut expected) =
        (Vec::with_capacity(rows.len() * width), Vec::new(), Vec::new());
    for (at, row) in rows.iter().enumerate() {
        let read = &row.ids[..row.ids.len() - 1];
        ids.extend(read.iter().map(|&id| id as i32));
        // No target sees what is to its right, so any id pads.
        ids.resize((at + 1) * width, 0);
        for (target, id) in row.ids.iter().enumerate().skip(row.response_from) {
            sources.push((at * width + target - 1) as i32);
            expected.push(*id as i32);
        }
    }
    if expected.is_empty() {
        return Vec::new();
    }
    let device = model.transformer.wte.weight.val().device();
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, [rows.len(), width]), &device);
    let indices = |values: &[i32]| Tensor::<B, 1, Int>::from_data(values, &device);
    let hidden = model.hidden(ids);
    let [batch, width, size] = hidden.dims();
    // [batch, width, hidden] -> [batch * width, hidden] -> [targets, hidden]
    let hidden = hidden.reshape([batch * width, size]).select(0, indices(&sources));
    model.token_nll(hidden, indices(&expected)).into_data().iter::<f32>().collect()
}

fn check<B: NeoBackend>(model: &GptNeo<B>, texts: &[&Example]) -> Result<(), TrainingError> {
    let (vocabulary, positions) = (model.config().vocab_size, model.config().max_position_embeddings);
    for text in texts {
        let (length, from) = (text.ids.len(), text.response_from);
        if from == 0 || from > length || length > positions + 1 {
            return Err(TrainingError::Settings(format!(
                "a text of record {} has {from} tokens before its answer and {length} in all; expected at least one \
                 before it and at most {} in all, for the model has {positions} positions",
                text.record + 1,
                positions + 1
            )));
        }
        if let Some(id) = text.ids.iter().find(|id| **id as usize >= vocabulary) {
            return Err(TrainingError::Settings(format!(
                "the texts hold id {id}; expected ids below {vocabulary}, the model's vocabulary: use the model's own \
                 tokenizer"
            )));
        }
    }
    Ok(())
}
