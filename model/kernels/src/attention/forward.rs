//! The forward pass: a task is a head of a text.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::head::{Head, by_head, copy_rows};
use super::inputs::{Attention, BLOCK};
use super::one_query::one_query;
use crate::memory::{written, zeros};
use crate::products::{Matrix, small_product};
use crate::registers::arch;

/// The output, `[batch, queries, hidden]`.
///
/// A query that sees no key gives zeros.
///
/// # Panics
///
/// Where there is no query, fewer keys than queries, or heads that do not share the numbers of a token evenly, or a slice
/// is too short.
pub fn attention(inputs: &Attention<'_>) -> Vec<f32> {
    inputs.assert_sizes();
    let Attention { batch, queries, hidden, heads, .. } = *inputs;
    let count = batch * queries * hidden;
    if queries == 1 {
        let mut out = zeros(count);
        one_query(inputs, &mut out);
        return out;
    }
    // SAFETY: the heads share the output evenly, as has been asserted, and every row of every head is written.
    #[allow(unsafe_code)]
    let [out] = unsafe {
        written([count], |[out]| {
            let arch = arch();
            let parts = by_head(out, [batch, queries, heads], inputs.head_size());
            parts.into_par_iter().enumerate().for_each(|(index, out)| {
                arch.dispatch(HeadForward { inputs, index, out });
            });
        })
    };
    out
}

/// Forward pass of a head of a text, the `index`th of all; `out` has a row for each query.
struct HeadForward<'a> {
    inputs: &'a Attention<'a>,
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
        let mut values = Vec::new();
        let values = head.of(&inputs.value, head.seen.clone()).gathered(&mut values);
        for (block, span) in inputs.blocks() {
            let queries = head.of(&inputs.query, block.clone());
            head.weights(simd, block.clone(), queries, &span, &mut weights);
            let weights = Matrix::new(&weights, block.len(), span.len(), span.len());
            small_product(simd, &mut mixed, head.size, [weights, head.rows_of(values, &span)]);
            copy_rows(&mut out[block], &mixed, head.size);
        }
    }
}
