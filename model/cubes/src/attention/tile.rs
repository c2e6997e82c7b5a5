//! Rows of one head: one that a unit holds, and some that a cube shares; and which of them meet.
//!
//! Tensors may be of any float type; what is held and shared is f32.

use cubecl::prelude::*;

use super::UNITS;

/// A unit's query, and the keys that its cube goes through.
#[derive(CubeType)]
pub(super) struct Query {
    /// Its number in its text, which may be beyond the last.
    pub(super) index: usize,
    position: usize,
    /// The first key that any of the cube's queries sees, and the one behind the last.
    pub(super) begin: usize,
    pub(super) end: usize,
}

/// The unit's query.
#[cube]
pub(super) fn own_query(queries: usize, keys: usize, window: usize) -> Query {
    let first = CUBE_POS_X as usize * UNITS;
    let before = keys - queries;
    let index = first + UNIT_POS as usize;
    let begin = max(before + first + 1, window) - window;
    Query { index, position: before + index, begin, end: min(before + first + UNITS, keys) }
}

/// Whether the query is one and sees this key.
#[cube]
pub(super) fn sees(query: &Query, key: usize, queries: usize, window: usize) -> bool {
    query.index < queries && key <= query.position && key + window > query.position
}

/// Where the head of a cube begins in row `index` of its text, in vectors.
#[cube]
pub(super) fn place(index: usize, rows: usize, #[comptime] parts: usize) -> usize {
    let (text, head) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize);
    ((text * rows + index) * CUBE_COUNT_Y as usize + head) * parts
}

/// The unit's own copy of a head of row `index`; zeros beyond the last row.
#[cube]
pub(super) fn read<F: Float, N: Size>(
    from: &Array<Vector<F, N>>,
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
            row[part] = Vector::cast_from(from[place + part]);
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

/// Writes the unit's row, divided by `divisor`, where it is one.
#[cube]
pub(super) fn write<F: Float, N: Size>(
    to: &mut Array<Vector<F, N>>,
    row: &Array<Vector<f32, N>>,
    divisor: f32,
    index: usize,
    rows: usize,
    #[comptime] parts: usize,
) {
    if index < rows {
        let place = place(index, rows, parts);
        #[unroll]
        for part in 0..parts {
            to[place + part] = Vector::cast_from(row[part] / Vector::new(divisor));
        }
    }
}

/// Brings `count` rows from `first` on into a tile of each of two, all units together; zeros beyond the last row.
#[cube]
pub(super) fn share<F: Float, N: Size>(
    one: &Array<Vector<F, N>>,
    other: &Array<Vector<F, N>>,
    one_tile: &mut SharedMemory<Vector<f32, N>>,
    other_tile: &mut SharedMemory<Vector<f32, N>>,
    first: usize,
    rows: usize,
    #[comptime] parts: usize,
    #[comptime] count: usize,
) {
    // The tiles may be in use.
    sync_cube();
    let mut at = UNIT_POS as usize;
    while at < count * parts {
        let index = first + at / parts;
        one_tile[at] = Vector::new(0.0);
        other_tile[at] = Vector::new(0.0);
        if index < rows {
            let place = place(index, rows, parts) + at % parts;
            one_tile[at] = Vector::cast_from(one[place]);
            other_tile[at] = Vector::cast_from(other[place]);
        }
        at += UNITS;
    }
    sync_cube();
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
