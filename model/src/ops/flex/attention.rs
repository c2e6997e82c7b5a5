//! Causal attention on slices. Queries are taken in blocks against the keys that a block can see, so that the
//! future and what lies before a window cost nothing, and no more than a block's scores exist at a time.
//!
//! A task's work does not depend on how many threads there are, so results do not either.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::super::AttentionRule;
use super::exp::exp;
use super::gemm::{Matrix, Threads, gemm};
use super::reduce::{dot, largest, sum};
use super::tasks::{self, Kernel};

/// Queries of a block: enough for the matrix products, few enough to skip most of the future.
const BLOCK: usize = 64;

/// A tensor `[batch, tokens, hidden]` whose last dimension is contiguous.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    pub(super) data: &'a [f32],
    pub(super) batch_stride: usize,
    pub(super) token_stride: usize,
}

impl<'a> Tokens<'a> {
    /// The part of one head for a range of tokens, `[tokens, size]`.
    fn head(&self, batch: usize, tokens: Range<usize>, head: usize, size: usize) -> Matrix<'a> {
        let start = batch * self.batch_stride + tokens.start * self.token_stride + head * size;
        Matrix::new(&self.data[start..], tokens.len(), size, self.token_stride)
    }

    /// One head of one token, `[size]`.
    fn vector(&self, batch: usize, token: usize, head: usize, size: usize) -> &'a [f32] {
        let start = batch * self.batch_stride + token * self.token_stride + head * size;
        &self.data[start..start + size]
    }
}

/// The inputs and their sizes; each of `queries` and `keys` is at least 1.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) query: Tokens<'a>,
    pub(super) key: Tokens<'a>,
    pub(super) value: Tokens<'a>,
    pub(super) batch: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) hidden: usize,
    pub(super) rule: AttentionRule,
    /// `[batch, keys]`, not 0 where a key is padding.
    pub(super) padding: Option<&'a [u8]>,
}

impl Inputs<'_> {
    fn head_size(&self) -> usize {
        self.hidden / self.rule.heads
    }

    /// The keys that a query sees, padding aside.
    fn seen(&self, query: usize) -> Range<usize> {
        let position = self.keys - self.queries + query;
        self.rule.first_key(position)..position + 1
    }

    /// The keys that any query of a block sees.
    fn seen_by(&self, block: &Range<usize>) -> Range<usize> {
        self.seen(block.start).start..self.seen(block.end - 1).end
    }

    fn padding(&self, batch: usize, keys: Range<usize>) -> Option<&[u8]> {
        self.padding.map(|padding| &padding[batch * self.keys..][keys])
    }

    /// P of a block of queries over the keys `span`, row by row into `weights`.
    fn weights(
        &self,
        batch: usize,
        head: usize,
        block: Range<usize>,
        span: Range<usize>,
        weights: &mut [f32],
    ) {
        let (size, width) = (self.head_size(), span.len());
        let query = self.query.head(batch, block.clone(), head, size);
        let key = self.key.head(batch, span.clone(), head, size);
        gemm(weights, width, false, 1.0, [query, key.t()], Threads::One);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (query, row) in block.zip(weights.chunks_exact_mut(width)) {
                    let seen = self.seen(query);
                    row[..seen.start - span.start].fill(0.0);
                    row[seen.end - span.start..].fill(0.0);
                    let padding = self.padding(batch, seen.clone());
                    softmax(&mut row[seen.start - span.start..seen.end - span.start], padding);
                }
            },
        );
    }
}

/// The output, `[batch, queries, hidden]`.
pub(super) fn forward(inputs: &Inputs<'_>, out: &mut [f32]) {
    match inputs.queries {
        1 => one_query(inputs, out),
        _ => blocks(inputs, out),
    }
}

