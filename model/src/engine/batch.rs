//! The sequences that are continued together, step by step, over one cache.
//!
//! A sequence's numbers do not depend on the others, nor on how its prompt was cut, because what decides in which order a
//! row of a product is summed follows from the row's place in its prompt alone. There are two kinds of passes. Whole
//! blocks of a prompt, of [`WIDE_ROWS`] tokens counted from its first, are read in wide passes of nothing but such blocks:
//! a backend may take its products for many rows there, which are the same for any number of blocks. All other tokens, the
//! rest of a prompt and each new token, go in narrow passes of at most [`NeoBackend::narrow_rows`] rows, for which it has
//! products that are the same for any number of rows. Attention is each sequence's own, and low-rank updates are made row
//! by row.
//!
//! A step is a wide pass where there are blocks to read, and narrow passes with a row of every sequence that goes on and,
//! in the rows that are left, the rests of prompts. Where a device works ahead, see [`ahead`].

mod ahead;
mod shares;

use burn::tensor::backend::Backend;
use burn::tensor::ops::IntTensor;
use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;

use self::ahead::Chosen;
use self::shares::Share;
use super::event::{Event, Listener, Reason};
use super::places::FreePlaces;
use super::sequence::{Outcome, Sequence};
use super::{Adapter, EngineLimits, Request};
use crate::cache::KvCache;
use crate::device::failure;
use crate::ops::WIDE_ROWS;
use crate::pass::{Ids, NextTokens, Pass};
use crate::{GptNeo, ModelError, NeoBackend};

/// Rows whose logits exist at a time; whole blocks.
const HEAD_ROWS: usize = 4 * WIDE_ROWS;

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
    cache: KvCache<B>,
    free: FreePlaces,
    running: Vec<Member<L>>,
    /// Members so far.
    joined: u64,
    /// Whether the device chooses the likeliest tokens, where nothing else is asked of the logits, and they are heard late.
    works_ahead: bool,
    chosen: Option<Chosen<B>>,
}

struct Member<L> {
    /// It has none of the others'.
    number: u64,
    sequence: Sequence,
    listener: L,
    /// What is to be told last, once it is known.
    last: Option<Event>,
}

impl<B: NeoBackend, L: Listener> Batch<B, L> {
    /// None yet; the cache's memory is taken.
    pub(crate) fn new(model: &GptNeo<B>, adapters: Vec<Adapter<B>>, limits: EngineLimits) -> Self {
        let device = model.transformer.ln_f.weight.val().device();
        let cache = KvCache::new(model.config(), limits.cache_tokens, &device);
        let free = FreePlaces::all(cache.places());
        let (running, joined, works_ahead, chosen) = (Vec::new(), 0, B::works_ahead(), None);
        Self { adapters, limits, cache, free, running, joined, works_ahead, chosen }
    }

    /// As on a device that works ahead.
    #[cfg(test)]
    pub(crate) fn working_ahead(self) -> Self {
        Self { works_ahead: true, ..self }
    }

