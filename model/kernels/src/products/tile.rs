//! The innermost loops of a large product: a tile of sums in registers, and its way into the result.

use std::array::from_fn;
use std::mem::MaybeUninit;

use pulp::Simd;

use super::ahead::Ahead;
use crate::memory::prefetch;

/// Terms from one step of what is asked for ahead to the next.
pub(super) const STRETCH: usize = 64;

/// Writes the sums of `T` rows of x with the columns of a panel, which holds for each term `W` registers of them. Plain
/// loops over arrays: they are unrolled, and the sums stay in registers. What takes them is memory of the caller's: returned
/// and read by an index they would lie in memory from the first term on.
#[inline(always)]
#[allow(clippy::needless_range_loop, clippy::manual_memcpy)]
pub(super) fn tile<S: Simd, const T: usize, const W: usize>(
    simd: S,
    x: [&[f32]; T],
    panel: &[[S::f32s; W]],
    ahead: &mut Ahead<'_>,
    out: &mut [[S::f32s; W]; T],
) {
    let mut sums = [[simd.splat_f32s(0.0); W]; T];
    let x = x.map(|row| &row[..panel.len()]);
    for (number, lines) in panel.chunks(STRETCH).enumerate() {
        ahead.step();
        let x = x.map(|row| &row[number * STRETCH..][..lines.len()]);
        for (k, line) in lines.iter().enumerate() {
            let line = *line;
            for i in 0..T {
                let factor = simd.splat_f32s(x[i][k]);
                for j in 0..W {
                    sums[i][j] = simd.mul_add_f32s(factor, line[j], sums[i][j]);
                }
            }
        }
    }
    for i in 0..T {
        out[i] = sums[i];
    }
}

/// A panel's columns of some rows of the result; with `add`, what is there counts, else the bias.
pub(super) struct Part<'a, 'r, const PANEL: usize> {
    pub(super) rows: &'a mut [&'r mut [MaybeUninit<f32>]],
    pub(super) start: usize,
    pub(super) add: bool,
    pub(super) bias: Option<&'a [f32]>,
}

impl<const PANEL: usize> Part<'_, '_, PANEL> {
    /// Asks for so many rows from `row` on.
    #[inline(always)]
    pub(super) fn ask_for(&self, row: usize, count: usize) {
        for row in &self.rows[row..row + count] {
            let places = &row[self.start..];
            prefetch(&places[0]);
            prefetch(&places[places.len().min(PANEL) - 1]);
        }
    }

    /// Takes the sums of the rows from `row` on.
    #[inline(always)]
    pub(super) fn put<R: pulp::bytemuck::Pod, const W: usize>(&mut self, row: usize, sums: &[[R; W]]) {
        let Self { start, add, .. } = *self;
        let bias = self.bias.map(|bias| &bias[start..]);
        for (row, sums) in self.rows[row..].iter_mut().zip(sums) {
            let places = &mut row[start..];
            let sums = pulp::bytemuck::cast_slice::<R, f32>(sums);
            match (places.first_chunk_mut::<PANEL>(), sums.first_chunk::<PANEL>()) {
                (Some(places), Some(sums)) => {
                    // Copies, which share nothing: a few registers. Else numbers would move one by one.
                    let before = if add {
                        // SAFETY: the sums of the first terms have been written to all of the block's rows.
                        #[allow(unsafe_code)]
                        Some(places.map(|place| unsafe { place.assume_init() }))
                    } else {
                        bias.and_then(|bias| bias.first_chunk()).copied()
                    };
                    let line: [f32; PANEL] = match before {
                        Some(before) => from_fn(|i| before[i] + sums[i]),
                        None => *sums,
                    };
                    *places = line.map(MaybeUninit::new);
                }
                _ => write(places, sums, add, bias),
            }
        }
    }
}

#[inline(always)]
fn write(places: &mut [MaybeUninit<f32>], sums: &[f32], add: bool, bias: Option<&[f32]>) {
    let places = places.iter_mut().zip(sums);
    if add {
        for (place, sum) in places {
            // SAFETY: the sums of the first terms have been written to all of the block's rows.
            #[allow(unsafe_code)]
            unsafe {
                *place.assume_init_mut() += sum;
            }
        }
    } else if let Some(bias) = bias {
        for ((place, sum), bias) in places.zip(bias) {
            place.write(bias + sum);
        }
    } else {
        for (place, sum) in places {
            place.write(*sum);
        }
    }
}
