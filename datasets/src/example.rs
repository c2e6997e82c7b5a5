//! One text as the model sees it: token ids closed by end-of-text, and which of them are predicted.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::pieces::encode_all;
use crate::prompt::PromptTemplate;
use crate::record::Record;
use crate::tokenizer::Tokenizer;

/// Which tokens are learned; by default the whole text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supervise {
    /// Every token but the first, which nothing predicts.
    #[default]
    Text,
    /// The answer and its end-of-text.
    Response,
}

impl Supervise {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 2] = [Self::Text, Self::Response];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Response => "response",
        }
    }
}

impl fmt::Display for Supervise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Supervise {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| DataError::unknown_name("supervise", name, &Self::ALL.map(Self::name)))
    }
}

/// What happens to a text that is longer than the longest allowed; by default it is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlong {
    /// It loses its end.
    #[default]
    Cut,
    /// It is left out.
    Drop,
}

impl Overlong {
    /// All of them, for a list to choose from.
    pub const ALL: [Self; 2] = [Self::Cut, Self::Drop];

    /// The name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Drop => "drop",
        }
    }
}

impl fmt::Display for Overlong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Overlong {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| DataError::unknown_name("overlong", name, &Self::ALL.map(Self::name)))
    }
}

/// One text in token ids. The token at position `t` is predicted from those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    /// The text's ids and one end-of-text, cut at the longest allowed length.
    pub ids: Vec<u32>,
    /// Where the answer begins: the number of the prompt's tokens, at most the length.
    pub response_from: usize,
    /// Where supervision begins; see [`Example::targets`].
    pub supervised_from: usize,
    /// The positions of a conversation's later questions, in order: no part of an answer. Empty for a single question.
    pub later_prompts: Vec<Range<usize>>,
    /// The index of its record in the slice it was made from.
    pub record: usize,
}

impl Example {
    /// From the first supervised target to the end, `max(1, supervised_from)` on; empty if none is left. Of a
    /// conversation whose answers alone are learned, the later questions lie within; see [`Example::supervised`].
    pub fn targets(&self) -> Range<usize> {
        targets(self.supervised_from, self.ids.len())
    }

    /// From the answer's first target to the end, whatever is supervised; later questions lie within.
    pub fn response_targets(&self) -> Range<usize> {
        targets(self.response_from, self.ids.len())
    }

    /// The positions of the answers, each with its end-of-text, as ranges in order, whatever is supervised.
    pub fn answers(&self) -> Vec<Range<usize>> {
        without(self.response_from..self.ids.len(), &self.later_prompts)
    }

    /// The positions of `ids` that are supervised targets, as ranges in order.
    pub fn supervised(&self) -> Vec<Range<usize>> {
        match supervises_questions(self.supervised_from, self.response_from) {
            true => without(self.targets(), &[]),
            false => without(self.targets(), &self.later_prompts),
        }
    }

    /// How many of the ids are supervised targets.
    pub fn supervised_tokens(&self) -> usize {
        self.supervised().iter().map(ExactSizeIterator::len).sum()
    }
}

/// Whether later questions are learned as well: where supervision begins before the first answer does.
pub(crate) fn supervises_questions(supervised_from: usize, response_from: usize) -> bool {
    supervised_from < response_from.max(1)
}

/// What is left of `whole` beside the `holes`, which are in order.
pub(crate) fn without(whole: Range<usize>, holes: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut left = Vec::new();
    let mut from = whole.start;
    for hole in holes {
        left.push(from..hole.start.max(from).min(whole.end));
        from = from.max(hole.end);
    }
    left.push(from.min(whole.end)..whole.end);
    left.retain(|range| !range.is_empty());
    left
}

/// The targets of a text of `length` ids from position `from` on; position 0 never is one.
pub(crate) fn targets(from: usize, length: usize) -> Range<usize> {
    from.max(1).min(length)..length
}

/// The examples of a set of records, and what did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The examples in the records' order.
    pub examples: Vec<Example>,
    /// How many tokens each record has uncut, its end-of-text included; dropped records too.
    pub lengths: Vec<usize>,
    /// What was cut or dropped.
    pub truncation: Truncation,
}

/// What the longest allowed length did to a set of records. Token counts include each end-of-text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Truncation {
    /// The longest length allowed, in tokens.
    pub max_length: usize,
    /// Records before anything was left out.
    pub records: usize,
    /// Records that are longer than allowed.
    pub over_long: usize,
    /// Those of them left out ([`Overlong::Drop`]).
    pub dropped: usize,
    /// Those of them cut, with some of the answer left.
    pub answers_cut_partly: usize,
    /// Those of them cut, with no token of the answer left.
    pub answers_lost: usize,
    /// Tokens of all records, uncut.
    pub tokens: usize,
    /// Tokens of the examples.
    pub tokens_kept: usize,
    /// Tokens of the examples that are supervised.
    pub supervised_tokens: usize,
}

impl Encoded {
    /// Blocks of packed documents as a set of their own, so that they are reported as records are.
    pub fn from_blocks(examples: Vec<Example>, block_length: usize) -> Self {
        let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        let truncation =
            Truncation { max_length: block_length, records: examples.len(), ..Truncation::default() };
        Self { examples, lengths, truncation }.counted()
    }