    /// Whether tokens have been chosen that were not heard of.
    #[cfg(test)]
    pub(crate) fn is_ahead(&self) -> bool {
        self.chosen.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Tokens of the cache that no sequence has.
    pub(crate) fn free_tokens(&self) -> usize {
        self.free.count()
    }

    /// Whether a request could join now.
    pub(crate) fn has_room(&self, request: &Request) -> bool {
        self.len() < self.limits.max_batch && request.tokens_read() <= self.free_tokens()
    }

    /// Takes a request in, for which there is room, and which has been checked.
    ///
    /// # Errors
    ///
    /// There is no room, or the sampling settings are wrong.
    pub(crate) fn join(
        &mut self,
        request: Request,
        adapter: Option<usize>,
        listener: L,
    ) -> Result<(), ModelError> {
        let needed = request.tokens_read();
        let places = self.free.take(needed).ok_or_else(|| {
            let free = self.free_tokens();
            ModelError::Unanswered(format!(
                "a sequence needs {needed} tokens of the cache, and {free} are free"
            ))
        })?;
        let sequence = Sequence::new(request, adapter, places)?;
        self.running.push(Member { number: self.joined, sequence, listener, last: None });
        self.joined += 1;
        Ok(())
    }

    /// Ends all sequences without a word.
    pub(crate) fn leave_all(&mut self) -> Vec<L> {
        self.running.iter_mut().for_each(|member| member.last = Some(Event::Finished(Reason::Cancelled)));
        self.part().into_iter().map(|(listener, _)| listener).collect()
    }

    /// Lets those go that nobody wants or that ended; their places are free again.
    fn part(&mut self) -> Vec<(L, Event)> {
        let mut parted = Vec::new();
        let free = &mut self.free;
        for member in std::mem::take(&mut self.running) {
            match member {
                Member { sequence, listener, last: Some(last), .. } => {
                    free.give_back(&sequence.places);
                    parted.push((listener, last));
                }
                member => self.running.push(member),
            }
        }
        parted
    }

    /// Reads and continues.
    ///
    /// # Errors
    ///
    /// The device failed: no sequence can go on.
    pub(crate) fn step(&mut self, model: &GptNeo<B>) -> Result<Progress<L>, ModelError> {
        for member in &mut self.running {
            if member.listener.has_left() {
                member.last = Some(Event::Finished(Reason::Cancelled));
            }
        }
        let mut progress = Progress { prompt_tokens: 0, new_tokens: 0, ended: self.part() };
        // A prompt of one token that is only to be scored: there is nothing to read.
        self.finish_scored();
        self.hear_chosen(model, &mut progress)?;
        if self.chosen.is_none() {
            let (narrow, blocks) = (self.narrow_passes(), self.blocks());
            if blocks.is_empty()
                && let [shares] = &narrow[..]
                && self.only_chooses(shares)
            {
                self.choose(model, shares, &mut progress);
            } else {
                // Those that go on do not wait for what this step reads of others' blocks.
                for shares in narrow {
                    self.pass(model, &shares, &mut progress)?;
                }
                if !blocks.is_empty() {
                    self.pass(model, &blocks, &mut progress)?;
                }
            }
        }
        progress.ended.extend(self.part());
        Ok(progress)
    }

    /// Reads these tokens: the hidden state of each, and the pieces of them whose logits are wanted.
    fn read(
        &mut self,
        model: &GptNeo<B>,
        shares: &[Share],
        progress: &mut Progress<L>,
    ) -> (Tensor<B, 2>, Vec<Piece>) {
        let (mut all, mut next) = (Vec::new(), Vec::with_capacity(shares.len()));
        for (index, count) in shares {
            let sequence = &self.running[*index].sequence;
            let (ids, places) = sequence.next(*count);
            all.extend(ids.iter().map(|id| *id as i32));
            next.push(NextTokens { count: *count, places, adapter: sequence.adapter });
        }
        let pass = Pass::new(&next, Ids::Known(all), &self.adapters);
        let hidden = model.hidden_rows(&pass, &mut self.cache);
        let mut pieces = Vec::new();
        let mut row = 0;
        for (index, rows) in shares {
            let sequence = &mut self.running[*index].sequence;
            progress.prompt_tokens += if sequence.is_reading() { *rows } else { 0 };
            let wanted = sequence.wanted(*rows);
            let first = row + rows - wanted.len();
            pieces.extend(wanted.clone().step_by(HEAD_ROWS).map(|position| Piece {
                member: *index,
                position,
                first_row: first + position - wanted.start,
                rows: HEAD_ROWS.min(wanted.end - position),
            }));
            sequence.advance(*rows);
            row += rows;
        }
        (hidden, pieces)
    }

    /// Reads these tokens, and hears what comes of them.
    fn pass(
        &mut self,
        model: &GptNeo<B>,
        shares: &[Share],
        progress: &mut Progress<L>,
    ) -> Result<(), ModelError> {
        let (hidden, pieces) = self.read(model, shares, progress);
        let mut left = &pieces[..];
        while !left.is_empty() {
            let mut rows = 0;
            let fit = left.iter().take_while(|piece| {
                rows += piece.rows;
                rows <= HEAD_ROWS
            });
            let (some, rest) = left.split_at(fit.count());
            let logits = logits(model, &hidden, some);
            let vocabulary = model.config().vocab_size;
            let takes_likeliest = |piece: &Piece| self.running[piece.member].sequence.takes_likeliest();
            if self.works_ahead && some.iter().all(takes_likeliest) {
                let ids = Tensor::<B, 1, Int>::from_primitive(likeliest(logits)).into_data();
                failure::check()?;
                self.hear(some, found_in(&ids), vocabulary, progress);
            } else {
                let mut logits = to_host(logits)?;
                let found = of_each(some, &mut logits, vocabulary).into_iter().map(Found::Logits);
                self.hear(some, found, vocabulary, progress);
            }
            left = rest;
        }
        self.finish_scored();
        Ok(())
    }

    /// Hands each member what was found of its rows, and tells what comes of it.
    fn hear<'a>(
        &mut self,
        pieces: &[Piece],
        found: impl Iterator<Item = Found<'a>>,
        vocabulary: usize,
        progress: &mut Progress<L>,
    ) {
        let mut members: Vec<Option<&mut Member<L>>> = self.running.iter_mut().map(Some).collect();
        let mut listeners = Vec::with_capacity(pieces.len());
        let mut work = Vec::with_capacity(pieces.len());
        for (piece, of_piece) in pieces.iter().zip(found) {
            // A member has one piece among those whose logits exist together.
            if let Some(Member { sequence, listener, last, .. }) = members[piece.member].take()
                && last.is_none()
            {
                listeners.push((listener, last));
                work.push((sequence, piece.position, of_piece));
            }
        }
        let outcomes: Vec<Outcome> = work
            .into_par_iter()
            .map(|(sequence, position, found)| match found {
                Found::Logits(logits) => sequence.hear(position, logits, vocabulary),
                Found::Likeliest(id) => sequence.hear_likeliest(id),
            })
            .collect();
        for ((listener, last), outcome) in listeners.into_iter().zip(outcomes) {
            let tokens = outcome.events.iter().filter(|event| matches!(event, Event::Token { .. }));
            progress.new_tokens += tokens.count();
            outcome.events.into_iter().for_each(|event| listener.hear(event));
            *last = outcome.last;
        }
    }

