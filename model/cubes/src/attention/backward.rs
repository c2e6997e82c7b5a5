//! The backward pass.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use super::tile::{
    add, dot, holder, number, own_query, put_parts, read, room_for_parts, sees, share, wait_for_parts, write,
    zeros,
};
use super::{AttentionShape, LEAST, UNITS, units};

/// A unit's query: its log-sum-exp, its D and its dQ.
#[cube(launch)]
fn attention_of_queries<F: Float, N: Size>(
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
    #[comptime] parts: usize,
    #[comptime] holders: usize,
    #[comptime] tile: usize,
    #[define(F)] _dtype: StorageType,
) {
    let vectors = comptime!(parts * holders);
    let own = own_query(queries, keys, window, holders);
    let row = read(query, own.index, queries, parts, holders);
    let of_row = read(gradient, own.index, queries, parts, holders);
    let mut key_tile = SharedMemory::<Vector<f32, N>>::new(tile * vectors);
    let mut value_tile = SharedMemory::<Vector<f32, N>>::new(tile * vectors);
    let mut scores = room_for_parts(holders, tile);
    let mut of_weights = room_for_parts(holders, tile);
    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut mean = f32::new(0.0);
    let mut start = own.begin;
    while start < own.end {
        share(key, value, &mut key_tile, &mut value_tile, start, keys, vectors, tile);
        put_parts(&mut scores, &row, &key_tile, parts, holders, tile);
        put_parts(&mut of_weights, &of_row, &value_tile, parts, holders, tile);
        wait_for_parts(holders);
        for at in 0..tile {
            if sees(&own, start + at, queries, window) {
                let score = dot(&scores, &row, &key_tile, at, parts, holders);
                if score > largest {
                    let shrunk = f32::exp(largest - score);
                    sum *= shrunk;
                    mean *= shrunk;
                    largest = score;
                }
                let weight = f32::exp(score - largest);
                sum += weight;
                mean += weight * dot(&of_weights, &of_row, &value_tile, at, parts, holders);
            }
        }
        start += tile;
    }
    let log_sum = largest + f32::ln(sum);
    let mean = mean / sum;

    let mut found = zeros::<N>(parts);
    let mut start = own.begin;
    while start < own.end {
        share(key, value, &mut key_tile, &mut value_tile, start, keys, vectors, tile);
        put_parts(&mut scores, &row, &key_tile, parts, holders, tile);
        put_parts(&mut of_weights, &of_row, &value_tile, parts, holders, tile);
        wait_for_parts(holders);
        for at in 0..tile {
            if sees(&own, start + at, queries, window) {
                let score = dot(&scores, &row, &key_tile, at, parts, holders);
                let of_weight = dot(&of_weights, &of_row, &value_tile, at, parts, holders);
                let of_score = f32::exp(score - log_sum) * (of_weight - mean);
                add(&mut found, &key_tile, at, of_score, parts, holders);
            }
        }
        start += tile;
    }
    if own.index < queries && holder(holders) == 0 {
        log_sums[number(own.index, queries)] = log_sum;
        means[number(own.index, queries)] = mean;
    }
    write(of_query, &found, 1.0, own.index, queries, parts, holders);
}

