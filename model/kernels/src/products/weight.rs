//! Weights as they are stored, and which way round they enter a product.

use std::ops::Range;

use half::bf16;

use crate::memory::{LINE, prefetch};

/// How many rows ahead are asked for.
const AHEAD: usize = 16;

/// A weight `[output, input]` as it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a> {
    /// 4 bytes a number.
    F32(&'a [f32]),
    /// 2 bytes a number.
    Bf16(&'a [bf16]),
    /// 1 byte a number, which is worth the scale of its block.
    Int8 {
        /// The numbers, `[output, input]`.
        values: &'a [i8],
        /// One for each block.
        scales: &'a [f32],
        /// Numbers of a block; it lies within a row.
        block: usize,
    },
}

impl Weight<'_> {
    /// Numbers that are there.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::Int8 { values, scales, block } => values.len().min(scales.len() * block),
        }
    }

    /// Asks for the cache lines that hold a range, as far as it is there.
    #[inline(always)]
    pub(crate) fn ask_for(&self, range: Range<usize>) {
        match *self {
            Self::F32(values) => ask_for(values, range),
            Self::Bf16(values) => ask_for(values, range),
            Self::Int8 { values, .. } => ask_for(values, range),
        }
    }

    /// The elements of a range, in `scratch` if they are not f32 already.
    #[inline(always)]
    pub(crate) fn floats<'s>(&'s self, range: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32] {
        match *self {
            Self::F32(values) => &values[range],
            Self::Bf16(values) => {
                scratch.resize(range.len(), 0.0);
                for (out, value) in scratch.iter_mut().zip(&values[range]) {
                    *out = f32::from_bits(u32::from(value.to_bits()) << 16);
                }
                scratch
            }
            Self::Int8 { values, scales, block } => {
                // Whole blocks.
                let before = range.start % block;
                let whole = range.start - before..range.end.next_multiple_of(block);
                scratch.resize(whole.len(), 0.0);
                let scales = &scales[whole.start / block..];
                let blocks = scratch.chunks_exact_mut(block).zip(values[whole].chunks_exact(block));
                for ((out, values), scale) in blocks.zip(scales) {
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = f32::from(*value) * scale;
                    }
                }
                &scratch[before..][..range.len()]
            }
        }
    }
}

#[inline(always)]
fn ask_for<T>(values: &[T], range: Range<usize>) {
    let there = range.start.min(values.len())..range.end.min(values.len());
    values[there].iter().step_by(LINE / size_of::<T>()).for_each(prefetch);
}

/// The second factor of a product: a matrix `[depth, columns]`, whose rows or whose columns stand together.
#[derive(Clone, Copy)]
pub(crate) struct Factor<V> {
    pub(crate) values: V,
    /// Terms of each sum.
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) columns_together: bool,
}

impl<V> Factor<V> {
    /// `W^T` of a weight W `[output, input]`.
    pub(crate) fn transposed(values: V, [output, input]: [usize; 2]) -> Self {
        Self { values, depth: input, columns: output, columns_together: true }
    }

    /// A weight W `[output, input]`.
    pub(crate) fn plain(values: V, [output, input]: [usize; 2]) -> Self {
        Self { values, depth: output, columns: input, columns_together: false }
    }
}

impl Factor<Weight<'_>> {
    /// Where rows stand together, asks for some columns of one that is read soon: a processor does not foresee parts of
    /// rows.
    #[inline(always)]
    pub(crate) fn ask_for_row_after(&self, row: usize, columns: &Range<usize>) {
        let start = (row + AHEAD) * self.columns;
        self.values.ask_for(start + columns.start..start + columns.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_worth_its_blocks_scale() {
        let weight = Weight::Int8 { values: &[1, -2, 3, 127], scales: &[0.5, 2.0], block: 2 };
        let mut scratch = Vec::new();
        assert_eq!(weight.floats(0..4, &mut scratch), [0.5, -1.0, 6.0, 254.0]);
        assert_eq!(weight.floats(2..4, &mut scratch), [6.0, 254.0]);
        assert_eq!(weight.floats(1..3, &mut scratch), [-1.0, 6.0]);
        assert!(weight.floats(3..3, &mut scratch).is_empty());
    }
}