    /// Tells the scores of prompts that have been read and are not continued.
    fn finish_scored(&mut self) {
        for member in &mut self.running {
            if member.last.is_none() && member.sequence.is_scored() {
                let Outcome { events, last } = member.sequence.finish_prompt();
                events.into_iter().for_each(|event| member.listener.hear(event));
                member.last = last;
            }
        }
    }
}

/// Rows of a pass whose logits are wanted: a member's, from a position of its text on.
struct Piece {
    member: usize,
    position: usize,
    first_row: usize,
    rows: usize,
}

impl Piece {
    /// The row of a token that was chosen.
    fn of_one(member: usize) -> Self {
        Self { member, position: 0, first_row: 0, rows: 1 }
    }
}

/// What the device found of a piece's rows.
enum Found<'a> {
    /// Their logits, one row after the other.
    Logits(&'a mut [f32]),
    /// The likeliest token of its one row; none where the logits are not numbers.
    Likeliest(Option<u32>),
}

/// The logits of each piece.
fn of_each<'a>(pieces: &[Piece], mut logits: &'a mut [f32], vocabulary: usize) -> Vec<&'a mut [f32]> {
    let rows = pieces.iter().map(|piece| {
        let (of_piece, rest) = std::mem::take(&mut logits).split_at_mut(piece.rows * vocabulary);
        logits = rest;
        of_piece
    });
    rows.collect()
}

/// The logits of some rows of the hidden states `[rows, hidden]`, one after the other, `[rows, vocabulary]`.
fn logits<B: NeoBackend>(model: &GptNeo<B>, hidden: &Tensor<B, 2>, pieces: &[Piece]) -> Tensor<B, 2> {
    let rows: Vec<i32> = pieces
        .iter()
        .flat_map(|piece| piece.first_row..piece.first_row + piece.rows)
        .map(|row| row as i32)
        .collect();
    let [all, _] = hidden.dims();
    let wanted = if rows.len() == all {
        hidden.clone()
    } else {
        let count = rows.len();
        let rows = Tensor::<B, 1, Int>::from_data(TensorData::new(rows, [count]), &hidden.device());
        hidden.clone().select(0, rows)
    };
    model.logits(wanted).cast(DType::F32)
}

/// The likeliest token of each row of logits; -1 where these are not numbers.
fn likeliest<B: NeoBackend>(logits: Tensor<B, 2>) -> IntTensor<B> {
    B::likeliest(logits.into_primitive().tensor())
}

/// What such tokens say.
fn found_in(ids: &TensorData) -> impl Iterator<Item = Found<'static>> {
    ids.iter::<i64>().map(|id| Found::Likeliest(u32::try_from(id).ok()))
}

/// Logits in the host's memory.
fn to_host<B: NeoBackend>(logits: Tensor<B, 2>) -> Result<Vec<f32>, ModelError> {
    let logits = logits.into_data();
    failure::check()?;
    logits.into_vec().map_err(|error| ModelError::Unanswered(format!("the logits cannot be read: {error:?}")))
}
