//! What the units of a cube find together.

use cubecl::prelude::*;

/// Units of a cube that reduces: a power of two, and no more than any GPU allows.
pub(crate) const UNITS: u32 = 256;

/// What becomes of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fold {
    Sum,
    Largest,
}

/// Every unit's `value` folded into one, for each of them; `units` is the cube's size.
#[cube]
fn fold_in_cube(value: f32, #[comptime] units: u32, #[comptime] fold: Fold) -> f32 {
    let mut parts = SharedMemory::<f32>::new(units as usize);
    let unit = UNIT_POS as usize;
    parts[unit] = value;
    sync_cube();
    let steps = comptime!(units.ilog2());
    #[unroll]
    for step in 0..steps {
        let half = comptime!((units >> (step + 1)) as usize);
        if unit < half {
            let (one, other) = (parts[unit], parts[unit + half]);
            if comptime!(fold == Fold::Sum) {
                parts[unit] = one + other;
            } else {
                parts[unit] = max(one, other);
            }
        }
        sync_cube();
    }
    let folded = parts[0];
    // The memory may serve again.
    sync_cube();
    folded
}

/// The sum of every unit's `value`, for each of them; `units` is the cube's size.
#[cube]
pub(crate) fn sum_in_cube(value: f32, #[comptime] units: u32) -> f32 {
    fold_in_cube(value, units, Fold::Sum)
}

/// The largest of every unit's `value`, for each of them; `units` is the cube's size.
#[cube]
pub(crate) fn largest_in_cube(value: f32, #[comptime] units: u32) -> f32 {
    fold_in_cube(value, units, Fold::Largest)
}

/// The most cubes along one axis, on any GPU.
const MOST_CUBES: usize = 65_535;

/// At least one cube for each row; those beyond the last row have none to work on.
pub(crate) fn cube_per_row(rows: usize) -> CubeCount {
    let along = rows.clamp(1, MOST_CUBES);
    CubeCount::Static(along as u32, rows.div_ceil(along).max(1) as u32, 1)
}
