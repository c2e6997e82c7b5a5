//! Burn's data loaders over what is known before a run starts: the steps of its [`BatchOrder`], and the validation
//! batches.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use gptneo_datasets::{Example, TokenBatch, batches_by_length};

use crate::TrainingError;
use crate::batch_order::{BatchOrder, collate};
use crate::step_input::StepInput;

/// The steps of a run from one on to another.
#[derive(Clone)]
pub(crate) struct StepLoader {
    order: Arc<BatchOrder>,
    from: usize,
    to: usize,
}

impl StepLoader {
    /// The steps after the first `done`.
    pub(crate) fn new(order: Arc<BatchOrder>, done: usize) -> Self {
        let to = order.total_steps();
        Self { order, from: done, to }
    }
}

impl<B: Backend> DataLoader<B, StepInput> for StepLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<StepInput> + 'a> {
        let total = DataLoader::<B, StepInput>::num_items(self);
        // Every batch's examples were looked at when the order was made, so none fails here; if one did, the run
        // would tell that its steps ended early.
        let steps = self.order.steps_after(self.from).map_while(Result::ok).take(total);
        Box::new(Counted { items: steps, done: 0, total })
    }

    fn num_items(&self) -> usize {
        self.to.saturating_sub(self.from)
    }

    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, StepInput>> {
        // Steps hold no tensors; the model puts them on its own device.
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, StepInput>> {
        let place = |index: usize| self.from.saturating_add(index).min(self.to);
        Arc::new(Self { order: self.order.clone(), from: place(start), to: place(end) })
    }
}

/// The batches that are measured on, grouped by length.
#[derive(Clone)]
pub(crate) struct ValidationLoader {
    batches: Arc<[TokenBatch]>,
}

impl ValidationLoader {
    /// # Errors
    ///
    /// A batch that cannot be put together.
    pub(crate) fn new(examples: &[Example], batch_size: usize) -> Result<Self, TrainingError> {
        let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        let batches = batches_by_length(&lengths, batch_size);
        let batches = batches.iter().map(|group| collate(examples, group));
        Ok(Self { batches: batches.collect::<Result<_, _>>()? })
    }
}

impl<B: Backend> DataLoader<B, TokenBatch> for ValidationLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TokenBatch> + 'a> {
        Box::new(Counted { items: self.batches.iter().cloned(), done: 0, total: self.batches.len() })
    }

    fn num_items(&self) -> usize {
        self.batches.len()
    }

    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, TokenBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, TokenBatch>> {
        let end = end.min(self.batches.len());
        Arc::new(Self { batches: self.batches[start.min(end)..end].into() })
    }
}

/// An iterator that knows how far it is.
struct Counted<I> {
    items: I,
    done: usize,
    total: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let item = self.items.next()?;
        self.done += 1;
        Some(item)
    }
}

impl<I: Iterator> DataLoaderIterator<I::Item> for Counted<I> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total)
    }
}
