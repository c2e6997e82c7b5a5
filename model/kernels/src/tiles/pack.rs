//! The factors of a product as tiles. Plain loops over arrays, which the compiler vectorises.

use std::ops::Range;

use half::bf16;

use super::unit::{LANES, TERMS, Tile, Tiles, Unit};
use crate::memory::prefetch;
use crate::products::{Factor, Matrix};

/// Numbers of a type that enters a product.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// A number as parts.
trait Element: Copy + Default {
    /// The parts of each value: f32 whose lower halves are zero.
    fn parts<const PARTS: usize>(values: [Self; LANES]) -> [[u32; LANES]; PARTS];
}

impl Element for f32 {
    /// Each part is the rest of those before, rounded to nearest, ties to even; what is left after three is nothing.
    #[inline(always)]
    fn parts<const PARTS: usize>(values: [f32; LANES]) -> [[u32; LANES]; PARTS] {
        let mut rest = values;
        let mut parts = [[0; LANES]; PARTS];
        for part in &mut parts {
            for (part, rest) in part.iter_mut().zip(&mut rest) {
                let bits = rest.to_bits();
                let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000;
                *part = if rest.is_nan() { f32::NAN.to_bits() } else { rounded };
                *rest -= f32::from_bits(*part);
            }
        }
        parts
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn parts<const PARTS: usize>(values: [bf16; LANES]) -> [[u32; LANES]; PARTS] {
        let mut parts = [[0; LANES]; PARTS];
        for (part, value) in parts[0].iter_mut().zip(values) {
            *part = u32::from(value.to_bits()) << 16;
        }
        parts
    }
}

/// The first values, and zeros in place of those that are not there.
#[inline(always)]
fn filled<T: Copy + Default, const N: usize>(values: &[T]) -> [T; N] {
    match values.first_chunk() {
        Some(values) => *values,
        None => {
            let mut filled = [T::default(); N];
            filled[..values.len()].copy_from_slice(values);
            filled
        }
    }
}

/// Some rows of x, 32 at most, which stand together, over `terms`.
#[inline(always)]
pub(super) fn pack_rows<const PARTS: usize>(x: Matrix<'_>, rows: Range<usize>, terms: Range<usize>) -> Tiles {
    let mut tiles = no_tiles::<PARTS>(&terms);
    let half = tiles.len() / 2;
    let depth = x.columns;
    let x = &x.data[rows.start * depth..rows.end * depth];
    for (x, tiles) in x.chunks(LANES * depth).zip(tiles.chunks_exact_mut(half)) {
        rows_as_tiles::<f32, PARTS>(x, depth, terms.clone(), tiles);
    }
    tiles
}

/// Some rows of an x whose columns stand together, 32 at most, over `terms`.
#[inline(always)]
pub(super) fn pack_turned_rows<U: Unit, const PARTS: usize>(
    unit: U,
    x: Matrix<'_>,
    rows: Range<usize>,
    terms: Range<usize>,
) -> Tiles {
    let mut tiles = no_tiles::<PARTS>(&terms);
    let half = tiles.len() / 2;
    for (first, tiles) in rows.clone().step_by(LANES).zip(tiles.chunks_exact_mut(half)) {
        let range = first..rows.end.min(first + LANES);
        plain_as_tiles::<f32, PARTS>(x.data, x.rows, range, terms.clone(), tiles);
        for tile in tiles {
            unit.transpose(tile);
        }
    }
    tiles
}

/// Columns of the other factor from `column` on, 32 at most, over `terms`.
#[inline(always)]
pub(super) fn pack_columns<U: Unit, const PARTS: usize>(
    unit: U,
    factor: Factor<Values<'_>>,
    terms: Range<usize>,
    column: usize,
) -> Tiles {
    match factor.values {
        Values::F32(values) => columns_as_tiles::<U, f32, PARTS>(unit, values, factor, terms, column),
        Values::Bf16(values) => columns_as_tiles::<U, bf16, PARTS>(unit, values, factor, terms, column),
    }
}

#[inline(always)]
fn columns_as_tiles<U: Unit, T: Element, const PARTS: usize>(
    unit: U,
    values: &[T],
    factor: Factor<Values<'_>>,
    terms: Range<usize>,
    column: usize,
) -> Tiles {
    let Factor { depth, columns, columns_together, .. } = factor;
    let mut tiles = no_tiles::<PARTS>(&terms);
    let half = tiles.len() / 2;
    for (first, tiles) in (column..columns).step_by(LANES).zip(tiles.chunks_exact_mut(half)) {
        let range = first..columns.min(first + LANES);
        if columns_together {
            let values = &values[range.start * depth..range.end * depth];
            rows_as_tiles::<T, PARTS>(values, depth, terms.clone(), tiles);
            for tile in tiles {
                unit.transpose(tile);
            }
        } else {
            plain_as_tiles::<T, PARTS>(values, columns, range, terms.clone(), tiles);
        }
    }
    tiles
}

/// Tiles of zeros for 32 rows or columns.
#[inline(always)]
fn no_tiles<const PARTS: usize>(terms: &Range<usize>) -> Tiles {
    vec![Tile::ZERO; 2 * terms.len().div_ceil(TERMS) * PARTS]
}

/// Rows `[rows, depth]`, 16 at most, over `terms`: a line of a tile for each.
#[inline(always)]
fn rows_as_tiles<T: Element, const PARTS: usize>(
    values: &[T],
    depth: usize,
    terms: Range<usize>,
    tiles: &mut [Tile],
) {
    let (steps, _) = tiles.as_chunks_mut::<PARTS>();
    for (start, step) in terms.clone().step_by(TERMS).zip(steps) {
        for (row, values) in values.chunks_exact(depth).enumerate() {
            ask_for(&values[start..], 4 * TERMS);
            let values = filled::<T, TERMS>(&values[start..terms.end]);
            let (halves, _) = values.as_chunks::<LANES>();
            let [first, second] = [T::parts::<PARTS>(halves[0]), T::parts::<PARTS>(halves[1])];
            for (tile, (first, second)) in step.iter_mut().zip(first.iter().zip(&second)) {
                tile.0[row] = neighbours(first, second);
            }
        }
    }
}

/// Asks for the cache lines of two times 16 numbers that will be needed in a while, as far as they are there.
#[inline(always)]
fn ask_for<T>(values: &[T], ahead: usize) {
    if let Some(value) = values.get(ahead) {
        prefetch(value);
    }
    if let Some(value) = values.get(ahead + LANES) {
        prefetch(value);
    }
}

/// Pairs of numbers that stand side by side in `first`, then in `second`.
#[inline(always)]
fn neighbours(first: &[u32; LANES], second: &[u32; LANES]) -> [u32; LANES] {
    let mut pairs = [0; LANES];
    for i in 0..LANES / 2 {
        pairs[i] = first[2 * i] >> 16 | first[2 * i + 1];
        pairs[i + LANES / 2] = second[2 * i] >> 16 | second[2 * i + 1];
    }
    pairs
}

/// Columns of a matrix `[depth, columns]` whose rows stand together, 16 at most, over `terms`: a line of a tile for each
/// two rows.
#[inline(always)]
fn plain_as_tiles<T: Element, const PARTS: usize>(
    values: &[T],
    columns: usize,
    range: Range<usize>,
    terms: Range<usize>,
    tiles: &mut [Tile],
) {
    let (steps, _) = tiles.as_chunks_mut::<PARTS>();
    for (start, step) in terms.clone().step_by(TERMS).zip(steps) {
        for (line, term) in (start..terms.end.min(start + TERMS)).step_by(2).enumerate() {
            ask_for(&values[term * columns + range.start..], 2 * TERMS * columns);
            ask_for(&values[term * columns + range.start..], (2 * TERMS + 1) * columns);
            let first = T::parts::<PARTS>(filled(&values[term * columns..][range.clone()]));
            let second = match term + 1 < terms.end {
                true => T::parts::<PARTS>(filled(&values[(term + 1) * columns..][range.clone()])),
                false => [[0; LANES]; PARTS],
            };
            for (tile, (first, second)) in step.iter_mut().zip(first.iter().zip(&second)) {
                for (pair, (first, second)) in tile.0[line].iter_mut().zip(first.iter().zip(second)) {
                    *pair = first >> 16 | second;
                }
            }
        }
    }
}
