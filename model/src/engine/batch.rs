//! The sequences that are continued together, step by step.

use std::collections::VecDeque;

use super::event::{Event, Listener, Reason};
use super::{Adapter, EngineLimits, Request};
use crate::generate::{FinishReason, GenerationConfig, generate};
use crate::{GptNeo, ModelError, NeoBackend};
use burn::tensor::backend::Backend;

/// What a step brought about.
pub(crate) struct Progress<L> {
    /// Tokens of prompts that were read.
    pub(crate) prompt_tokens: usize,
    /// Tokens that were chosen and told.
    pub(crate) new_tokens: usize,
    /// Sequences that ended, with their last event, which is yet to be told.
    pub(crate) ended: Vec<(L, Event)>,
}

/// The sequences.
pub(crate) struct Batch<B: Backend, L> {
    adapters: Vec<Adapter<B>>,
    limits: EngineLimits,
    running: VecDeque<(Request, Option<usize>, L)>,
}

impl<B: NeoBackend, L: Listener> Batch<B, L> {
    pub(crate) fn new(_model: &GptNeo<B>, adapters: Vec<Adapter<B>>, limits: EngineLimits) -> Self {
        Self { adapters, limits, running: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn free_tokens(&self) -> usize {
        self.limits.cache_tokens
            - self.running.iter().map(|(request, ..)| request.tokens_read()).sum::<usize>()
    }

    /// Whether a request could join now.
    pub(crate) fn has_room(&self, request: &Request) -> bool {
        self.len() < self.limits.max_batch && request.tokens_read() <= self.free_tokens()
    }

    /// Takes a request in, for which there is room.
    pub(crate) fn join(
        &mut self,
        request: Request,
        adapter: Option<usize>,
        listener: L,
    ) -> Result<(), ModelError> {
        self.running.push_back((request, adapter, listener));
        Ok(())
    }

    /// Ends all sequences without a word.
    pub(crate) fn leave_all(&mut self) -> Vec<L> {
        self.running.drain(..).map(|(_, _, listener)| listener).collect()
    }

    /// Reads and continues.
    pub(crate) fn step(&mut self, model: &GptNeo<B>) -> Result<Progress<L>, ModelError> {
        let mut progress = Progress { prompt_tokens: 0, new_tokens: 0, ended: Vec::new() };
        let Some((request, adapter, mut listener)) = self.running.pop_front() else { return Ok(progress) };
        if listener.has_left() {
            progress.ended.push((listener, Event::Finished(Reason::Cancelled)));
            return Ok(progress);
        }
        let mut model = model.clone();
        if let Some(adapter) = adapter {
            for ((_, _, linear), update) in model.linears_mut().zip(&self.adapters[adapter].updates) {
                linear.lora = update.clone();
            }
        }
        let config = GenerationConfig {
            max_new_tokens: request.max_new_tokens,
            sampling: request.sampling.config.clone(),
            end_of_text: request.end_tokens.first().copied(),
        };
        progress.prompt_tokens = request.prompt.len();
        let texts = generate(&model, &[request.prompt], &config, |_, id| {
            progress.new_tokens += 1;
            listener.hear(Event::Token { id, score: None });
        })?;
        for text in texts {
            let reason = match text.finish {
                FinishReason::Stop => Reason::EndToken,
                FinishReason::Length => Reason::Length,
            };
            progress.ended.push((listener, Event::Finished(reason)));
            break;
        }
        Ok(progress)
    }
}
