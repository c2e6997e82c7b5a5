//! Tokens that the device has chosen and the host has not heard of yet. The next pass reads them where they are, and is
//! launched before they are waited for, so that the device has work while the host tells them.
//!
//! That needs every sequence to take its likeliest token and none to read a prompt, whose first token is told at once; and where
//! one has its last token, or joins or leaves, a step is heard before the next begins. A text that turns out to have ended has
//! been read one token too far, which nobody hears of.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor};

use super::shares::Share;
use super::{Batch, HEAD_ROWS, Piece, Progress, found_in, likeliest, logits};
use crate::device::failure;
use crate::engine::event::Listener;
use crate::ops::Reading;
use crate::pass::{Ids, NextTokens, Pass};
use crate::{GptNeo, ModelError, NeoBackend};

/// What the last pass chose.
pub(super) struct Chosen<B: Backend> {
    /// The members, by their numbers, a row each.
    members: Vec<u64>,
    /// Their tokens, `[rows]`; -1 where the logits are not numbers.
    ids: Tensor<B, 1, Int>,
    /// The same on their way to the host.
    reading: Reading,
}

impl<B: NeoBackend> Chosen<B> {
    fn of(members: Vec<u64>, logits: Tensor<B, 2>) -> Self {
        let ids = likeliest(logits);
        let no_floats = Vec::new();
        let reading = B::read_later(no_floats, vec![ids.clone()]);
        Self { members, ids: Tensor::from_primitive(ids), reading }
    }
}

impl<B: NeoBackend, L: Listener> Batch<B, L> {
    /// Whether nothing comes of this pass but the likeliest next token of every sequence, and these may be heard late.
    pub(super) fn only_chooses(&self, shares: &[Share]) -> bool {
        let chooses = |(index, rows): &Share| {
            let sequence = &self.running[*index].sequence;
            sequence.takes_likeliest() && !sequence.is_reading() && *rows == 1
        };
        let all = shares.len() == self.going_on() && shares.len() <= HEAD_ROWS;
        self.works_ahead && all && shares.iter().all(chooses)
    }

    /// Reads these tokens and has what follows them chosen.
    pub(super) fn choose(&mut self, model: &GptNeo<B>, shares: &[Share], progress: &mut Progress<L>) {
        let (hidden, pieces) = self.read(model, shares, progress);
        let members = shares.iter().map(|(index, _)| self.running[*index].number).collect();
        self.chosen = Some(Chosen::of(members, logits(model, &hidden, &pieces)));
    }

    /// Tells what was chosen, once the pass behind it is launched if there is one.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub(super) fn hear_chosen(
        &mut self,
        model: &GptNeo<B>,
        progress: &mut Progress<L>,
    ) -> Result<(), ModelError> {
        let Some(Chosen { members, ids, reading }) = self.chosen.take() else { return Ok(()) };
        let places: Vec<Option<usize>> = members.iter().map(|number| self.place_of(*number)).collect();
        if let Some(all) = places.iter().copied().collect::<Option<Vec<usize>>>()
            && all.len() == self.going_on()
            && all.iter().all(|index| self.running[*index].sequence.goes_on_behind_chosen())
        {
            self.chosen = Some(self.follow(model, &all, ids));
        }
        let heard = reading.wait();
        // What failed on the device is the cause of whatever failed after it.
        failure::check()?;
        let heard = heard?;
        let found = heard.iter().flat_map(found_in);
        let (pieces, found): (Vec<Piece>, Vec<_>) = places
            .into_iter()
            .zip(found)
            .filter_map(|(index, found)| Some((Piece::of_one(index?), found)))
            .unzip();
        self.hear(&pieces, found.into_iter(), model.config().vocab_size, progress);
        Ok(())
    }

    /// Reads the tokens that were chosen for these members, and has what follows them chosen.
    fn follow(&mut self, model: &GptNeo<B>, indices: &[usize], ids: Tensor<B, 1, Int>) -> Chosen<B> {
        let next: Vec<NextTokens<'_>> = indices
            .iter()
            .map(|index| {
                let sequence = &self.running[*index].sequence;
                NextTokens { count: 1, places: sequence.places_to_chosen(), adapter: sequence.adapter }
            })
            .collect();
        let pass = Pass::new(&next, Ids::Chosen(ids), &self.adapters);
        let hidden = model.hidden_rows(&pass, &mut self.cache);
        let mut members = Vec::with_capacity(indices.len());
        for index in indices {
            let member = &mut self.running[*index];
            member.sequence.advance(1);
            members.push(member.number);
        }
        Chosen::of(members, model.logits(hidden).cast(DType::F32))
    }

    /// Sequences that have not ended.
    fn going_on(&self) -> usize {
        self.running.iter().filter(|member| member.last.is_none()).count()
    }

    /// Where a member is that goes on.
    fn place_of(&self, number: u64) -> Option<usize> {
        self.running.iter().position(|member| member.number == number && member.last.is_none())
    }
}