/// A unit's key: its dK, or the dV of its value.
#[cube(launch)]
fn attention_of_keys<F: Float, N: Size>(
    query: &Array<Vector<F, N>>,
    key: &Array<Vector<F, N>>,
    value: &Array<Vector<F, N>>,
    gradient: &Array<Vector<F, N>>,
    log_sums: &Array<f32>,
    means: &Array<f32>,
    result: &mut Array<Vector<F, N>>,
    queries: usize,
    keys: usize,
    window: usize,
    #[comptime] parts: usize,
    #[comptime] holders: usize,
    #[comptime] tile: usize,
    #[comptime] of_value: bool,
    #[define(F)] _dtype: StorageType,
) {
    let rows = comptime!(UNITS / holders);
    let vectors = comptime!(parts * holders);
    let first = CUBE_POS_X as usize * rows;
    let index = first + UNIT_POS as usize / holders;
    let before = keys - queries;
    let row = read(key, index, keys, parts, holders);
    let value_row = read(value, index, keys, parts, holders);
    let mut found = zeros::<N>(parts);
    let mut query_tile = SharedMemory::<Vector<f32, N>>::new(tile * vectors);
    let mut gradient_tile = SharedMemory::<Vector<f32, N>>::new(tile * vectors);
    let mut scores = room_for_parts(holders, tile);
    let mut of_weights = room_for_parts(holders, tile);

    // The queries that see any of the cube's keys.
    let mut start = max(first, before) - before;
    let mut end = first + rows - 1 + window;
    end = min(max(end, before) - before, queries);
    while start < end {
        share(query, gradient, &mut query_tile, &mut gradient_tile, start, queries, vectors, tile);
        put_parts(&mut scores, &row, &query_tile, parts, holders, tile);
        if comptime!(!of_value) {
            put_parts(&mut of_weights, &value_row, &gradient_tile, parts, holders, tile);
        }
        wait_for_parts(holders);
        for at in 0..tile {
            let seeing = start + at;
            let position = before + seeing;
            if index < keys && seeing < queries && index <= position && index + window > position {
                let place = number(seeing, queries);
                let score = dot(&scores, &row, &query_tile, at, parts, holders);
                let weight = f32::exp(score - log_sums[place]);
                if comptime!(of_value) {
                    add(&mut found, &gradient_tile, at, weight, parts, holders);
                } else {
                    let of_weight = dot(&of_weights, &value_row, &gradient_tile, at, parts, holders);
                    add(&mut found, &query_tile, at, weight * (of_weight - means[place]), parts, holders);
                }
            }
        }
        start += tile;
    }
    write(result, &found, 1.0, index, keys, parts, holders);
}

/// dQ, dK and dV, each of the shape of what it is the gradient of; `gradient` is dO, of the shape of the queries.
pub fn attention_backward<R: Runtime>(
    client: &ComputeClient<R>,
    [query, key, value]: [TensorBinding<R>; 3],
    gradient: TensorBinding<R>,
    [of_query, of_key, of_value]: [TensorBinding<R>; 3],
    shape: AttentionShape,
) {
    let AttentionShape { batch, queries, keys, heads, .. } = shape;
    let array = |tensor: &TensorBinding<R>| tensor.clone().into_tensor_arg().into_array_arg();
    let numbers = batch * heads * queries;
    let [log_sums, means] = [(); 2].map(|()| client.empty(numbers * size_of::<f32>()));
    // SAFETY: both were made above with room for so many numbers.
    #[allow(unsafe_code)]
    let of_each =
        |handle: &cubecl::server::Handle| unsafe { ArrayArg::from_raw_parts(handle.clone(), numbers) };
    if units::take(client, &shape) {
        let given = || [&query, &key, &value, &gradient].map(array);
        let found = || [&log_sums, &means].map(of_each);
        units::of_queries(client, given(), array(&of_query), found(), shape);
        units::of_keys(client, given(), found(), [&of_key, &of_value].map(array), shape);
        return;
    }
    let (window, vector, tile) = (shape.reach(), shape.vector(), shape.tile());
    let (parts, holders) = (shape.parts(), shape.holders());
    let dim = CubeDim::new_1d(UNITS as u32);
    attention_of_queries::launch::<R>(
        client,
        shape.cubes(queries),
        dim,
        vector,
        array(&query),
        array(&key),
        array(&value),
        array(&gradient),
        array(&of_query),
        of_each(&log_sums),
        of_each(&means),
        queries,
        keys,
        window,
        parts,
        holders,
        tile,
        shape.number,
    );
    for (result, is_of_value) in [(of_key, false), (of_value, true)] {
        attention_of_keys::launch::<R>(
            client,
            shape.cubes(keys),
            dim,
            vector,
            array(&query),
            array(&key),
            array(&value),
            array(&gradient),
            of_each(&log_sums),
            of_each(&means),
            array(&result),
            queries,
            keys,
            window,
            parts,
            holders,
            tile,
            is_of_value,
            shape.number,
        );
    }
}
