//! One new token a text, as in decoding: matrix products would only cost their preparation. A task is a text, or a part
//! of its heads where there are fewer texts than threads: so keys and values are read as they lie in memory.
//!
//! A head's sums are the same whatever other heads and texts are in the task or beside it.

use super::inputs::Attention;
use super::softmax::softmax;
use crate::rows::dot;
use crate::tasks::{self, Kernel};

/// The output of texts with a single query each, `[batch, hidden]`.
pub(super) fn one_query(inputs: &Attention<'_>, out: &mut [f32]) {
    let tasks = heads_of_rows(out, inputs.hidden, inputs.heads);
    tasks::run(&OneQuery { inputs }, tasks);
}

/// The output `[rows, hidden]` in tasks: the row, the first head, and the place of this and the following heads.
pub(super) fn heads_of_rows(
    out: &mut [f32],
    hidden: usize,
    heads: usize,
) -> impl Iterator<Item = (usize, usize, &mut [f32])> {
    let rows = (out.len() / hidden).max(1);
    let parts = rayon::current_num_threads().div_ceil(rows);
    let (heads_of_part, size) = (heads.div_ceil(parts), hidden / heads);
    out.chunks_mut(hidden).enumerate().flat_map(move |(row, out)| {
        let parts = out.chunks_mut(heads_of_part * size).enumerate();
        parts.map(move |(part, out)| (row, part * heads_of_part, out))
    })
}

/// The keys and values that a query sees, of some heads side by side.
pub(super) trait Seen {
    fn count(&self) -> usize;
    fn key(&self, place: usize) -> &[f32];
    fn value(&self, place: usize) -> &[f32];
}

/// Attention of one query, `[heads, size]`, to what it sees; out is `[heads, size]` as well.
#[inline(always)]
pub(super) fn attend(query: &[f32], seen: &impl Seen, padding: Option<&[u8]>, size: usize, out: &mut [f32]) {
    let width = seen.count();
    // [heads, keys]
    let mut weights = vec![0.0; out.len() / size * width];
    for place in 0..width {
        let key = seen.key(place);
        for (index, weights) in weights.chunks_exact_mut(width).enumerate() {
            let head = index * size..(index + 1) * size;
            weights[place] = dot(&query[head.clone()], &key[head]);
        }
    }
    for weights in weights.chunks_exact_mut(width) {
        softmax(weights, padding);
    }
    out.fill(0.0);
    for place in 0..width {
        let value = seen.value(place);
        for (index, out) in out.chunks_exact_mut(size).enumerate() {
            let weight = weights[index * width + place];
            for (out, value) in out.iter_mut().zip(&value[index * size..]) {
                *out += weight * value;
            }
        }
    }
}

/// A kernel and no closure: that would be compiled by itself, for the oldest processor.
struct OneQuery<'a> {
    inputs: &'a Attention<'a>,
}

impl Kernel<(usize, usize, &mut [f32])> for OneQuery<'_> {
    type Output = ();

    #[inline(always)]
    fn run(&self, (batch, first, out): (usize, usize, &mut [f32])) {
        let Self { inputs } = self;
        let (size, seen) = (inputs.head_size(), inputs.seen(0));
        let start = first * size;
        let query = &inputs.query.of_token(batch, 0)[start..start + out.len()];
        let padding = inputs.padding(batch, seen.clone());
        let seen = OfText { inputs, batch, first_key: seen.start, count: seen.len(), start };
        attend(query, &seen, padding, size, out);
    }
}

/// The last keys of a text.
struct OfText<'a> {
    inputs: &'a Attention<'a>,
    batch: usize,
    first_key: usize,
    count: usize,
    /// Of the first head in a token.
    start: usize,
}

impl Seen for OfText<'_> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.count
    }

    #[inline(always)]
    fn key(&self, place: usize) -> &[f32] {
        &self.inputs.key.of_token(self.batch, self.first_key + place)[self.start..]
    }

    #[inline(always)]
    fn value(&self, place: usize) -> &[f32] {
        &self.inputs.value.of_token(self.batch, self.first_key + place)[self.start..]
    }
}
