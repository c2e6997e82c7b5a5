//! The backward pass: a task is a head of a text, whose weights are worked out again block by block.

use std::mem::MaybeUninit;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::head::{Head, by_head, copy_rows};
use super::inputs::{Attention, BLOCK, Tokens};
use crate::memory::written;
use crate::products::{Matrix, add_small_product, small_product};
use crate::registers::arch;
use crate::rows::dot;

/// The gradients of query, key and value, each contiguous and of its input's shape, from that of the output.
///
/// # Panics
///
/// As [`attention`](super::attention).
pub fn attention_backward(inputs: &Attention<'_>, gradient: Tokens<'_>) -> [Vec<f32>; 3] {
    inputs.assert_sizes();
    let Attention { batch, queries, keys, hidden, heads, .. } = *inputs;
    let tokens = [queries, keys, keys];
    // SAFETY: the heads share each tensor evenly, as has been asserted, and every row of every head is written.
    #[allow(unsafe_code)]
    unsafe {
        written(tokens.map(|tokens| batch * tokens * hidden), |outs| {
            let arch = arch();
            let mut tokens = tokens.into_iter();
            let [of_query, of_key, of_value] = outs.map(|out| {
                by_head(out, [batch, tokens.next().unwrap_or_default(), heads], inputs.head_size())
            });
            let parts = of_query.into_par_iter().zip(of_key).zip(of_value).enumerate();
            parts.for_each(|(index, ((of_query, of_key), of_value))| {
                arch.dispatch(HeadBackward { inputs, gradient, index, of_query, of_key, of_value });
            });
        })
    }
}

/// Backward pass of a head of a text, the `index`th of all; the gradients have a row for each token.
struct HeadBackward<'a> {
    inputs: &'a Attention<'a>,
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
        let [mut keys, mut queries, mut gradients] = [const { Vec::new() }; 3];
        let keys = head.of(&inputs.key, head.seen.clone()).gathered(&mut keys);
        let [mut key_sum, mut value_sum] = [(); 2].map(|()| vec![0.0; inputs.keys * size]);
        let (mut weights, mut of_scores, mut part) = (Vec::new(), Vec::new(), vec![0.0; BLOCK * size]);
        for (block, span) in inputs.blocks() {
            let (rows, width) = (block.len(), span.len());
            let gradient = head.of(&gradient, block.clone()).gathered(&mut gradients);
            let query = head.of(&inputs.query, block.clone()).gathered(&mut queries);
            head.weights(simd, block.clone(), query, &span, &mut weights);
            let place = &mut value_sum[span.start * size..];
            let of_block = Matrix::new(&weights, rows, width, width);
            add_small_product(simd, place, size, [of_block.t(), gradient]);

            head.scores(simd, gradient, &values, &span, &mut of_scores);
            for (of_scores, weights) in of_scores.chunks_exact_mut(width).zip(weights.chunks_exact(width)) {
                let mean = dot(of_scores, weights);
                for (slope, weight) in of_scores.iter_mut().zip(weights) {
                    *slope = weight * (*slope - mean);
                }
            }
            let of_scores = Matrix::new(&of_scores, rows, width, width);
            add_small_product(simd, &mut key_sum[span.start * size..], size, [of_scores.t(), query]);
            small_product(simd, &mut part, size, [of_scores, head.rows_of(keys, &span)]);
            copy_rows(&mut of_query[block], &part, size);
        }
        copy_rows(&mut of_key, &key_sum, size);
        copy_rows(&mut of_value, &value_sum, size);
    }
}
