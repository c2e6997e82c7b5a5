//! A model on a data file: loss and perplexity by three protocols.

use std::path::Path;

use gptneo_datasets::Encoded;
use gptneo_model::{NeoBackend, WeightFormat};
use gptneo_training::measure::{Evaluation, evaluate as measure};

use super::model_folder::ModelFolder;
use crate::backend::{Job, Load, Place, Work, dispatch, smaller_batches};
use crate::error::Result;

/// What is measured, and how.
#[derive(Clone, Copy)]
pub struct Evaluate<'a> {
    /// The model.
    pub model: &'a ModelFolder,
    /// The folder of an adapter over it.
    pub adapter: Option<&'a Path>,
    /// The format that the weights are kept in.
    pub weights: WeightFormat,
    /// The texts.
    pub texts: &'a Encoded,
    /// The longest text in tokens, to which one protocol pads.
    pub max_length: usize,
    /// Texts in a batch; the result does not depend on it beyond rounding.
    pub batch_size: usize,
}

/// Measures; `on_batch` hears how many of how many batches are done.
///
/// # Errors
/// The device lacks room, a file does not fit, or a loss is not finite.
pub fn evaluate(
    place: Place,
    what: Evaluate<'_>,
    on_batch: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Evaluation> {
    place.check_weights(what.weights)?;
    let examples = what.texts.examples.len().max(1);
    let rows = what.batch_size.min(examples);
    place.check_room_for(what.weights, what.model.config(), rows, what.max_length)?;
    // The largest batch has at least the mean's tokens.
    let all: usize = what.texts.examples.iter().map(|example| example.ids.len()).sum();
    place.check_memory(&Load {
        model: what.model.config(),
        weights: what.weights,
        work: Work::Answering,
        positions: all as f64 / examples.div_ceil(rows.max(1)) as f64,
        smaller: smaller_batches(),
    })?;
    dispatch(place, Measure { what, on_batch })
}

struct Measure<'a> {
    what: Evaluate<'a>,
    on_batch: &'a mut (dyn FnMut(usize, usize) + Send),
}

impl Job for Measure<'_> {
    type Output = Evaluation;

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Evaluation> {
        let Evaluate { model: folder, adapter, weights, texts, max_length, batch_size } = self.what;
        let model = folder.load_adapted::<B>(adapter, weights, &device)?;
        let end_of_text = folder.tokenizer().end_of_text();
        Ok(measure::<B>(&model, &texts.examples, end_of_text, max_length, batch_size, self.on_batch)?)
    }
}
