//! What a cube finds of its rows: each times a thin matrix.

use cubecl::prelude::*;

use super::{RANKS, ROWS, UNITS};
use crate::dropout::{Rule, factor, row_key};

/// Columns that a cube brings at a time.
const DEPTH: usize = 32;

/// A row of the matrix' tile: one number more, so that units do not wait for one another's memory.
const PITCH: usize = DEPTH + 1;

/// Shared memory for a product, which may serve again for the next.
#[derive(CubeType)]
pub(super) struct Tiles {
    rows: SharedMemory<f32>,
    matrix: SharedMemory<f32>,
    keys: SharedMemory<u32>,
}

/// The memory, with the keys by which the rows from `first` on are dropped.
#[cube]
pub(super) fn tiles(rule: &Rule, first: usize) -> Tiles {
    let mut keys = SharedMemory::<u32>::new(comptime!(2 * ROWS));
    let unit = UNIT_POS as usize;
    if unit < ROWS {
        let (low, high) = row_key(rule, (first + unit) as u32);
        keys[2 * unit] = low;
        keys[2 * unit + 1] = high;
    }
    sync_cube();
    Tiles {
        rows: SharedMemory::<f32>::new(comptime!(ROWS * DEPTH)),
        matrix: SharedMemory::<f32>::new(comptime!(RANKS * PITCH)),
        keys,
    }
}

/// The dropout's factor of an element of the cube's row `row`.
#[cube]
pub(super) fn kept(tiles: &Tiles, rule: &Rule, row: usize, column: usize) -> f32 {
    factor(rule, tiles.keys[2 * row], tiles.keys[2 * row + 1], column as u32)
}

/// `scale * rows M` for the cube's rows of `from` `[.., columns]`, which begin at `first` and end before `end`, into
/// `result` `[ROWS, rank]`. M is `matrix` `[columns, rank]`, or the transposed of `matrix` `[rank, columns]`.
#[cube]
pub(super) fn reduce<F: Float>(
    from: &Array<F>,
    matrix: &Array<f32>,
    tiles: &mut Tiles,
    result: &mut SharedMemory<f32>,
    rule: &Rule,
    scale: f32,
    first: usize,
    end: usize,
    columns: usize,
    rank: usize,
    #[comptime] transposed: bool,
    #[comptime] drops: bool,
) {
    let unit = UNIT_POS as usize;
    let (row, lane) = (unit / RANKS, unit % RANKS);
    let mut rank_start = 0usize;
    while rank_start < rank {
        let mut sum = f32::new(0.0);
        let mut start = 0usize;
        while start < columns {
            sync_cube();
            let mut at = unit;
            while at < ROWS * DEPTH {
                let (of_row, column) = (at / DEPTH, start + at % DEPTH);
                let mut value = f32::new(0.0);
                if first + of_row < end && column < columns {
                    value = f32::cast_from(from[(first + of_row) * columns + column]);
                    if comptime!(drops) {
                        value *= kept(tiles, rule, of_row, column);
                    }
                }
                tiles.rows[at] = value;
                at += UNITS;
            }
            let mut at = unit;
            while at < RANKS * DEPTH {
                // Neighbours in memory are read by neighbouring units.
                let mut of_rank = at / DEPTH;
                let mut of_column = at % DEPTH;
                if comptime!(!transposed) {
                    of_rank = at % RANKS;
                    of_column = at / RANKS;
                }
                let (index, column) = (rank_start + of_rank, start + of_column);
                let mut value = f32::new(0.0);
                if index < rank && column < columns {
                    if comptime!(transposed) {
                        value = matrix[index * columns + column];
                    } else {
                        value = matrix[column * rank + index];
                    }
                }
                tiles.matrix[of_rank * PITCH + of_column] = value;
                at += UNITS;
            }
            sync_cube();
            for column in 0..DEPTH {
                sum += tiles.rows[row * DEPTH + column] * tiles.matrix[lane * PITCH + column];
            }
            start += DEPTH;
        }
        if rank_start + lane < rank {
            result[row * rank + rank_start + lane] = sum * scale;
        }
        rank_start += RANKS;
    }
    sync_cube();
}

/// For each of the cube's rows, what `reduced` `[ROWS, rank]` has of it times a column of a thin matrix: `rank` numbers of
/// `matrix` from `start` on, `step` apart.
#[cube]
pub(super) fn times_column(
    reduced: &SharedMemory<f32>,
    matrix: &Array<f32>,
    start: usize,
    step: usize,
    rank: usize,
) -> Array<f32> {
    let mut sums = Array::<f32>::new(ROWS);
    #[unroll]
    for row in 0..ROWS {
        sums[row] = f32::new(0.0);
    }
    for index in 0..rank {
        let of_column = matrix[start + index * step];
        #[unroll]
        for row in 0..ROWS {
            sums[row] = sums[row] + reduced[row * rank + index] * of_column;
        }
    }
    sums
}
