//! What a model will see, in numbers and for the eye: counts, lengths, what was cut, and one text with its targets.

mod render;

use std::ops::Range;

use serde::Serialize;

use crate::batch::{Order, batches_in_order};
use crate::dataset::Dataset;
use crate::duplicates::Duplicates;
use crate::error::DataError;
use crate::example::{Encoded, Example, Truncation};
use crate::leaks::Leaks;
use crate::read::Reading;
use crate::split::Split;
use crate::tokenizer::Tokenizer;

pub use render::grouped;

/// How many bins the histogram has, at most.
const BINS: usize = 16;

/// What `prepare` shows about a data set. Its `Display` is a text of at most 110 columns for a terminal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataReport {
    /// How the files were read; none of records that no file holds.
    #[serde(flatten)]
    pub reading: Option<Reading>,
    /// Records in the file.
    pub records: usize,
    /// Examples to train on: the split's side less what was dropped.
    pub train: usize,
    /// Examples to validate with.
    pub validation: usize,
    /// Examples to test with.
    pub test: usize,
    /// Tokens of all examples, each end-of-text included.
    pub tokens: usize,
    /// Tokens that are supervised targets.
    pub supervised_tokens: usize,
    /// The lengths of the records before any cut, in tokens.
    pub lengths: Lengths,
    /// How many records have which length before any cut.
    pub histogram: Vec<Bin>,
    /// What did not fit.
    pub truncation: Truncation,
    /// Records and questions that stand more than once; none for plain text.
    pub duplicates: Option<Duplicates>,
    /// What stands on several sides; none where they are a split of one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaks: Option<Leaks>,
    /// The examples of a batch.
    pub batch_size: usize,
    /// The share of a training epoch's positions that are padding, from 0 to 1.
    pub padding_share: f64,
}

/// Lengths in tokens. The median and the percentiles are lengths that occur (nearest rank).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// The shortest.
    pub min: usize,
    /// The mean.
    pub mean: f64,
    /// Half the records are this long or shorter.
    pub median: usize,
    /// Nine in ten are this long or shorter.
    pub p90: usize,
    /// Ninety-nine in a hundred are this long or shorter.
    pub p99: usize,
    /// The longest.
    pub max: usize,
}

/// One bar of the histogram: lengths `from ..= to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The shortest length in it.
    pub from: usize,
    /// The longest length in it.
    pub to: usize,
    /// How many records it has.
    pub count: usize,
}

impl DataReport {
    /// Counts what `encoded` holds. `split` has indices of the records that `encoded` was made from.
    ///
    /// The padding is that of the training side's first shuffled epoch with `batch_size` and `seed`.
    pub fn new(
        encoded: &Encoded,
        split: &Split,
        duplicates: Option<Duplicates>,
        batch_size: usize,
        seed: u64,
    ) -> Self {
        let Encoded { examples, lengths, truncation } = encoded;
        let side = |indices: &[usize]| -> Vec<usize> {
            let chosen = examples.iter().filter(|example| indices.binary_search(&example.record).is_ok());
            chosen.map(|example| example.ids.len()).collect()
        };
        let sides = [side(&split.train), side(&split.validation), side(&split.test)];
        Self::of(lengths, truncation, duplicates, sides, batch_size, seed)
    }

    /// `sides` are the lengths of the examples to learn from, to validate and to test with.
    fn of(
        lengths: &[usize],
        truncation: &Truncation,
        duplicates: Option<Duplicates>,
        sides: [Vec<usize>; 3],
        batch_size: usize,
        seed: u64,
    ) -> Self {
        let [train, validation, test] = sides;
        Self {
            reading: None,
            leaks: None,
            records: truncation.records,
            train: train.len(),
            validation: validation.len(),
            test: test.len(),
            tokens: truncation.tokens_kept,
            supervised_tokens: truncation.supervised_tokens,
            lengths: Lengths::of(lengths),
            histogram: histogram(lengths),
            truncation: *truncation,
            duplicates,
            batch_size,
            padding_share: padding_share(&train, batch_size, seed),
        }
    }

    /// The report as text for a terminal.
    pub fn render(&self) -> String {
        self.to_string()
    }
}

impl Dataset {
    /// The data set in numbers, trained on in batches of `batch_size` that `seed` shuffles; see [`DataReport::new`].
    pub fn report(&self, batch_size: usize, seed: u64) -> DataReport {
        let lengths = |side: &[Example]| side.iter().map(|example| example.ids.len()).collect();
        let sides = [lengths(&self.training()), lengths(self.held_out()), lengths(&self.test())];
        let duplicates = self.duplicates.clone();
        let report = DataReport::of(&self.lengths, &self.truncation, duplicates, sides, batch_size, seed);
        DataReport { reading: self.reading.clone(), leaks: self.leaks.clone(), ..report }
    }
}

