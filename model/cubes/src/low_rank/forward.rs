//! The forward pass.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use super::tile::{reduce, tiles, times_column};
use super::{LowRankShape, Matrix, ROWS, UNITS, array};
use crate::dropout::Rule;

#[cube(launch)]
fn low_rank_add<F: Float>(
    x: &Array<F>,
    a: &Array<f32>,
    b: &Array<f32>,
    y: &mut Array<F>,
    rule: &Rule,
    scale: f32,
    begin: usize,
    end: usize,
    input: usize,
    output: usize,
    rank: usize,
    #[comptime] slots: usize,
    #[comptime] drops: bool,
    #[define(F)] _dtype: StorageType,
) {
    let first = begin + CUBE_POS * ROWS;
    if first >= end {
        terminate!();
    }
    let mut shared = tiles(rule, first);
    let mut reduced = SharedMemory::<f32>::new(comptime!(ROWS * slots));
    reduce(x, a, &mut shared, &mut reduced, rule, scale, first, end, input, rank, true, drops);
    let mut column = UNIT_POS as usize;
    while column < output {
        let sums = times_column(&reduced, b, column * rank, 1usize, rank);
        #[unroll]
        for row in 0..ROWS {
            if first + row < end {
                let place = (first + row) * output + column;
                y[place] = F::cast_from(f32::cast_from(y[place]) + sums[row]);
            }
        }
        column += UNITS;
    }
}

/// Adds the low-rank part of `x` `[.., in]` to the same rows of `y` `[.., out]`, in its place; `a` is `[r, in]`, `b`
/// `[out, r]`.
pub fn add_low_rank<R: Runtime>(
    client: &ComputeClient<R>,
    x: Matrix<R>,
    [a, b]: [Matrix<R>; 2],
    y: Matrix<R>,
    shape: LowRankShape,
) {
    let (rule, drops) = shape.rule();
    low_rank_add::launch::<R>(
        client,
        shape.cubes(),
        CubeDim::new_1d(UNITS as u32),
        array(&x),
        array(&a),
        array(&b),
        array(&y),
        rule.launch(),
        shape.scale,
        shape.rows.0,
        shape.rows.1,
        shape.input,
        shape.output,
        shape.rank,
        shape.slots(),
        drops,
        shape.number,
    );
}
