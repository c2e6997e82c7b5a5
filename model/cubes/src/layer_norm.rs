//! Layer norm of rows (Ba, Kiros and Hinton 2016): `y = n * weight + bias` with `n = (x - mean) * rstd` and
//! `rstd = 1 / sqrt(variance + epsilon)`, mean and biased variance over the row. A cube takes a row.
//!
//! Backward, with `g = dy * weight`: `dx = rstd * (g - mean(g) - n * mean(g * n))`.

use cubecl::prelude::*;

use crate::reduce::{UNITS, cube_per_row, sum_in_cube};

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
fn forward(
    x: &Array<f32>,
    weight: &Array<f32>,
    bias: &Array<f32>,
    y: &mut Array<f32>,
    epsilon: f32,
    #[comptime] units: u32,
) {
    let columns = weight.len();
    let start = CUBE_POS * columns;
    if start >= x.len() {
        terminate!();
    }
    let (mean, rstd) = moments(x, start, columns, epsilon, units);
    let mut at = UNIT_POS as usize;
    while at < columns {
        y[start + at] = (x[start + at] - mean) * rstd * weight[at] + bias[at];
        at += units as usize;
    }
}

#[cube(launch)]
fn backward(
    x: &Array<f32>,
    weight: &Array<f32>,
    dy: &Array<f32>,
    dx: &mut Array<f32>,
    epsilon: f32,
    #[comptime] units: u32,
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
        let g = dy[start + at] * weight[at];
        sum += g;
        along += g * (x[start + at] - mean) * rstd;
        at += units as usize;
    }
    let sum = sum_in_cube(sum, units) / count;
    let along = sum_in_cube(along, units) / count;
    let mut at = UNIT_POS as usize;
    while at < columns {
        let g = dy[start + at] * weight[at];
        let n = (x[start + at] - mean) * rstd;
        dx[start + at] = rstd * (g - sum - n * along);
        at += units as usize;
    }
}

/// `y` of each row of `x`, `[rows, columns]` both; `weight` and `bias` `[columns]`.
pub fn layer_norm<R: Runtime>(
    client: &ComputeClient<R>,
    x: TensorBinding<R>,
    weight: TensorBinding<R>,
    bias: TensorBinding<R>,
    y: TensorBinding<R>,
    epsilon: f32,
) {
    let (rows, dim) = (cube_per_row(x.shape[0]), CubeDim::new_1d(UNITS));
    let [x, weight, bias, y] = [x, weight, bias, y].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    forward::launch::<R>(client, rows, dim, x, weight, bias, y, epsilon, UNITS);
}

/// `dx` from `x` and the gradient `dy` of y, `[rows, columns]` all; `weight` `[columns]`.
pub fn layer_norm_backward<R: Runtime>(
    client: &ComputeClient<R>,
    x: TensorBinding<R>,
    weight: TensorBinding<R>,
    dy: TensorBinding<R>,
    dx: TensorBinding<R>,
    epsilon: f32,
) {
    let (rows, dim) = (cube_per_row(x.shape[0]), CubeDim::new_1d(UNITS));
    let [x, weight, dy, dx] = [x, weight, dy, dx].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    backward::launch::<R>(client, rows, dim, x, weight, dy, dx, epsilon, UNITS);
}