    fn counted(mut self) -> Self {
        self.truncation.tokens = self.lengths.iter().sum();
        self.truncation.tokens_kept = self.examples.iter().map(|example| example.ids.len()).sum();
        self.truncation.supervised_tokens = self.examples.iter().map(Example::supervised_tokens).sum();
        self
    }
}

/// Makes an example of each record: its text's ids, one end-of-text, cut or dropped at `max_length`. Of a
/// conversation, each answer is closed by end-of-text.
///
/// The prompt's tokens are those of [`PromptTemplate::prompt`] alone as far as the text's ids begin with them; a
/// tokenizer may join the prompt's last character with the answer's first, and that token belongs to the answer.
///
/// # Errors
/// `max_length` is below 2, the tokenizer fails, every record is dropped, or no token is left to supervise.
pub fn encode_examples(
    records: &[Record],
    template: &PromptTemplate,
    tokenizer: &Tokenizer,
    max_length: usize,
    supervise: Supervise,
    overlong: Overlong,
) -> Result<Encoded, DataError> {
    if max_length < 2 {
        return Err(DataError::setting("the longest length", max_length, "at least 2 tokens"));
    }
    let mut truncation = Truncation { max_length, records: records.len(), ..Truncation::default() };
    let mut examples = Vec::with_capacity(records.len());
    let mut lengths = Vec::with_capacity(records.len());
    for (portion, records) in records.chunks(AT_ONCE).enumerate() {
        for (place, text) in encode_texts(records, template, tokenizer)?.into_iter().enumerate() {
            let EncodedText { mut ids, response_from, mut later_prompts } = text;
            lengths.push(ids.len());
            if ids.len() > max_length {
                truncation.over_long += 1;
                match overlong {
                    Overlong::Drop => {
                        truncation.dropped += 1;
                        continue;
                    }
                    Overlong::Cut if response_from < max_length => truncation.answers_cut_partly += 1,
                    Overlong::Cut => truncation.answers_lost += 1,
                }
                ids.truncate(max_length);
                ids.shrink_to_fit();
            }
            later_prompts.retain(|prompt| prompt.start < ids.len());
            later_prompts.iter_mut().for_each(|prompt| prompt.end = prompt.end.min(ids.len()));
            let response_from = response_from.min(ids.len());
            let supervised_from = match supervise {
                // Position 0 is no target either way; the 0 tells that later questions are learned.
                Supervise::Text if response_from <= 1 && !later_prompts.is_empty() => 0,
                Supervise::Text => 1,
                Supervise::Response => response_from.max(1),
            };
            let record = portion * AT_ONCE + place;
            examples.push(Example { ids, response_from, supervised_from, later_prompts, record });
        }
    }
    let encoded = Encoded { examples, lengths, truncation }.counted();
    if encoded.truncation.supervised_tokens == 0 {
        return Err(nothing_left(&encoded));
    }
    Ok(encoded)
}

/// Records that are encoded at a time.
const AT_ONCE: usize = 256;

/// A record's ids, each answer closed by end-of-text, before any cut.
struct EncodedText {
    ids: Vec<u32>,
    response_from: usize,
    later_prompts: Vec<Range<usize>>,
}

fn encode_texts(
    records: &[Record],
    template: &PromptTemplate,
    tokenizer: &Tokenizer,
) -> Result<Vec<EncodedText>, DataError> {
    let turns: Vec<String> = records.iter().flat_map(|record| template.turns(record)).collect();
    let mut turns = encode_all(&turns, tokenizer)?.into_iter();
    let prompts: Vec<String> = records.iter().flat_map(|record| template.prompts(record)).collect();
    let mut prompts = encode_all(&prompts, tokenizer)?.into_iter();
    let mut next = || {
        let (ids, prompt) = (turns.next().unwrap_or_default(), prompts.next().unwrap_or_default());
        let asked = ids.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
        (ids, asked)
    };
    let texts = records.iter().map(|record| {
        let (mut ids, response_from) = next();
        ids.push(tokenizer.end_of_text());
        let mut later_prompts = Vec::with_capacity(record.further.len());
        for _ in &record.further {
            let (turn, asked) = next();
            later_prompts.push(ids.len()..ids.len() + asked);
            ids.extend(turn);
            ids.push(tokenizer.end_of_text());
        }
        EncodedText { ids, response_from, later_prompts }
    });
    Ok(texts.collect())
}

fn nothing_left(encoded: &Encoded) -> DataError {
    let Truncation { max_length, records, dropped, .. } = encoded.truncation;
    let shortest = encoded.lengths.iter().min().copied().unwrap_or(0);
    DataError::NothingLeft {
        reason: match (records, dropped == records) {
            (0, _) => "no records to encode; expected at least one".to_string(),
            (_, true) => format!(
                "all {records} records are longer than {max_length} tokens and were dropped; the shortest has \
                 {shortest}: raise the longest length"
            ),
            (_, false) => format!(
                "no answer has a token within the first {max_length}, so none of {records} records has anything to \
                 supervise: raise the longest length"
            ),
        },
    }
}

#[cfg(test)]
mod tests;
