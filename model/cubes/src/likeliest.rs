//! The likeliest token of each row of logits, so that the host reads a number in place of a vocabulary. A cube takes a row.

use cubecl::prelude::*;

use crate::reduce::{UNITS, cube_per_row};

/// Below every logit that anything is chosen by: a row with nothing above it counts as one of minus infinities.
const LEAST: f32 = -3.0e38;

/// The bits of a float without its sign, and those of infinity: what is above is no number.
const MAGNITUDE: u32 = 0x7fff_ffff;
const INFINITY: u32 = 0x7f80_0000;

/// Whether a logit is larger than another, or as large and of a lower id.
#[cube]
fn is_before(logit: f32, id: u32, other: f32, other_id: u32) -> bool {
    logit > other || (logit == other && id < other_id)
}

#[cube(launch)]
fn likeliest_of_rows(
    logits: &Array<f32>,
    ids: &mut Array<i32>,
    columns: usize,
    stride: usize,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    if row >= ids.len() {
        terminate!();
    }
    let start = row * stride;
    let unit = UNIT_POS as usize;
    let mut best = f32::new(LEAST);
    let mut best_id = columns as u32;
    let mut broken = 0u32;
    let mut at = unit;
    while at < columns {
        let logit = logits[start + at];
        // By its bits: a compiler may take it that every float is a number.
        if u32::reinterpret(logit) & MAGNITUDE > INFINITY {
            broken = 1u32;
        }
        if is_before(logit, at as u32, best, best_id) {
            best = logit;
            best_id = at as u32;
        }
        at += units as usize;
    }
    let mut bests = SharedMemory::<f32>::new(units as usize);
    let mut best_ids = SharedMemory::<u32>::new(units as usize);
    let mut brokens = SharedMemory::<u32>::new(units as usize);
    bests[unit] = best;
    best_ids[unit] = best_id;
    brokens[unit] = broken;
    sync_cube();
    let steps = comptime!(units.ilog2());
    #[unroll]
    for step in 0..steps {
        let half = comptime!((units >> (step + 1)) as usize);
        if unit < half {
            let (other, other_id) = (bests[unit + half], best_ids[unit + half]);
            if is_before(other, other_id, bests[unit], best_ids[unit]) {
                bests[unit] = other;
                best_ids[unit] = other_id;
            }
            brokens[unit] = brokens[unit] | brokens[unit + half];
        }
        sync_cube();
    }
    if unit == 0 {
        let mut id = best_ids[0] as i32;
        // All are minus infinity.
        if best_ids[0] == columns as u32 {
            id = 0;
        }
        if brokens[0] != 0 {
            id = -1;
        }
        ids[row] = id;
    }
}

/// The id of the largest of each row of `logits` `[rows, columns]`, the lowest of several, into `ids` `[rows]` of i32; -1
/// where one of the row is not a number. Rows may be at any distance.
pub fn likeliest<R: Runtime>(client: &ComputeClient<R>, logits: TensorBinding<R>, ids: TensorBinding<R>) {
    let (rows, columns, stride) = (logits.shape[0], logits.shape[1], logits.strides[0]);
    // An array as long as the memory that the rows take, the gaps between them included.
    let reach = (rows.max(1) - 1) * stride + columns;
    // SAFETY: the last row ends there, and the memory not before.
    #[allow(unsafe_code)]
    let logits = unsafe { ArrayArg::from_raw_parts_binding(logits.handle, reach) };
    let ids = ids.into_tensor_arg().into_array_arg();
    likeliest_of_rows::launch::<R>(
        client,
        cube_per_row(rows),
        CubeDim::new_1d(UNITS),
        logits,
        ids,
        columns,
        stride,
        UNITS,
    );
}
