//! One request on its way: how much of it has been read, what is to be read next, and the choice of its tokens.

use std::ops::Range;

use rayon::prelude::*;

use super::event::{Event, Reason, TokenScore};
use super::request::{Request, Sampling};
use super::scores::LogSoftmax;
use crate::ops::WIDE_ROWS;
use crate::{ModelError, Sampler, SamplingConfig};

/// A sequence, less who listens to it.
pub(super) struct Sequence {
    request: Request,
    pub(super) adapter: Option<usize>,
    sampler: Sampler,
    /// The prompt, then the new tokens.
    tokens: Vec<u32>,
    /// The place in the cache of each token that will be read.
    pub(super) places: Vec<usize>,
    /// Tokens that have been read.
    read: usize,
    /// The prompt's scores so far, where they are asked for.
    scores: Vec<Option<TokenScore>>,
}

/// What rows of logits bring about.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is to be told.
    pub(super) events: Vec<Event>,
    /// What is to be told last, where the sequence ends.
    pub(super) last: Option<Event>,
}

impl Sequence {
    pub(super) fn new(
        request: Request,
        adapter: Option<usize>,
        places: Vec<usize>,
    ) -> Result<Self, ModelError> {
        let Sampling { config, stream, .. } = &request.sampling;
        let sampler = Sampler::for_row(config, *stream)?;
        let tokens = request.prompt.clone();
        // Nothing comes before the first token.
        let scores = vec![None];
        Ok(Self { request, adapter, sampler, tokens, places, read: 0, scores })
    }

    /// Tokens that are to be read before the next is chosen, or before all is told.
    fn known(&self) -> usize {
        // A prompt's last token tells what follows it.
        self.tokens.len() - usize::from(self.request.max_new_tokens == 0)
    }

    /// Tokens of whole blocks that are read by themselves. Where they end follows from the prompt alone, and its last
    /// token is never among them, so that the first new token is chosen from a row like those of all others.
    fn end_of_blocks(&self) -> usize {
        (self.request.prompt.len() - 1) / WIDE_ROWS * WIDE_ROWS
    }

    /// Tokens of whole blocks that are still to be read.
    pub(super) fn in_blocks(&self) -> usize {
        self.end_of_blocks().saturating_sub(self.read)
    }

    /// Tokens that can be read beside those of other sequences, once there is no block left; one, when the text goes on.
    pub(super) fn beside_others(&self) -> usize {
        if self.in_blocks() > 0 { 0 } else { self.known() - self.read }
    }

    /// Whether it reads its prompt.
    pub(super) fn is_reading(&self) -> bool {
        self.read < self.request.prompt.len().min(self.known())
    }

    /// The next tokens, and the places of all up to the last of them.
    pub(super) fn next(&self, count: usize) -> (&[u32], &[usize]) {
        let end = self.read + count;
        (&self.tokens[self.read..end], &self.places[..end])
    }

    /// The places of all tokens up to the one that was chosen and not heard yet.
    pub(super) fn places_to_chosen(&self) -> &[usize] {
        &self.places[..=self.tokens.len()]
    }

    /// Whether another token is to come behind the one that was chosen and not heard yet, unless that ends the text.
    pub(super) fn goes_on_behind_chosen(&self) -> bool {
        self.new_tokens() + 1 < self.request.max_new_tokens
    }

    /// Which of the next `count` tokens' logits are needed, as positions.
    pub(super) fn wanted(&self, count: usize) -> Range<usize> {
        let end = self.read + count;
        let asks_for_all = self.request.score_prompt && self.is_reading();
        let reaches_end = end == self.known() && self.request.max_new_tokens > 0;
        let start = if asks_for_all { self.read } else { end - usize::from(reaches_end) };
        start..end
    }

    /// Hears the logits behind the tokens from a position on, `[rows, vocabulary]`: the following tokens of the prompt are
    /// scored, and what follows the last known token is chosen.
    pub(super) fn hear(&mut self, position: usize, logits: &mut [f32], vocabulary: usize) -> Outcome {
        let mut outcome = Outcome::default();
        if logits.par_chunks(vocabulary).any(|row| row.iter().any(|logit| logit.is_nan())) {
            outcome.last = Some(Event::Failed(self.not_a_number()));
            return outcome;
        }
        let rows = logits.len() / vocabulary;
        let following = self.request.prompt.get(position + 1..).unwrap_or_default();
        let following = &following[..following.len().min(rows)];
        let (scored, rest) = logits.split_at_mut(following.len() * vocabulary);
        let top = self.top();
        let scores = scored.par_chunks(vocabulary).zip(following);
        let scores = scores.map(|(logits, id)| Some(LogSoftmax::of(logits).score(*id, top)));
        self.scores.par_extend(scores);
        if !rest.is_empty() {
            self.tell_prompt(&mut outcome);
            self.choose(rest, &mut outcome);
        }
        outcome
    }

