//! Causal attention on slices. Queries are taken in blocks against the keys that a block can see, so that the
//! future and what lies before a window cost nothing, and no more than a block's scores exist at a time.
//!
//! A task's work does not depend on how many threads there are, so results do not either.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::AttentionRule;
use super::exp::exp;
use super::matrix::Matrix;
use super::reduce::{dot, largest, sum};
use super::small_product::small_product;
use super::tasks::{self, Kernel};
use super::tensors::{written, zeros};

/// Queries of a block: enough for the matrix products, few enough to skip most of the future.
const BLOCK: usize = 32;

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
    /// # Panics
    ///
    /// Where the heads do not share the hidden size evenly: some of the output would stay unwritten.
    fn head_size(&self) -> usize {
        let Self { hidden, rule, .. } = self;
        assert!(
            hidden.is_multiple_of(rule.heads),
            "{} heads cannot share {hidden} numbers evenly",
            rule.heads
        );
        hidden / rule.heads
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

    /// The blocks of queries, and the keys that each of them sees.
    fn blocks(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        (0..self.queries).step_by(BLOCK).map(|start| {
            let block = start..(start + BLOCK).min(self.queries);
            (block.clone(), self.seen_by(&block))
        })
    }
}

/// One head of one text, and what several of its blocks need.
struct Head<'a> {
    inputs: &'a Inputs<'a>,
    batch: usize,
    head: usize,
    size: usize,
    /// The keys that any query sees.
    seen: Range<usize>,
    /// These keys, `[size, keys]`.
    keys: Vec<f32>,
}

impl<'a> Head<'a> {
    #[inline(always)]
    fn new(inputs: &'a Inputs<'a>, index: usize) -> Self {
        let (batch, head) = (index / inputs.rule.heads, index % inputs.rule.heads);
        let (size, seen) = (inputs.head_size(), inputs.seen_by(&(0..inputs.queries)));
        let keys = inputs.key.head(batch, seen.clone(), head, size).by_columns();
        Self { inputs, batch, head, size, seen, keys }
    }

    /// The part of this head for a range of tokens, `[tokens, size]`.
    #[inline(always)]
    fn of(&self, tensor: &Tokens<'a>, tokens: Range<usize>) -> Matrix<'a> {
        tensor.head(self.batch, tokens, self.head, self.size)
    }

    /// Products of a block's rows with the keys, or the values, of a span, which `columns` holds as `[size, seen]`;
    /// `[block, span]`.
    #[inline(always)]
    fn scores<S: Simd>(
        &self,
        simd: S,
        rows: Matrix<'_>,
        columns: &[f32],
        span: &Range<usize>,
        out: &mut Vec<f32>,
    ) {
        let width = span.len();
        out.resize(rows.rows * width, 0.0);
        let columns = &columns[span.start - self.seen.start..];
        let columns = Matrix::new(columns, self.size, width, self.seen.len());
        small_product(simd, out, width, false, [rows, columns]);
    }

    /// P of a block of queries over the keys of a span, `[block, span]`.
    #[inline(always)]
    fn weights<S: Simd>(&self, simd: S, block: Range<usize>, span: &Range<usize>, out: &mut Vec<f32>) {
        let inputs = self.inputs;
        self.scores(simd, self.of(&inputs.query, block.clone()), &self.keys, span, out);
        for (query, row) in block.zip(out.chunks_exact_mut(span.len())) {
            let seen = inputs.seen(query);
            row[..seen.start - span.start].fill(0.0);
            row[seen.end - span.start..].fill(0.0);
            let padding = inputs.padding(self.batch, seen.clone());
            softmax(&mut row[seen.start - span.start..seen.end - span.start], padding);
        }
    }
}

/// The output, `[batch, queries, hidden]`.
pub(super) fn forward(inputs: &Inputs<'_>) -> Vec<f32> {
    let Inputs { batch, queries, hidden, rule, .. } = *inputs;
    let count = batch * queries * hidden;
    if queries == 1 {
        let mut out = zeros(count);
        one_query(inputs, &mut out);
        return out;
    }
    // SAFETY: every row of every head is written.
    #[allow(unsafe_code)]
    let [out] = unsafe {
        written([count], |[out]| {
            let arch = Arch::new();
            let heads = by_head(out, [batch, queries, rule.heads], inputs.head_size());
            heads.into_par_iter().enumerate().for_each(|(index, out)| {
                arch.dispatch(HeadForward { inputs, index, out });
            });
        })
    };
    out
}

/// Forward pass of a head of a text, the `index`th of all; `out` has a row for each query.
struct HeadForward<'a> {
    inputs: &'a Inputs<'a>,
    index: usize,
    out: Vec<&'a mut [MaybeUninit<f32>]>,
}

