//! The forward pass.

use cubecl::prelude::*;

use super::tile::{add, dot, place, read, share, zeros};
use super::{AttentionShape, UNITS};

/// Below every score; a smaller one would not be f32.
const LEAST: f32 = -3.0e38;

#[cube(launch)]
fn forward<N: Size>(
    query: &Array<Vector<f32, N>>,
    key: &Array<Vector<f32, N>>,
    value: &Array<Vector<f32, N>>,
    output: &mut Array<Vector<f32, N>>,
    queries: usize,
    keys: usize,
    window: usize,
    #[comptime] parts: usize,
    #[comptime] tile: usize,
) {
    let first = CUBE_POS_X as usize * UNITS;
    let index = first + UNIT_POS as usize;
    let before = keys - queries;
    let position = before + index;
    let row = read(query, index, queries, parts);
    let mut mixed = zeros::<N>(parts);
    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut key_tile = SharedMemory::<Vector<f32, N>>::new(tile * parts);
    let mut value_tile = SharedMemory::<Vector<f32, N>>::new(tile * parts);

    // The keys that any of the cube's queries sees.
    let end = min(before + first + UNITS, keys);
    let mut start = before + first + 1;
    start = max(start, window) - window;
    while start < end {
        sync_cube();
        share(key, &mut key_tile, start, keys, parts, tile);
        share(value, &mut value_tile, start, keys, parts, tile);
        sync_cube();
        for at in 0..tile {
            let seen = start + at;
            if index < queries && seen <= position && seen + window > position {
                let score = dot(&row, &key_tile, at, parts);
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
                add(&mut mixed, &value_tile, at, weight, parts);
            }
        }
        start += tile;
    }
    if index < queries {
        let place = place(index, queries, parts);
        #[unroll]
        for part in 0..parts {
            output[place + part] = mixed[part] / Vector::new(sum);
        }
    }
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
    forward::launch::<R>(
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
        shape.tile(),
    );
}
