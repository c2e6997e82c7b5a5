//! The backward pass.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use super::super::tile::{number, sees};
use super::super::{AttentionShape, LEAST};
use super::forward::own_query;
use super::tile::{
    bring, held, mix, of_neighbour, own_row, room_for_rows, room_for_scores, room_for_weights, score,
    score_at, sums, weight_at, write,
};
use super::{ROWS, TILE, UNITS, VECTOR, cubes};

/// Each query's log-sum-exp, D and dQ.
#[cube(launch)]
fn attention_of_queries_on_units<F: Float, N: Size>(
    query: &Array<Vector<F, N>>,
    key: &Array<Vector<F, N>>,
    value: &Array<Vector<F, N>>,
    gradient: &Array<Vector<F, N>>,
    of_query: &mut Array<Vector<F, N>>,
    log_sums: &mut Array<f32>,
    means: &mut Array<f32>,
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
    let mut of_weights = room_for_scores();
    let mut of_scores = room_for_weights::<F>();
    bring(query, &mut rows, first, queries, 0usize, ROWS, size);
    sync_cube();
    let held_queries = held(&rows, size);
    sync_cube();
    bring(gradient, &mut rows, first, queries, 0usize, ROWS, size);
    sync_cube();
    let held_gradients = held(&rows, size);

    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut mean = f32::new(0.0);
    let mut start = own.begin;
    while start < own.end {
        sync_cube();
        bring(key, &mut rows, start, keys, 0usize, TILE, size);
        bring(value, &mut rows, start, keys, TILE, TILE, size);
        sync_cube();
        score(&held_queries, &rows, &mut scores, 0usize, size);
        score(&held_gradients, &rows, &mut of_weights, TILE, size);
        sync_plane();
        for pair in 0..TILE / 2 {
            let column = 2 * pair + half;
            if sees(&own, start + column, queries, window) {
                let score = scores[score_at(row, column)];
                if score > largest {
                    let shrunk = f32::exp(largest - score);
                    sum *= shrunk;
                    mean *= shrunk;
                    largest = score;
                }
                let weight = f32::exp(score - largest);
                sum += weight;
                mean += weight * of_weights[score_at(row, column)];
            }
        }
        start += TILE;
    }
    let others = of_neighbour(largest, &mut scores);
    let of_row = max(largest, others);
    let shrunk = f32::exp(largest - of_row);
    sum *= shrunk;
    mean *= shrunk;
    let sum = sum + of_neighbour(sum, &mut scores);
    let log_sum = of_row + f32::ln(sum);
    let mean = (mean + of_neighbour(mean, &mut scores)) / sum;

    let sums = sums(size);
    let mut start = own.begin;
    while start < own.end {
        sync_cube();
        bring(key, &mut rows, start, keys, 0usize, TILE, size);
        bring(value, &mut rows, start, keys, TILE, TILE, size);
        sync_cube();
        score(&held_queries, &rows, &mut scores, 0usize, size);
        score(&held_gradients, &rows, &mut of_weights, TILE, size);
        sync_plane();
        for pair in 0..TILE / 2 {
            let column = 2 * pair + half;
            let mut of_score = f32::new(0.0);
            if sees(&own, start + column, queries, window) {
                let weight = f32::exp(scores[score_at(row, column)] - log_sum);
                of_score = weight * (of_weights[score_at(row, column)] - mean);
            }
            of_scores[weight_at(row, column)] = F::cast_from(of_score);
        }
        sync_plane();
        mix(&of_scores, &rows, &sums, 0usize, size);
        start += TILE;
    }
    if own.index < queries && half == 0 {
        log_sums[number(own.index, queries)] = log_sum;
        means[number(own.index, queries)] = mean;
    }
    write(&sums, of_query, &mut scores, first, queries, size);
}

