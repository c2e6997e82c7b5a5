//! What the next panel is made of, asked for while rows meet the present one: its lines come from memory while the units
//! are busy, and are near when the panel is made.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use pulp::bytemuck::cast_slice;

use super::weight::{Factor, Weight};
use crate::memory::{LINE, prefetch_early};

/// A rectangle of a factor as it is stored, a few lines of it at each step.
#[derive(Default)]
pub(super) struct Ahead<'a> {
    bytes: &'a [u8],
    /// Bytes from one of its rows to the next.
    stride: usize,
    /// Bytes of a row.
    width: usize,
    /// Rows that are left, from byte `row` on.
    rows: usize,
    row: usize,
    /// Bytes of the first of them that were asked for.
    asked: usize,
    /// Lines of a step.
    lines: usize,
}

impl<'a> Ahead<'a> {
    /// Some terms of some columns, in so many steps.
    pub(super) fn new(
        factor: Factor<Weight<'a>>,
        terms: Range<usize>,
        columns: Range<usize>,
        steps: usize,
    ) -> Self {
        let (bytes, size): (&[u8], usize) = match factor.values {
            Weight::F32(values) => (cast_slice(values), 4),
            Weight::Bf16(values) => (cast_slice::<u16, u8>(values.reinterpret_cast()), 2),
            Weight::Int8 { values, .. } => (cast_slice(values), 1),
        };
        let (rows, within, stride) = match factor.columns_together {
            true => (columns, terms, factor.depth),
            false => (terms, columns, factor.columns),
        };
        let width = within.len() * size;
        Self {
            bytes,
            stride: stride * size,
            width,
            rows: rows.len(),
            row: (rows.start * stride + within.start) * size,
            asked: 0,
            lines: (rows.len() * width.div_ceil(LINE)).div_ceil(steps),
        }
    }

    /// Asks for the lines of a step, as far as any are left.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.step_over(|line| prefetch_early(&line[0]));
    }

    /// Hands on each line of a step, of which the last of a row may be short.
    #[inline(always)]
    fn step_over(&mut self, mut ask_for: impl FnMut(&[u8])) {
        let mut wanted = self.lines;
        while wanted > 0 && self.rows > 0 {
            let rest = self.bytes.get(self.row + self.asked..self.row + self.width).unwrap_or_default();
            rest.chunks(LINE).take(wanted).for_each(&mut ask_for);
            self.asked += wanted * LINE;
            if self.asked < self.width {
                return;
            }
            wanted -= rest.len().div_ceil(LINE).min(wanted);
            self.asked = 0;
            self.row += self.stride;
            self.rows -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_steps_ask_for_each_number_of_a_rectangle_once() {
        let bytes: Vec<i8> = (0..70 * 130).map(|place| (place % 127) as i8).collect();
        let weight = Weight::Int8 { values: &bytes, scales: &[], block: 1 };
        for columns_together in [true, false] {
            let (depth, columns) = if columns_together { (130, 70) } else { (70, 130) };
            let factor = Factor { values: weight, depth, columns, columns_together };
            let parts = [(0..depth, 0..columns, 7), (3..50, 10..42, 100), (5..6, 9..12, 2), (4..4, 0..9, 3)];
            for (terms, columns, steps) in parts {
                let mut expected = Vec::new();
                let (rows, within) = if columns_together { (&columns, &terms) } else { (&terms, &columns) };
                for row in rows.clone() {
                    expected.extend(within.clone().map(|place| bytes[row * 130 + place].cast_unsigned()));
                }
                let mut asked = Vec::new();
                let mut ahead = Ahead::new(factor, terms, columns, steps);
                for _ in 0..steps {
                    ahead.step_over(|line| asked.extend_from_slice(line));
                }
                assert_eq!(asked, expected, "{steps} steps, {columns_together}");
            }
        }
    }
}