impl Lengths {
    /// The summary of `lengths`; all zero if there are none.
    pub fn of(lengths: &[usize]) -> Self {
        let mut sorted = lengths.to_vec();
        sorted.sort_unstable();
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        let mean = sorted.iter().sum::<usize>() as f64 / sorted.len() as f64;
        Self { min, mean, median: rank(50), p90: rank(90), p99: rank(99), max }
    }
}

/// Bins of one round width from 1 on, as wide as ninety-nine in a hundred lengths need; the last one takes the rest up
/// to the longest, so that a few giants do not press everything else into one bar.
fn histogram(lengths: &[usize]) -> Vec<Bin> {
    let Lengths { p99, max, .. } = Lengths::of(lengths);
    if max == 0 {
        return Vec::new();
    }
    let least = p99.div_ceil(BINS - 1).max(1);
    // 1, 2, 5, 10, 20, 50, ...: the first that is wide enough.
    let width = (0..).map(|n| [1, 2, 5][n % 3] * 10_usize.pow(n as u32 / 3)).find(|&width| width >= least);
    let width = width.unwrap_or(least);
    let full = p99.div_ceil(width);
    let mut bins: Vec<Bin> =
        (0..full).map(|bin| Bin { from: bin * width + 1, to: (bin + 1) * width, count: 0 }).collect();
    if full * width < max {
        bins.push(Bin { from: full * width + 1, to: max, count: 0 });
    }
    for length in lengths {
        let bin = (length.saturating_sub(1) / width).min(bins.len() - 1);
        bins[bin].count += 1;
    }
    bins
}

fn padding_share(lengths: &[usize], batch_size: usize, seed: u64) -> f64 {
    let batches = batches_in_order(lengths, batch_size, Order::Shuffled { seed, epoch: 0 });
    let longest = |batch: &[usize]| batch.iter().map(|&index| lengths[index]).max().unwrap_or(0);
    let positions: usize = batches.iter().map(|batch| batch.len() * longest(batch)).sum();
    match positions {
        0 => 0.0,
        _ => 1.0 - lengths.iter().sum::<usize>() as f64 / positions as f64,
    }
}

/// The example's text with its supervised tokens between `⟦` and `⟧`, which show without colour.
///
/// # Errors
/// As [`Tokenizer::decode`].
pub fn mark_supervised(example: &Example, tokenizer: &Tokenizer) -> Result<String, DataError> {
    mark_supervised_with(example, tokenizer, "⟦", "⟧")
}

/// As [`mark_supervised`], with marks of the caller's, for example the codes of a terminal's colours.
///
/// End-of-text is written out. A character that spans the border is put inside the marks.
///
/// # Errors
/// As [`Tokenizer::decode`].
pub fn mark_supervised_with(
    example: &Example,
    tokenizer: &Tokenizer,
    open: &str,
    close: &str,
) -> Result<String, DataError> {
    let parts = match parts_of_whole(example, tokenizer)? {
        Some(parts) => parts,
        None => parts_alone(example, tokenizer)?,
    };
    Ok(parts.into_iter().fold(String::new(), |marked, part| match part {
        Part::Plain(text) => marked + &text,
        Part::Supervised(text) => marked + open + &text + close,
    }))
}

/// A part of an example's text.
enum Part {
    Plain(String),
    Supervised(String),
}

/// The parts of the text as it decodes at one go; none where a decoder's text of a part is no part of the whole.
fn parts_of_whole(example: &Example, tokenizer: &Tokenizer) -> Result<Option<Vec<Part>>, DataError> {
    let until = |end: usize| tokenizer.decode_all(&example.ids[..end]);
    let text = until(example.ids.len())?;
    let mut from = 0;
    let mut parts = Vec::new();
    for range in example.supervised() {
        let before = until(range.start)?;
        // A character that goes on behind the border belongs behind it.
        let before = before.trim_end_matches('\u{fffd}');
        let whole = if range.end == example.ids.len() { text.clone() } else { until(range.end)? };
        match (text.get(from..before.len()), whole.strip_prefix(before)) {
            (Some(plain), Some(learned)) if text.starts_with(before) => {
                parts.extend([Part::Plain(plain.into()), Part::Supervised(learned.into())]);
                from = whole.len();
            }
            _ => return Ok(None),
        }
    }
    parts.push(Part::Plain(text.get(from..).unwrap_or_default().into()));
    Ok(Some(parts))
}

/// The parts of the text, each decoded by itself.
fn parts_alone(example: &Example, tokenizer: &Tokenizer) -> Result<Vec<Part>, DataError> {
    let decoded = |range: Range<usize>| tokenizer.decode_all(&example.ids[range]);
    let mut from = 0;
    let mut parts = Vec::new();
    for range in example.supervised() {
        parts.push(Part::Plain(decoded(from..range.start)?));
        from = range.end;
        parts.push(Part::Supervised(decoded(range)?));
    }
    parts.push(Part::Plain(decoded(from..example.ids.len())?));
    Ok(parts)
}

#[cfg(test)]
mod tests;