impl WithSimd for HeadForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { inputs, index, mut out } = self;
        let head = Head::new(inputs, index);
        let (mut weights, mut mixed) = (Vec::new(), vec![0.0; BLOCK * head.size]);
        for (block, span) in inputs.blocks() {
            head.weights(simd, block.clone(), &span, &mut weights);
            let weights = Matrix::new(&weights, block.len(), span.len(), span.len());
            let value = head.of(&inputs.value, span);
            small_product(simd, &mut mixed, head.size, false, [weights, value]);
            copy_rows(&mut out[block], &mixed, head.size);
        }
    }
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
pub(super) fn backward(inputs: &Inputs<'_>, gradient: Tokens<'_>) -> [Vec<f32>; 3] {
    let Inputs { batch, queries, keys, hidden, rule, .. } = *inputs;
    let tokens = [queries, keys, keys];
    // SAFETY: every row of every head is written.
    #[allow(unsafe_code)]
    unsafe {
        written(tokens.map(|tokens| batch * tokens * hidden), |outs| {
            let arch = Arch::new();
            let mut tokens = tokens.into_iter();
            let [of_query, of_key, of_value] = outs.map(|out| {
                by_head(out, [batch, tokens.next().unwrap_or_default(), rule.heads], inputs.head_size())
            });
            let heads = of_query.into_par_iter().zip(of_key).zip(of_value).enumerate();
            heads.for_each(|(index, ((of_query, of_key), of_value))| {
                arch.dispatch(HeadBackward { inputs, gradient, index, of_query, of_key, of_value });
            });
        })
    }
}

/// Backward pass of a head of a text, the `index`th of all; the gradients have a row for each token.
struct HeadBackward<'a> {
    inputs: &'a Inputs<'a>,
    gradient: Tokens<'a>,
    index: usize,
    of_query: Vec<&'a mut [MaybeUninit<f32>]>,
    of_key: Vec<&'a mut [MaybeUninit<f32>]>,
    of_value: Vec<&'a mut [MaybeUninit<f32>]>,
}

impl WithSimd for HeadBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { inputs, gradient, index, mut of_query, mut of_key, mut of_value } = self;
        let head = Head::new(inputs, index);
        let size = head.size;
        let values = head.of(&inputs.value, head.seen.clone()).by_columns();
        let [mut key_sum, mut value_sum] = [(); 2].map(|()| vec![0.0; inputs.keys * size]);
        let (mut weights, mut of_scores, mut part) = (Vec::new(), Vec::new(), vec![0.0; BLOCK * size]);
        for (block, span) in inputs.blocks() {
            let (rows, width) = (block.len(), span.len());
            let gradient = head.of(&gradient, block.clone());
            head.weights(simd, block.clone(), &span, &mut weights);
            let place = &mut value_sum[span.start * size..];
            let of_block = Matrix::new(&weights, rows, width, width);
            small_product(simd, place, size, true, [of_block.t(), gradient]);

            head.scores(simd, gradient, &values, &span, &mut of_scores);
            for (of_scores, weights) in of_scores.chunks_exact_mut(width).zip(weights.chunks_exact(width)) {
                let mean = dot(of_scores, weights);
                for (slope, weight) in of_scores.iter_mut().zip(weights) {
                    *slope = weight * (*slope - mean);
                }
            }
            let of_scores = Matrix::new(&of_scores, rows, width, width);
            let query = head.of(&inputs.query, block.clone());
            small_product(simd, &mut key_sum[span.start * size..], size, true, [of_scores.t(), query]);
            let key = head.of(&inputs.key, span);
            small_product(simd, &mut part, size, false, [of_scores, key]);
            copy_rows(&mut of_query[block], &part, size);
        }
        copy_rows(&mut of_key, &key_sum, size);
        copy_rows(&mut of_value, &value_sum, size);
    }
}

/// Rows `[batch, tokens, heads, size]` handed out by text and head, so that tasks can write side by side.
fn by_head<T>(out: &mut [T], [batch, tokens, heads]: [usize; 3], size: usize) -> Vec<Vec<&mut [T]>> {
    let mut parts: Vec<Vec<_>> = (0..batch * heads).map(|_| Vec::with_capacity(tokens)).collect();
    for (index, row) in out.chunks_exact_mut(size).enumerate() {
        let (text, head) = (index / (tokens * heads), index % heads);
        parts[text * heads + head].push(row);
    }
    parts
}

#[inline(always)]
fn copy_rows(rows: &mut [&mut [MaybeUninit<f32>]], values: &[f32], size: usize) {
    for (row, values) in rows.iter_mut().zip(values.chunks_exact(size)) {
        row.write_copy_of_slice(values);
    }
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