/// Each key's dK, and its value's dV.
#[cube(launch)]
fn attention_of_keys_on_units<F: Float, N: Size>(
    query: &Array<Vector<F, N>>,
    key: &Array<Vector<F, N>>,
    value: &Array<Vector<F, N>>,
    gradient: &Array<Vector<F, N>>,
    log_sums: &Array<f32>,
    means: &Array<f32>,
    of_key: &mut Array<Vector<F, N>>,
    of_value: &mut Array<Vector<F, N>>,
    queries: usize,
    keys: usize,
    window: usize,
    #[comptime] size: usize,
    #[define(F)] _dtype: StorageType,
) {
    let first = CUBE_POS_X as usize * ROWS;
    let (row, half) = own_row();
    let (index, before) = (first + row, keys - queries);
    let mut rows = room_for_rows::<F, N>(size);
    let mut scores = room_for_scores();
    let mut of_weights = room_for_scores();
    let mut weights = room_for_weights::<F>();
    let mut of_scores = room_for_weights::<F>();
    bring(key, &mut rows, first, keys, 0usize, ROWS, size);
    sync_cube();
    let held_keys = held(&rows, size);
    sync_cube();
    bring(value, &mut rows, first, keys, 0usize, ROWS, size);
    sync_cube();
    let held_values = held(&rows, size);

    let sums_of_key = sums(size);
    let sums_of_value = sums(size);
    // The queries that see any of the cube's keys.
    let mut start = max(first, before) - before;
    let mut end = first + ROWS - 1 + window;
    end = min(max(end, before) - before, queries);
    while start < end {
        sync_cube();
        bring(query, &mut rows, start, queries, 0usize, TILE, size);
        bring(gradient, &mut rows, start, queries, TILE, TILE, size);
        sync_cube();
        score(&held_keys, &rows, &mut scores, 0usize, size);
        score(&held_values, &rows, &mut of_weights, TILE, size);
        sync_plane();
        for pair in 0..TILE / 2 {
            let column = 2 * pair + half;
            let seeing = start + column;
            let position = before + seeing;
            let mut weight = f32::new(0.0);
            let mut of_score = f32::new(0.0);
            if index < keys && seeing < queries && index <= position && index + window > position {
                let place = number(seeing, queries);
                weight = f32::exp(scores[score_at(row, column)] - log_sums[place]);
                of_score = weight * (of_weights[score_at(row, column)] - means[place]);
            }
            weights[weight_at(row, column)] = F::cast_from(weight);
            of_scores[weight_at(row, column)] = F::cast_from(of_score);
        }
        sync_plane();
        mix(&weights, &rows, &sums_of_value, TILE, size);
        mix(&of_scores, &rows, &sums_of_key, 0usize, size);
        start += TILE;
    }
    write(&sums_of_key, of_key, &mut scores, first, keys, size);
    write(&sums_of_value, of_value, &mut scores, first, keys, size);
}

/// dQ, and the log-sum-exps and D of the queries, `[batch, heads, queries]`, from Q, K, V and dO.
pub(in super::super) fn of_queries<R: Runtime>(
    client: &ComputeClient<R>,
    [query, key, value, gradient]: [ArrayArg<R>; 4],
    of_query: ArrayArg<R>,
    [log_sums, means]: [ArrayArg<R>; 2],
    shape: AttentionShape,
) {
    attention_of_queries_on_units::launch::<R>(
        client,
        cubes(&shape, shape.queries),
        CubeDim::new_1d(UNITS as u32),
        VECTOR,
        query,
        key,
        value,
        gradient,
        of_query,
        log_sums,
        means,
        shape.queries,
        shape.keys,
        shape.reach(),
        shape.size,
        shape.number,
    );
}

/// dK and dV, from Q, K, V, dO and what [`of_queries`] found.
pub(in super::super) fn of_keys<R: Runtime>(
    client: &ComputeClient<R>,
    [query, key, value, gradient]: [ArrayArg<R>; 4],
    [log_sums, means]: [ArrayArg<R>; 2],
    [of_key, of_value]: [ArrayArg<R>; 2],
    shape: AttentionShape,
) {
    attention_of_keys_on_units::launch::<R>(
        client,
        cubes(&shape, shape.keys),
        CubeDim::new_1d(UNITS as u32),
        VECTOR,
        query,
        key,
        value,
        gradient,
        log_sums,
        means,
        of_key,
        of_value,
        shape.queries,
        shape.keys,
        shape.reach(),
        shape.size,
        shape.number,
    );
}
