//! Attention of some queries over a cache that many texts share, a query a row: `O = softmax(q K^T) V` over the places that
//! the row sees, which stand in a table. A cube takes a head of a row: its units take a key each for the scores of a
//! chunk, and a number of the head each for the sum of its values.
//!
//! Where every row is a text's newest, its own key and value may come with it: its cubes use them and put them at the last
//! of its places, which no other row sees.

use cubecl::prelude::*;

use crate::reduce::{largest_in_cube, sum_in_cube};

/// Keys whose scores a cube holds at a time.
const CHUNK: usize = 256;

/// Below every score; a smaller one would not be f32.
const LEAST: f32 = -3.0e38;

#[cube(launch)]
fn cached_rows(
    query: &Array<f32>,
    new_key: &Array<f32>,
    new_value: &Array<f32>,
    keys: &mut Array<f32>,
    values: &mut Array<f32>,
    table: &Array<i32>,
    output: &mut Array<f32>,
    #[comptime] size: usize,
    #[comptime] units: u32,
    #[comptime] appends: bool,
) {
    let (row, head, heads) = (CUBE_POS_X as usize, CUBE_POS_Y as usize, CUBE_COUNT_Y as usize);
    let unit = UNIT_POS as usize;
    let first = table[2 * row] as usize;
    let count = table[2 * row + 1] as usize;
    let own = (row * heads + head) * size;
    let mut of_query = SharedMemory::<f32>::new(size);
    let mut own_key = SharedMemory::<f32>::new(size);
    let mut own_value = SharedMemory::<f32>::new(size);
    let mut weights = SharedMemory::<f32>::new(CHUNK);
    let mut at = unit;
    while at < size {
        of_query[at] = query[own + at];
        if comptime!(appends) {
            let place = (table[first + count - 1] as usize * heads + head) * size;
            own_key[at] = new_key[own + at];
            own_value[at] = new_value[own + at];
            keys[place + at] = new_key[own + at];
            values[place + at] = new_value[own + at];
        }
        at += units as usize;
    }
    sync_cube();

    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut mixed = f32::new(0.0);
    let mut start = 0usize;
    while start < count {
        let keys_here = min(count - start, CHUNK);
        let mut of_unit = f32::new(LEAST);
        let mut key = unit;
        while key < keys_here {
            let place = (table[first + start + key] as usize * heads + head) * size;
            let mut score = f32::new(0.0);
            if comptime!(appends) && start + key == count - 1 {
                for number in 0..size {
                    score += of_query[number] * own_key[number];
                }
            } else {
                for number in 0..size {
                    score += of_query[number] * keys[place + number];
                }
            }
            weights[key] = score;
            of_unit = max(of_unit, score);
            key += units as usize;
        }
        let before = largest;
        largest = max(before, largest_in_cube(of_unit, units));
        let mut added = f32::new(0.0);
        let mut key = unit;
        while key < keys_here {
            let weight = f32::exp(weights[key] - largest);
            weights[key] = weight;
            added += weight;
            key += units as usize;
        }
        let shrunk = f32::exp(before - largest);
        // The barriers of the sum also publish the weights.
        sum = sum * shrunk + sum_in_cube(added, units);
        mixed *= shrunk;
        if unit < size {
            for key in 0..keys_here {
                let place = (table[first + start + key] as usize * heads + head) * size;
                if comptime!(appends) && start + key == count - 1 {
                    mixed += weights[key] * own_value[unit];
                } else {
                    mixed += weights[key] * values[place + unit];
                }
            }
        }
        sync_cube();
        start += CHUNK;
    }
    if unit < size {
        output[own + unit] = mixed / sum;
    }
}

/// O `[rows, heads * size]` of `query` of the same shape over `keys` and `values` `[places, heads * size]`.
///
/// `table` are i32: for each row where its places begin in the table and how many it sees, at least one; then the places.
/// A head has at most 256 numbers. `new` are a key and a value of each row, of the shape of `query`, where its last place
/// is to get them.
pub fn cached_attention<R: Runtime>(
    client: &ComputeClient<R>,
    query: TensorBinding<R>,
    new: Option<[TensorBinding<R>; 2]>,
    [keys, values]: [TensorBinding<R>; 2],
    table: TensorBinding<R>,
    output: TensorBinding<R>,
    heads: usize,
) {
    let (rows_of_query, hidden) = (query.shape[0], query.shape[1]);
    let size = hidden / heads;
    let units = size.next_power_of_two().clamp(64, 256) as u32;
    let appends = new.is_some();
    // What is not used has to be something.
    let [new_key, new_value] = new.unwrap_or_else(|| [query.clone(), query.clone()]);
    let [query, new_key, new_value, keys, values, table, output] =
        [query, new_key, new_value, keys, values, table, output]
            .map(|tensor| tensor.into_tensor_arg().into_array_arg());
    cached_rows::launch::<R>(
        client,
        CubeCount::Static(rows_of_query as u32, heads as u32, 1),
        CubeDim::new_1d(units),
        query,
        new_key,
        new_value,
        keys,
        values,
        table,
        output,
        size,
        units,
        appends,
    );
}