/// A task is a block of queries of one text, all its heads.
fn blocks(inputs: &Inputs<'_>, out: &mut [f32]) {
    let Inputs { queries, hidden, rule, .. } = *inputs;
    let size = inputs.head_size();
    let texts = out.par_chunks_mut(queries * hidden).enumerate();
    texts.for_each(|(batch, out)| {
        out.par_chunks_mut(BLOCK * hidden).enumerate().for_each(|(index, out)| {
            let block = index * BLOCK..(index * BLOCK + BLOCK).min(queries);
            let span = inputs.seen_by(&block);
            let mut weights = vec![0.0; block.len() * span.len()];
            for head in 0..rule.heads {
                inputs.weights(batch, head, block.clone(), span.clone(), &mut weights);
                let weights = Matrix::new(&weights, block.len(), span.len(), span.len());
                let value = inputs.value.head(batch, span.clone(), head, size);
                gemm(&mut out[head * size..], hidden, false, 1.0, [weights, value], Threads::One);
            }
        });
    });
}

/// One new token a text, as in decoding: matrix products would only cost their preparation. A task is a text, or a part
/// of its heads where there are fewer texts than threads: so keys and values are read as they lie in memory.
fn one_query(inputs: &Inputs<'_>, out: &mut [f32]) {
    let parts = rayon::current_num_threads().div_ceil(inputs.batch);
    let heads = inputs.rule.heads.div_ceil(parts);
    let texts = out.chunks_mut(inputs.hidden).enumerate();
    let tasks = texts.flat_map(|(batch, out)| {
        let parts = out.chunks_mut(heads * inputs.head_size()).enumerate();
        parts.map(move |(part, out)| (batch, part * heads, out))
    });
    tasks::run(&OneQuery { inputs }, tasks);
}

/// A kernel and no closure: that would be compiled by itself, for the oldest processor.
struct OneQuery<'a> {
    inputs: &'a Inputs<'a>,
}

/// The text, the first head, and the place of this and the following heads.
impl Kernel<(usize, usize, &mut [f32])> for OneQuery<'_> {
    type Output = ();

    #[inline(always)]
    fn run(&self, (batch, first, out): (usize, usize, &mut [f32])) {
        let Self { inputs } = self;
        let (size, seen) = (inputs.head_size(), inputs.seen(0));
        let width = seen.len();
        // [heads, keys]
        let mut weights = vec![0.0; out.len() / size * width];
        for (place, key) in seen.clone().enumerate() {
            for (index, weights) in weights.chunks_exact_mut(width).enumerate() {
                let query = inputs.query.vector(batch, 0, first + index, size);
                weights[place] = dot(query, inputs.key.vector(batch, key, first + index, size));
            }
        }
        for weights in weights.chunks_exact_mut(width) {
            softmax(weights, inputs.padding(batch, seen.clone()));
        }
        out.fill(0.0);
        for (place, key) in seen.enumerate() {
            for (index, out) in out.chunks_exact_mut(size).enumerate() {
                let weight = weights[index * width + place];
                let value = inputs.value.vector(batch, key, first + index, size);
                for (out, value) in out.iter_mut().zip(value) {
                    *out += weight * value;
                }
            }
        }
    }
}

/// The gradients of query, key and value, each contiguous and of its input's shape, from that of the output.
/// A task is one head of one text.
pub(super) fn backward(inputs: &Inputs<'_>, gradient: Tokens<'_>, outs: [&mut [f32]; 3]) {
    let Inputs { batch, queries, keys, rule, .. } = *inputs;
    let size = inputs.head_size();
    let [of_query, of_key, of_value] = outs;
    let tasks: Vec<_> = by_head(of_query, [batch, queries, rule.heads], size)
        .into_iter()
        .zip(by_head(of_key, [batch, keys, rule.heads], size))
        .zip(by_head(of_value, [batch, keys, rule.heads], size))
        .collect();
    tasks.into_par_iter().enumerate().for_each(|(index, ((mut of_query, of_key), of_value))| {
        let (batch, head) = (index / rule.heads, index % rule.heads);
        let mut key_sum = vec![0.0; keys * size];
        let mut value_sum = vec![0.0; keys * size];
        for start in (0..queries).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(queries);
            let part = head_gradients(
                inputs,
                gradient,
                [batch, head],
                block.clone(),
                [&mut key_sum, &mut value_sum],
            );
            copy_rows(&mut of_query[block], &part, size);
        }
        let (mut of_key, mut of_value) = (of_key, of_value);
        copy_rows(&mut of_key, &key_sum, size);
        copy_rows(&mut of_value, &value_sum, size);
    });
}

