//! One new token a text, as in decoding: matrix products would only cost their preparation. A task is a text, or a part
//! of its heads where there are fewer texts than threads: so keys and values are read as they lie in memory.

use super::inputs::Attention;
use super::softmax::softmax;
use crate::rows::dot;
use crate::tasks::{self, Kernel};

/// The output of texts with a single query each, `[batch, hidden]`.
pub(super) fn one_query(inputs: &Attention<'_>, out: &mut [f32]) {
    let parts = rayon::current_num_threads().div_ceil(inputs.batch);
    let heads = inputs.heads.div_ceil(parts);
    let texts = out.chunks_mut(inputs.hidden).enumerate();
    let tasks = texts.flat_map(|(batch, out)| {
        let parts = out.chunks_mut(heads * inputs.head_size()).enumerate();
        parts.map(move |(part, out)| (batch, part * heads, out))
    });
    tasks::run(&OneQuery { inputs }, tasks);
}

/// A kernel and no closure: that would be compiled by itself, for the oldest processor.
struct OneQuery<'a> {
    inputs: &'a Attention<'a>,
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
