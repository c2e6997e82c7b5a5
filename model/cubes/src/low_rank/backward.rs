//! The backward pass.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use super::tile::{kept, reduce, tiles, times_column};
use super::{LowRankShape, Matrix, RANKS, ROWS, UNITS, array};
use crate::dropout::{Rule, factor, row_key};

/// Columns of a cube that sums over rows, and how many groups of its units share those.
const COLUMNS: usize = 32;
const GROUPS: usize = UNITS / COLUMNS;

/// Rows whose factors such a cube brings at a time.
const CHUNK: usize = 32;

/// Where the gradients go.
pub struct LowRankGradients<R: Runtime> {
    /// That of x, `[rows, in]`, which holds the weight's part of it already, where it is wanted.
    pub of_x: Option<TensorBinding<R>>,
    /// What else is added to it, of its shape.
    pub so_far: Option<TensorBinding<R>>,
    /// Those of A, `[r, in]`, and B, `[out, r]`.
    pub of_matrices: [TensorBinding<R>; 2],
}

/// A cube's rows: h, g and what they add to dx.
#[cube(launch)]
fn low_rank_of_rows<F: Float>(
    x: &Array<F>,
    dy: &Array<F>,
    a: &Array<f32>,
    b: &Array<f32>,
    so_far: &Array<F>,
    dx: &mut Array<F>,
    h: &mut Array<f32>,
    g: &mut Array<f32>,
    rule: &Rule,
    scale: f32,
    end: usize,
    input: usize,
    output: usize,
    rank: usize,
    // Whether there is a gradient so far; not a kernel of its own for that.
    has_more: u32,
    #[comptime] slots: usize,
    #[comptime] drops: bool,
    #[comptime] is_of_x: bool,
    #[define(F)] _dtype: StorageType,
) {
    let first = CUBE_POS * ROWS;
    if first >= end {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let mut shared = tiles(rule, first);
    let mut of_x = SharedMemory::<f32>::new(comptime!(ROWS * slots));
    let mut of_dy = SharedMemory::<f32>::new(comptime!(ROWS * slots));
    let one = f32::new(1.0);
    reduce(x, a, &mut shared, &mut of_x, rule, one, first, end, input, rank, true, drops);
    reduce(dy, b, &mut shared, &mut of_dy, rule, scale, first, end, output, rank, false, false);
    let mut at = unit;
    while at < ROWS * rank {
        if first + at / rank < end {
            h[first * rank + at] = of_x[at];
            g[first * rank + at] = of_dy[at];
        }
        at += UNITS;
    }
    if comptime!(is_of_x) {
        let mut column = unit;
        while column < input {
            let sums = times_column(&of_dy, a, column, input, rank);
            #[unroll]
            for row in 0..ROWS {
                if first + row < end {
                    let place = (first + row) * input + column;
                    let mut sum = sums[row];
                    if comptime!(drops) {
                        sum *= kept(&shared, rule, row, column);
                    }
                    if has_more != 0 {
                        sum += f32::cast_from(so_far[place]);
                    }
                    dx[place] = F::cast_from(f32::cast_from(dx[place]) + sum);
                }
            }
            column += UNITS;
        }
    }
}

/// `scale * factors^T rows` for the cube's columns of `from` `[rows, columns]` and its ranks of `factors` `[rows, rank]`,
/// the number of rank j and column c at `j * rank_stride + c * column_stride` of `result`.
#[cube]
fn sum_over_rows<F: Float>(
    from: &Array<F>,
    factors: &Array<f32>,
    result: &mut Array<f32>,
    rule: &Rule,
    scale: f32,
    rows: usize,
    columns: usize,
    first: usize,
    rank_stride: usize,
    column_stride: usize,
    rank: usize,
    #[comptime] drops: bool,
) {
    let unit = UNIT_POS as usize;
    let (lane, group) = (unit % COLUMNS, unit / COLUMNS);
    let column = first + lane;
    let first_rank = CUBE_POS_Y as usize * RANKS;
    let mut tile = SharedMemory::<f32>::new(comptime!(CHUNK * RANKS));
    let mut keys = SharedMemory::<u32>::new(comptime!(2 * CHUNK));
    let mut sums = Array::<f32>::new(RANKS);
    #[unroll]
    for index in 0..RANKS {
        sums[index] = f32::new(0.0);
    }
    let mut start = 0usize;
    while start < rows {
        sync_cube();
        let mut at = unit;
        while at < CHUNK * RANKS {
            let (row, index) = (start + at / RANKS, first_rank + at % RANKS);
            let mut value = f32::new(0.0);
            if row < rows && index < rank {
                value = factors[row * rank + index];
            }
            tile[at] = value;
            at += UNITS;
        }
        if comptime!(drops) && unit < CHUNK {
            let (low, high) = row_key(rule, (start + unit) as u32);
            keys[2 * unit] = low;
            keys[2 * unit + 1] = high;
        }
        sync_cube();
        let mut row = group;
        while row < CHUNK {
            if start + row < rows && column < columns {
                let mut value = f32::cast_from(from[(start + row) * columns + column]);
                if comptime!(drops) {
                    value *= factor(rule, keys[2 * row], keys[2 * row + 1], column as u32);
                }
                #[unroll]
                for index in 0..RANKS {
                    sums[index] = sums[index] + value * tile[row * RANKS + index];
                }
            }
            row += GROUPS;
        }
        start += CHUNK;
    }
    let mut parts = SharedMemory::<f32>::new(UNITS);
    #[unroll]
    for index in 0..RANKS {
        sync_cube();
        parts[unit] = sums[index];
        sync_cube();
        if group == 0 && column < columns && first_rank + index < rank {
            let mut sum = f32::new(0.0);
            #[unroll]
            for other in 0..GROUPS {
                sum += parts[other * COLUMNS + lane];
            }
            result[(first_rank + index) * rank_stride + column * column_stride] = sum * scale;
        }
    }
}

/// dA by the first cubes, dB by the others.
#[cube(launch)]
fn low_rank_of_matrices<F: Float>(
    x: &Array<F>,
    dy: &Array<F>,
    h: &Array<f32>,
    g: &Array<f32>,
    of_a: &mut Array<f32>,
    of_b: &mut Array<f32>,
    rule: &Rule,
    scale: f32,
    rows: usize,
    input: usize,
    output: usize,
    cubes_of_a: usize,
    rank: usize,
    #[comptime] drops: bool,
    #[define(F)] _dtype: StorageType,
) {
    let cube = CUBE_POS_X as usize;
    if cube < cubes_of_a {
        let one = f32::new(1.0);
        sum_over_rows(x, g, of_a, rule, one, rows, input, cube * COLUMNS, input, 1usize, rank, drops);
    } else {
        let first = (cube - cubes_of_a) * COLUMNS;
        sum_over_rows(dy, h, of_b, rule, scale, rows, output, first, 1usize, rank, rank, false);
    }
}

/// The gradients from `x` `[rows, in]`, `dy` `[rows, out]`, `a` `[r, in]` and `b` `[out, r]`.
pub fn low_rank_backward<R: Runtime>(
    client: &ComputeClient<R>,
    [x, dy]: [Matrix<R>; 2],
    [a, b]: [Matrix<R>; 2],
    gradients: LowRankGradients<R>,
    shape: LowRankShape,
) {
    let LowRankShape { rows: (_, rows), input, output, rank, scale, number, .. } = shape;
    let (rule, drops) = shape.rule();
    let dim = CubeDim::new_1d(UNITS as u32);
    let numbers = rows * rank;
    let [h, g, nothing] = [numbers, numbers, 1].map(|numbers| client.empty(numbers * size_of::<f32>()));
    // SAFETY: made above with room for so many numbers.
    #[allow(unsafe_code)]
    let reduced =
        |handle: &cubecl::server::Handle| unsafe { ArrayArg::from_raw_parts(handle.clone(), numbers) };
    let LowRankGradients { of_x, so_far, of_matrices: [of_a, of_b] } = gradients;
    let (is_of_x, has_more) = (of_x.is_some(), so_far.is_some());
    let of_x = match &of_x {
        Some(of_x) => array(of_x),
        // SAFETY: one number, which is never touched.
        #[allow(unsafe_code)]
        None => unsafe { ArrayArg::from_raw_parts(nothing, 1) },
    };
    low_rank_of_rows::launch::<R>(
        client,
        shape.cubes(),
        dim,
        array(&x),
        array(&dy),
        array(&a),
        array(&b),
        // What is not used has to be something.
        array(so_far.as_ref().unwrap_or(&dy)),
        of_x,
        reduced(&h),
        reduced(&g),
        rule.launch(),
        scale,
        rows,
        input,
        output,
        rank,
        u32::from(has_more),
        shape.slots(),
        drops,
        is_of_x,
        number,
    );
    let [cubes_of_a, cubes_of_b] = [input, output].map(|columns| columns.div_ceil(COLUMNS));
    let cubes = CubeCount::Static((cubes_of_a + cubes_of_b) as u32, rank.div_ceil(RANKS) as u32, 1);
    low_rank_of_matrices::launch::<R>(
        client,
        cubes,
        dim,
        array(&x),
        array(&dy),
        reduced(&h),
        reduced(&g),
        array(&of_a),
        array(&of_b),
        rule.launch(),
        scale,
        rows,
        input,
        output,
        cubes_of_a,
        rank,
        drops,
        number,
    );
}
