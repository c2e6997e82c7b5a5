//! Layer norm of rows (Ba, Kiros and Hinton 2016): `y = n * weight + bias` with `n = (x - mean) * rstd` and
//! `rstd = 1 / sqrt(variance + epsilon)`, mean and biased variance over the row. A cube takes a row.
//!
//! x is f32; y and its gradient may be of another float type, that of the products around it.
//!
//! Backward, with `g = dy * weight`: `dx = rstd * (g - mean(g) - n * mean(g * n))`; over all rows,
//! `dweight = sum(dy * n)` and `dbias = sum(dy)`.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use crate::reduce::{UNITS, cube_per_row, sum_in_cube};
use crate::sums::Parts;

/// Rows whose gradients of weight and bias a cube adds up.
const ROWS: usize = 32;

/// Mean and rstd of the row that begins at `start`.
#[cube]
fn moments(x: &Array<f32>, start: usize, columns: usize, epsilon: f32, #[comptime] units: u32) -> (f32, f32) {
    let count = f32::cast_from(columns as u32);
    let mut sum = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < columns {
        sum += x[start + at];
        at += units as usize;
    }
    let mean = sum_in_cube(sum, units) / count;
    // A second pass, over what a cache holds by now: the sum of squares less the squared mean would cancel.
    let mut squares = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < columns {
        let centred = x[start + at] - mean;
        squares += centred * centred;
        at += units as usize;
    }
    let variance = sum_in_cube(squares, units) / count;
    (mean, 1.0 / f32::sqrt(variance + epsilon))
}

#[cube(launch)]
fn norm_forward<F: Float>(
    x: &Array<f32>,
    weight: &Array<f32>,
    bias: &Array<f32>,
    y: &mut Array<F>,
    epsilon: f32,
    #[comptime] units: u32,
    #[define(F)] _dtype: StorageType,
) {
    let columns = weight.len();
    let start = CUBE_POS * columns;
    if start >= x.len() {
        terminate!();
    }
    let (mean, rstd) = moments(x, start, columns, epsilon, units);
    let mut at = UNIT_POS as usize;
    while at < columns {
        y[start + at] = F::cast_from((x[start + at] - mean) * rstd * weight[at] + bias[at]);
        at += units as usize;
    }
}

#[cube(launch)]
fn norm_backward<F: Float>(
    x: &Array<f32>,
    weight: &Array<f32>,
    dy: &Array<F>,
    dx: &mut Array<f32>,
    epsilon: f32,
    #[comptime] units: u32,
    #[comptime] adds: bool,
    #[define(F)] _dtype: StorageType,
) {
    let columns = weight.len();
    let count = f32::cast_from(columns as u32);
    let start = CUBE_POS * columns;
    if start >= x.len() {
        terminate!();
    }
    let (mean, rstd) = moments(x, start, columns, epsilon, units);
    let mut sum = f32::new(0.0);
    let mut along = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < columns {
        let g = f32::cast_from(dy[start + at]) * weight[at];
        sum += g;
        along += g * (x[start + at] - mean) * rstd;
        at += units as usize;
    }
    let sum = sum_in_cube(sum, units) / count;
    let along = sum_in_cube(along, units) / count;
    let mut at = UNIT_POS as usize;
    while at < columns {
        let g = f32::cast_from(dy[start + at]) * weight[at];
        let n = (x[start + at] - mean) * rstd;
        let mut found = rstd * (g - sum - n * along);
        if comptime!(adds) {
            found += dx[start + at];
        }
        dx[start + at] = found;
        at += units as usize;
    }
}

/// A cube's part of dweight and, behind it, of dbias. A unit has columns of its own.
#[cube(launch)]
fn norm_of_parameters<F: Float>(
    x: &Array<f32>,
    dy: &Array<F>,
    parts: &mut Array<f32>,
    columns: usize,
    epsilon: f32,
    #[comptime] units: u32,
    #[define(F)] _dtype: StorageType,
) {
    let rows = x.len() / columns;
    let of_cube = CUBE_POS * 2 * columns;
    if of_cube >= parts.len() {
        terminate!();
    }
    let first = CUBE_POS * ROWS;
    let mut row = first;
    while row < min(first + ROWS, rows) {
        let start = row * columns;
        let (mean, rstd) = moments(x, start, columns, epsilon, units);
        let mut at = UNIT_POS as usize;
        while at < columns {
            let g = f32::cast_from(dy[start + at]);
            let of_weight = g * ((x[start + at] - mean) * rstd);
            if row == first {
                parts[of_cube + at] = of_weight;
                parts[of_cube + columns + at] = g;
            } else {
                parts[of_cube + at] += of_weight;
                parts[of_cube + columns + at] += g;
            }
            at += units as usize;
        }
        row += 1;
    }
}

/// `y`, of the type `number`, of each row of `x`, `[rows, columns]` both; `weight` and `bias` `[columns]`.
pub fn layer_norm<R: Runtime>(
    client: &ComputeClient<R>,
    x: TensorBinding<R>,
    weight: TensorBinding<R>,
    bias: TensorBinding<R>,
    y: TensorBinding<R>,
    epsilon: f32,
    number: StorageType,
) {
    let (rows, dim) = (cube_per_row(x.shape[0]), CubeDim::new_1d(UNITS));
    let [x, weight, bias, y] = [x, weight, bias, y].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    norm_forward::launch::<R>(client, rows, dim, x, weight, bias, y, epsilon, UNITS, number);
}

/// `dx` from `x` and the gradient `dy` of y, which is of the type `number`, `[rows, columns]` all; `weight` `[columns]`. It
/// is added to what `dx` holds where that `is_begun`.
pub fn layer_norm_backward<R: Runtime>(
    client: &ComputeClient<R>,
    [x, weight, dy]: [TensorBinding<R>; 3],
    dx: TensorBinding<R>,
    is_begun: bool,
    epsilon: f32,
    number: StorageType,
) {
    let (rows, dim) = (cube_per_row(x.shape[0]), CubeDim::new_1d(UNITS));
    let [x, weight, dy, dx] = [x, weight, dy, dx].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    norm_backward::launch::<R>(client, rows, dim, x, weight, dy, dx, epsilon, UNITS, is_begun, number);
}

/// dweight and, behind it, dbias, `[2, columns]`, from `x` and the gradient `dy` of y, which is of the type `number`,
/// `[rows, columns]` both.
pub fn layer_norm_parameters<R: Runtime>(
    client: &ComputeClient<R>,
    [x, dy]: [TensorBinding<R>; 2],
    result: TensorBinding<R>,
    epsilon: f32,
    number: StorageType,
) {
    let (rows, columns) = (x.shape[0], x.shape[1]);
    let blocks = rows.div_ceil(ROWS).max(1);
    let (parts, dim) = (Parts::new(client, blocks, 2 * columns), CubeDim::new_1d(UNITS));
    let [x, dy] = [x, dy].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    let cubes = cube_per_row(blocks);
    norm_of_parameters::launch::<R>(
        client,
        cubes,
        dim,
        x,
        dy,
        parts.array(),
        columns,
        epsilon,
        UNITS,
        number,
    );
    parts.sum(client, result, f32::as_type_native_unchecked().storage_type());
}