/// The gradient of a block of queries, `[block, size]`; those of keys and values, `[keys, size]`, are added to.
fn head_gradients(
    inputs: &Inputs<'_>,
    gradient: Tokens<'_>,
    [batch, head]: [usize; 2],
    block: Range<usize>,
    [of_key, of_value]: [&mut [f32]; 2],
) -> Vec<f32> {
    let size = inputs.head_size();
    let span = inputs.seen_by(&block);
    let (rows, width) = (block.len(), span.len());
    let matrix = |data| Matrix::new(data, rows, width, width);
    let query = inputs.query.head(batch, block.clone(), head, size);
    let key = inputs.key.head(batch, span.clone(), head, size);
    let value = inputs.value.head(batch, span.clone(), head, size);
    let gradient = gradient.head(batch, block.clone(), head, size);

    let mut weights = vec![0.0; rows * width];
    inputs.weights(batch, head, block, span.clone(), &mut weights);
    let of_value = &mut of_value[span.start * size..];
    gemm(of_value, size, true, 1.0, [matrix(&weights).t(), gradient], Threads::One);

    let mut of_scores = vec![0.0; rows * width];
    gemm(&mut of_scores, width, false, 1.0, [gradient, value.t()], Threads::One);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (of_scores, weights) in of_scores.chunks_exact_mut(width).zip(weights.chunks_exact(width)) {
                let mean = dot(of_scores, weights);
                of_scores
                    .iter_mut()
                    .zip(weights)
                    .for_each(|(slope, weight)| *slope = weight * (*slope - mean));
            }
        },
    );
    let of_key = &mut of_key[span.start * size..];
    gemm(of_key, size, true, 1.0, [matrix(&of_scores).t(), query], Threads::One);
    let mut of_query = vec![0.0; rows * size];
    gemm(&mut of_query, size, false, 1.0, [matrix(&of_scores), key], Threads::One);
    of_query
}

/// Rows `[batch, tokens, heads, size]` handed out by text and head, so that tasks can write side by side.
fn by_head(out: &mut [f32], [batch, tokens, heads]: [usize; 3], size: usize) -> Vec<Vec<&mut [f32]>> {
    let mut parts: Vec<Vec<_>> = (0..batch * heads).map(|_| Vec::with_capacity(tokens)).collect();
    for (index, row) in out.chunks_exact_mut(size).enumerate() {
        let (text, head) = (index / (tokens * heads), index % heads);
        parts[text * heads + head].push(row);
    }
    parts
}

fn copy_rows(rows: &mut [&mut [f32]], values: &[f32], size: usize) {
    rows.iter_mut().zip(values.chunks_exact(size)).for_each(|(row, values)| row.copy_from_slice(values));
}

/// Softmax in place over the keys that are not padding; zeros where all are.
#[inline(always)]
fn softmax(row: &mut [f32], padding: Option<&[u8]>) {
    if let Some(padding) = padding {
        for (score, padding) in row.iter_mut().zip(padding) {
            *score = if *padding == 0 { *score } else { f32::NEG_INFINITY };
        }
    }
    let largest = largest(row);
    if largest == f32::NEG_INFINITY {
        // Every key is padding; or no score is a number, and then no weight may look like one.
        let broken = row.iter().any(|score| score.is_nan());
        row.fill(if broken { f32::NAN } else { 0.0 });
        return;
    }
    for score in row.iter_mut() {
        *score = exp(*score - largest);
    }
    let factor = 1.0 / sum(row, |weight| weight);
    row.iter_mut().for_each(|weight| *weight *= factor);
}
