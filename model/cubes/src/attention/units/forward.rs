//! The forward pass.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use super::super::tile::{Query, query_of_cube, sees};
use super::super::{AttentionShape, LEAST};
use super::tile::{
    bring, held, mix, of_neighbour, own_row, room_for_rows, room_for_scores, room_for_weights, score,
    score_at, sums, weight_at, write,
};
use super::{ROWS, TILE, UNITS, VECTOR, cubes};

/// The unit's query, and the keys that its cube goes through.
#[cube]
pub(super) fn own_query(queries: usize, keys: usize, window: usize) -> Query {
    let first = CUBE_POS_X as usize * ROWS;
    let (row, _) = own_row();
    query_of_cube(first, row, ROWS, queries, keys, window)
}

#[cube(launch)]
fn attention_forward_on_units<F: Float, N: Size>(
    query: &Array<Vector<F, N>>,
    key: &Array<Vector<F, N>>,
    value: &Array<Vector<F, N>>,
    output: &mut Array<Vector<F, N>>,
    queries: usize,
    keys: usize,
    window: usize,
    #[comptime] size: usize,
    #[define(F)] _dtype: StorageType,
) {
    let own = own_query(queries, keys, window);
    let first = CUBE_POS_X as usize * ROWS;
    let (row, half) = own_row();
    let mut rows = room_for_rows::<F, N>(size);
    let mut scores = room_for_scores();
    let mut weights = room_for_weights::<F>();
    bring(query, &mut rows, first, queries, 0usize, ROWS, size);
    sync_cube();
    let held = held(&rows, size);

    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut start = own.begin;
    while start < own.end {
        sync_cube();
        bring(key, &mut rows, start, keys, 0usize, TILE, size);
        sync_cube();
        score(&held, &rows, &mut scores, 0usize, size);
        sync_plane();
        for pair in 0..TILE / 2 {
            let column = 2 * pair + half;
            if sees(&own, start + column, queries, window) {
                let score = scores[score_at(row, column)];
                if score > largest {
                    sum *= f32::exp(largest - score);
                    largest = score;
                }
                sum += f32::exp(score - largest);
            }
        }
        start += TILE;
    }
    let others = of_neighbour(largest, &mut scores);
    let of_row = max(largest, others);
    sum *= f32::exp(largest - of_row);
    let log_sum = of_row + f32::ln(sum + of_neighbour(sum, &mut scores));

    let sums = sums(size);
    let mut start = own.begin;
    while start < own.end {
        sync_cube();
        bring(key, &mut rows, start, keys, 0usize, TILE, size);
        bring(value, &mut rows, start, keys, TILE, TILE, size);
        sync_cube();
        score(&held, &rows, &mut scores, 0usize, size);
        sync_plane();
        for pair in 0..TILE / 2 {
            let column = 2 * pair + half;
            let mut weight = f32::new(0.0);
            if sees(&own, start + column, queries, window) {
                weight = f32::exp(scores[score_at(row, column)] - log_sum);
            }
            weights[weight_at(row, column)] = F::cast_from(weight);
        }
        sync_plane();
        mix(&weights, &rows, &sums, TILE, size);
        start += TILE;
    }
    write(&sums, output, &mut scores, first, queries, size);
}

/// O `[batch, queries, heads * size]`.
pub(in super::super) fn forward<R: Runtime>(
    client: &ComputeClient<R>,
    [query, key, value, output]: [ArrayArg<R>; 4],
    shape: AttentionShape,
) {
    attention_forward_on_units::launch::<R>(
        client,
        cubes(&shape, shape.queries),
        CubeDim::new_1d(UNITS as u32),
        VECTOR,
        query,
        key,
        value,
        output,
        shape.queries,
        shape.keys,
        shape.reach(),
        shape.size,
        shape.number,
    );
}
