//! Rows of one head: one that a unit holds, and some that a cube shares; and which of them meet.
//!
//! Tensors may be of any float type; what is held and shared is f32. A row too large for the registers of a unit is held by
//! two or four neighbours, its `holders`, each of which has every second or fourth vector of it.

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
pub(super) fn own_query(queries: usize, keys: usize, window: usize, #[comptime] holders: usize) -> Query {
    let rows = comptime!(UNITS / holders);
    let first = CUBE_POS_X as usize * rows;
    query_of_cube(first, UNIT_POS as usize / holders, rows, queries, keys, window)
}

/// The query `row` of a cube that has `rows` of them from `first` on.
#[cube]
pub(super) fn query_of_cube(
    first: usize,
    row: usize,
    #[comptime] rows: usize,
    queries: usize,
    keys: usize,
    window: usize,
) -> Query {
    let before = keys - queries;
    let index = first + row;
    let begin = max(before + first + 1, window) - window;
    Query { index, position: before + index, begin, end: min(before + first + rows, keys) }
}

/// Whether the query is one and sees this key.
#[cube]
pub(super) fn sees(query: &Query, key: usize, queries: usize, window: usize) -> bool {
    query.index < queries && key <= query.position && key + window > query.position
}

/// Where the head of a cube begins in row `index` of its text, in vectors, of which a head has `vectors`.
#[cube]
pub(super) fn place(index: usize, rows: usize, #[comptime] vectors: usize) -> usize {
    let (text, head) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize);
    ((text * rows + index) * CUBE_COUNT_Y as usize + head) * vectors
}

/// Where the cube's head has its number of query `index`, in `[batch, heads, queries]`.
#[cube]
pub(super) fn number(index: usize, queries: usize) -> usize {
    (CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize) * queries + index
}

/// Which of a row's holders the unit is.
#[cube]
pub(super) fn holder(#[comptime] holders: usize) -> usize {
    UNIT_POS as usize % holders
}

/// The unit's own copy of its part of a head of row `index`; zeros beyond the last row.
#[cube]
pub(super) fn read<F: Float, N: Size>(
    from: &Array<Vector<F, N>>,
    index: usize,
    rows: usize,
    #[comptime] parts: usize,
    #[comptime] holders: usize,
) -> Array<Vector<f32, N>> {
    let mut row = Array::<Vector<f32, N>>::new(parts);
    let place = place(index, rows, comptime!(parts * holders)) + holder(holders);
    #[unroll]
    for part in 0..parts {
        row[part] = Vector::new(0.0);
        if index < rows {
            row[part] = Vector::cast_from(from[place + part * holders]);
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
    #[comptime] holders: usize,
) {
    if index < rows {
        let place = place(index, rows, comptime!(parts * holders)) + holder(holders);
        #[unroll]
        for part in 0..parts {
            to[place + part * holders] = Vector::cast_from(row[part] / Vector::new(divisor));
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
    #[comptime] vectors: usize,
    #[comptime] count: usize,
) {
    // The tiles may be in use.
    sync_cube();
    let mut at = UNIT_POS as usize;
    while at < count * vectors {
        let index = first + at / vectors;
        one_tile[at] = Vector::new(0.0);
        other_tile[at] = Vector::new(0.0);
        if index < rows {
            let place = place(index, rows, vectors) + at % vectors;
            one_tile[at] = Vector::cast_from(one[place]);
            other_tile[at] = Vector::cast_from(other[place]);
        }
        at += UNITS;
    }
    sync_cube();
}

/// Room for the parts of inner products that units hold of each row of a tile; next to none where each unit holds all.
#[cube]
pub(super) fn room_for_parts(#[comptime] holders: usize, #[comptime] tile: usize) -> SharedMemory<f32> {
    SharedMemory::<f32>::new(comptime!(if holders > 1 { tile * UNITS } else { 1 }))
}

/// Puts down the unit's part of the inner products of its row with each row of the tile, where others hold parts too. [`dot`]
/// reads them after [`wait_for_parts`].
#[cube]
pub(super) fn put_parts<N: Size>(
    parts_of_dots: &mut SharedMemory<f32>,
    row: &Array<Vector<f32, N>>,
    tile: &SharedMemory<Vector<f32, N>>,
    #[comptime] parts: usize,
    #[comptime] holders: usize,
    #[comptime] count: usize,
) {
    if comptime!(holders > 1) {
        for at in 0..count {
            parts_of_dots[at * UNITS + UNIT_POS as usize] = held_dot(row, tile, at, parts, holders);
        }
    }
}

/// Until all parts are there, where there are any.
#[cube]
pub(super) fn wait_for_parts(#[comptime] holders: usize) {
    if comptime!(holders > 1) {
        sync_cube();
    }
}

/// The inner product of the unit's row with one of the tile.
#[cube]
pub(super) fn dot<N: Size>(
    parts_of_dots: &SharedMemory<f32>,
    row: &Array<Vector<f32, N>>,
    tile: &SharedMemory<Vector<f32, N>>,
    index: usize,
    #[comptime] parts: usize,
    #[comptime] holders: usize,
) -> f32 {
    let mut sum = f32::new(0.0);
    if comptime!(holders == 1) {
        sum = held_dot(row, tile, index, parts, holders);
    } else {
        let first = index * UNITS + UNIT_POS as usize / holders * holders;
        #[unroll]
        for holder in 0..holders {
            sum += parts_of_dots[first + holder];
        }
    }
    sum
}

/// The part of an inner product that the unit holds.
#[cube]
fn held_dot<N: Size>(
    row: &Array<Vector<f32, N>>,
    tile: &SharedMemory<Vector<f32, N>>,
    index: usize,
    #[comptime] parts: usize,
    #[comptime] holders: usize,
) -> f32 {
    let first = index * comptime!(parts * holders) + holder(holders);
    let mut lanes = Vector::<f32, N>::new(0.0);
    #[unroll]
    for part in 0..parts {
        lanes += row[part] * tile[first + part * holders];
    }
    let mut sum = f32::new(0.0);
    #[unroll]
    for lane in 0..N::value() {
        sum += lanes[lane];
    }
    sum
}

/// Adds the unit's part of a row of the tile times `factor` to what it holds.
#[cube]
pub(super) fn add<N: Size>(
    row: &mut Array<Vector<f32, N>>,
    tile: &SharedMemory<Vector<f32, N>>,
    index: usize,
    factor: f32,
    #[comptime] parts: usize,
    #[comptime] holders: usize,
) {
    let first = index * comptime!(parts * holders) + holder(holders);
    #[unroll]
    for part in 0..parts {
        row[part] = row[part] + tile[first + part * holders] * Vector::new(factor);
    }
}
