//! One head of one text: the scores and weights of a block of queries, which the forward and the backward pass both need,
//! and the part of a tensor that is a head's own.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::Simd;

use super::inputs::{Attention, Tokens};
use super::softmax::softmax;
use crate::products::{Matrix, small_product};

/// One head of one text, and what several of its blocks need.
pub(super) struct Head<'a> {
    inputs: &'a Attention<'a>,
    batch: usize,
    head: usize,
    pub(super) size: usize,
    /// The keys that any query sees.
    pub(super) seen: Range<usize>,
    /// These keys, `[size, keys]`.
    keys: Vec<f32>,
}

impl<'a> Head<'a> {
    #[inline(always)]
    pub(super) fn new(inputs: &'a Attention<'a>, index: usize) -> Self {
        let (batch, head) = (index / inputs.heads, index % inputs.heads);
        let (size, seen) = (inputs.head_size(), inputs.seen_by(&(0..inputs.queries)));
        let keys = inputs.key.head(batch, seen.clone(), head, size).by_columns();
        Self { inputs, batch, head, size, seen, keys }
    }

    /// The part of this head for a range of tokens, `[tokens, size]`.
    #[inline(always)]
    pub(super) fn of(&self, tensor: &Tokens<'a>, tokens: Range<usize>) -> Matrix<'a> {
        tensor.head(self.batch, tokens, self.head, self.size)
    }

    /// The rows of a span's keys of a matrix that has one for each key that any query sees.
    #[inline(always)]
    pub(super) fn rows_of<'m>(&self, seen: Matrix<'m>, span: &Range<usize>) -> Matrix<'m> {
        seen.rows(span.start - self.seen.start..span.end - self.seen.start)
    }

    /// Products of a block's rows with the keys, or the values, of a span, which `columns` holds as `[size, seen]`;
    /// `[block, span]`.
    #[inline(always)]
    pub(super) fn scores<S: Simd>(
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
        small_product(simd, out, width, [rows, columns]);
    }

    /// P of a block of queries over the keys of a span, `[block, span]`.
    #[inline(always)]
    pub(super) fn weights<S: Simd>(
        &self,
        simd: S,
        block: Range<usize>,
        queries: Matrix<'_>,
        span: &Range<usize>,
        out: &mut Vec<f32>,
    ) {
        let inputs = self.inputs;
        self.scores(simd, queries, &self.keys, span, out);
        for (query, row) in block.zip(out.chunks_exact_mut(span.len())) {
            let seen = inputs.seen(query);
            row[..seen.start - span.start].fill(0.0);
            row[seen.end - span.start..].fill(0.0);
            let padding = inputs.padding(self.batch, seen.clone());
            softmax(&mut row[seen.start - span.start..seen.end - span.start], padding);
        }
    }
}

/// Rows `[batch, tokens, heads, size]` handed out by text and head, so that tasks can write side by side.
pub(super) fn by_head<T>(
    out: &mut [T],
    [batch, tokens, heads]: [usize; 3],
    size: usize,
) -> Vec<Vec<&mut [T]>> {
    let mut parts: Vec<Vec<_>> = (0..batch * heads).map(|_| Vec::with_capacity(tokens)).collect();
    for (index, row) in out.chunks_exact_mut(size).enumerate() {
        let (text, head) = (index / (tokens * heads), index % heads);
        parts[text * heads + head].push(row);
    }
    parts
}

#[inline(always)]
pub(super) fn copy_rows(rows: &mut [&mut [MaybeUninit<f32>]], values: &[f32], size: usize) {
    for (row, values) in rows.iter_mut().zip(values.chunks_exact(size)) {
        row.write_copy_of_slice(values);
    }
}
