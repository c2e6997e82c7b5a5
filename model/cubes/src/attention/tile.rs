//! Rows of one head: one that a unit holds, and some that a cube shares.

use cubecl::prelude::*;

use super::UNITS;

/// Where the head of a cube begins in row `index` of its text, in vectors.
#[cube]
pub(super) fn place(index: usize, rows: usize, #[comptime] parts: usize) -> usize {
    let (text, head) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize);
    ((text * rows + index) * CUBE_COUNT_Y as usize + head) * parts
}

/// The unit's own copy of a head of row `index`; zeros beyond the last row.
#[cube]
pub(super) fn read<N: Size>(
    from: &Array<Vector<f32, N>>,
    index: usize,
    rows: usize,
    #[comptime] parts: usize,
) -> Array<Vector<f32, N>> {
    let mut row = Array::<Vector<f32, N>>::new(parts);
    let place = place(index, rows, parts);
    #[unroll]
    for part in 0..parts {
        row[part] = Vector::new(0.0);
        if index < rows {
            row[part] = from[place + part];
        }
    }
    row
}

/// A row of zeros.
#[cube]
pub(super) fn zeros<N: Size>(#[comptime] parts: usize) -> Array<Vector<f32, N>> {
    let mut row = Array::<Vector<f32, N>>::new(parts);
    #[unroll]
    for part in 0..parts {
        row[part] = Vector::new(0.0);
    }
    row
}

/// Brings `count` rows from `first` on into `tile`, all units together; zeros beyond the last row.
#[cube]
pub(super) fn share<N: Size>(
    from: &Array<Vector<f32, N>>,
    tile: &mut SharedMemory<Vector<f32, N>>,
    first: usize,
    rows: usize,
    #[comptime] parts: usize,
    #[comptime] count: usize,
) {
    let mut at = UNIT_POS as usize;
    while at < count * parts {
        let index = first + at / parts;
        tile[at] = Vector::new(0.0);
        if index < rows {
            tile[at] = from[place(index, rows, parts) + at % parts];
        }
        at += UNITS;
    }
}

/// The inner product of the unit's row with one of the tile.
#[cube]
pub(super) fn dot<N: Size>(
    row: &Array<Vector<f32, N>>,
    tile: &SharedMemory<Vector<f32, N>>,
    index: usize,
    #[comptime] parts: usize,
) -> f32 {
    let mut lanes = Vector::<f32, N>::new(0.0);
    #[unroll]
    for part in 0..parts {
        lanes += row[part] * tile[index * parts + part];
    }
    let mut sum = f32::new(0.0);
    #[unroll]
    for lane in 0..N::value() {
        sum += lanes[lane];
    }
    sum
}

/// Adds a row of the tile times `factor` to the unit's row.
#[cube]
pub(super) fn add<N: Size>(
    row: &mut Array<Vector<f32, N>>,
    tile: &SharedMemory<Vector<f32, N>>,
    index: usize,
    factor: f32,
    #[comptime] parts: usize,
) {
    #[unroll]
    for part in 0..parts {
        row[part] = row[part] + tile[index * parts + part] * Vector::new(factor);
    }
}
