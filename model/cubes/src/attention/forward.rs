//! The forward pass.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use super::tile::{
    add, dot, own_query, put_parts, read, room_for_parts, sees, share, wait_for_parts, write, zeros,
};
use super::{AttentionShape, LEAST, UNITS, units};

#[cube(launch)]
fn attention_forward<F: Float, N: Size>(
    query: &Array<Vector<F, N>>,
    key: &Array<Vector<F, N>>,
    value: &Array<Vector<F, N>>,
    output: &mut Array<Vector<F, N>>,
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
    let mut mixed = zeros::<N>(parts);
    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut key_tile = SharedMemory::<Vector<f32, N>>::new(tile * vectors);
    let mut value_tile = SharedMemory::<Vector<f32, N>>::new(tile * vectors);
    let mut scores = room_for_parts(holders, tile);
    let mut start = own.begin;
    while start < own.end {
        share(key, value, &mut key_tile, &mut value_tile, start, keys, vectors, tile);
        put_parts(&mut scores, &row, &key_tile, parts, holders, tile);
        wait_for_parts(holders);
        for at in 0..tile {
            if sees(&own, start + at, queries, window) {
                let score = dot(&scores, &row, &key_tile, at, parts, holders);
                if score > largest {
                    let shrunk = f32::exp(largest - score);
                    sum *= shrunk;
                    #[unroll]
                    for part in 0..parts {
                        mixed[part] = mixed[part] * Vector::new(shrunk);
                    }
                    largest = score;
                }
                let weight = f32::exp(score - largest);
                sum += weight;
                add(&mut mixed, &value_tile, at, weight, parts, holders);
            }
        }
        start += tile;
    }
    write(output, &mixed, sum, own.index, queries, parts, holders);
}

/// O `[batch, queries, heads * size]`.
pub fn attention<R: Runtime>(
    client: &ComputeClient<R>,
    query: TensorBinding<R>,
    key: TensorBinding<R>,
    value: TensorBinding<R>,
    output: TensorBinding<R>,
    shape: AttentionShape,
) {
    let [query, key, value, output] =
        [query, key, value, output].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    if units::take(client, &shape) {
        units::forward(client, [query, key, value, output], shape);
        return;
    }
    attention_forward::launch::<R>(
        client,
        shape.cubes(shape.queries),
        CubeDim::new_1d(UNITS as u32),
        shape.vector(),
        query,
        key,
        value,
        output,
        shape.queries,
        shape.keys,
        shape.reach(),
        shape.parts(),
        shape.holders(),
        shape.tile(),
        shape.number,
    );
}