    /// Whether the next token is the likeliest and nothing else is asked of the logits.
    pub(super) fn takes_likeliest(&self) -> bool {
        let asks_for_scores = self.request.score_prompt || self.request.log_probabilities.is_some();
        !asks_for_scores && self.request.sampling.is_plain_greedy()
    }

    /// Hears the likeliest token behind the last known one; none where the logits were not numbers.
    pub(super) fn hear_likeliest(&mut self, id: Option<u32>) -> Outcome {
        let mut outcome = Outcome::default();
        match id {
            Some(id) => self.tell(id, None, &mut outcome),
            None => outcome.last = Some(Event::Failed(self.not_a_number())),
        }
        outcome
    }

    /// Notes that the next `count` tokens have been read.
    pub(super) fn advance(&mut self, count: usize) {
        self.read += count;
    }

    /// Whether nothing more is to come: all of a prompt that is only to be scored has been read.
    pub(super) fn is_scored(&self) -> bool {
        self.request.max_new_tokens == 0 && self.read == self.known()
    }

    /// The end of a request that asks for nothing but its prompt's scores.
    pub(super) fn finish_prompt(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        self.tell_prompt(&mut outcome);
        outcome.last = Some(Event::Finished(Reason::Length));
        outcome
    }

    /// The prompt's scores, once.
    fn tell_prompt(&mut self, outcome: &mut Outcome) {
        if self.request.score_prompt && !self.scores.is_empty() {
            outcome.events.push(Event::Prompt(std::mem::take(&mut self.scores)));
        }
    }

    /// Chooses the next token.
    fn choose(&mut self, logits: &mut [f32], outcome: &mut Outcome) {
        let scores = self.request.log_probabilities.map(|_| logits.to_vec());
        let (tokens, prompt) = (&self.tokens, self.request.prompt.len());
        self.sampler.penalise(logits, self.request.sampling.config.penalty_scope.of(tokens, prompt));
        let new = &tokens[prompt..];
        self.request.sampling.adjust(logits, new);
        let id = self.sampler.draw(logits);
        self.tell(id, scores, outcome);
    }

    /// Tells of a token that was chosen, and its score where its logits are given.
    fn tell(&mut self, id: u32, scores: Option<Vec<f32>>, outcome: &mut Outcome) {
        if self.request.end_tokens.contains(&id) {
            outcome.last = Some(Event::Finished(Reason::EndToken));
            return;
        }
        let score = scores.map(|logits| LogSoftmax::of(&logits).score(id, self.top()));
        self.tokens.push(id);
        outcome.events.push(Event::Token { id, score });
        if self.new_tokens() == self.request.max_new_tokens {
            outcome.last = Some(Event::Finished(Reason::Length));
        }
    }

    fn new_tokens(&self) -> usize {
        self.tokens.len() - self.request.prompt.len()
    }

    fn top(&self) -> usize {
        self.request.log_probabilities.unwrap_or(0)
    }

    fn not_a_number(&self) -> String {
        format!(
            "the model's output is not a number after {} new tokens: its weights or its adapter are damaged, or the \
             precision is too low; try full precision",
            self.new_tokens()
        )
    }
}

impl Sampling {
    /// Whether it takes the likeliest token of the logits as they are.
    fn is_plain_greedy(&self) -> bool {
        let penalised = self.presence_penalty != 0.0 || self.frequency_penalty != 0.0;
        let SamplingConfig { temperature, repetition_penalty, .. } = self.config;
        temperature == 0.0 && repetition_penalty == 1.0 && !penalised && self.logit_bias.is_empty()
    }

    /// Applies presence and frequency penalty, over the new tokens, and then the biases.
    fn adjust(&self, logits: &mut [f32], new: &[u32]) {
        if self.presence_penalty != 0.0 || self.frequency_penalty != 0.0 {
            let mut sorted = new.to_vec();
            sorted.sort_unstable();
            for same in sorted.chunk_by(|one, next| one == next) {
                let penalty = self.presence_penalty + self.frequency_penalty * same.len() as f32;
                logits[same[0] as usize] -= penalty;
            }
        }
        for (id, bias) in &self.logit_bias {
            logits[*id as usize] += bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_count_new_tokens_and_biases_are_added() {
        let sampling = Sampling {
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            logit_bias: vec![(2, -100.0), (0, 1.0)],
            ..Sampling::default()
        };
        let mut logits = [1.0, 2.0, 3.0, 4.0];
        sampling.adjust(&mut logits, &[1, 3, 1]);
        assert_eq!(logits, [2.0, 1.0, -97.0, 3.25]);
        let mut logits = [1.0; 4];
        Sampling::default().adjust(&mut logits, &[1, 3, 1]);
        assert_eq!(logits, [1.0; 4]);
    }
}
