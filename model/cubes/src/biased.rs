//! What follows a product, with the layer's bias b on the way: GELU in its tanh form (Hendrycks and Gimpel 2016),
//! `y = z * sigmoid(z * slope(z))` with `z = x + b` and `slope(z) = 2 sqrt(2 / pi) (1 + 0.044715 z^2)`, or the sum with
//! the residual stream, `y = r + x + b`.
//!
//! Backward of GELU, with `s = sigmoid(z * slope(z))`: `dx = dy (s + z s (1 - s) 2 sqrt(2 / pi) (1 + 3 * 0.044715 z^2))`.
//! x and what is made of it by GELU are of one float type, that of the products; b, r and all in between are f32.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use crate::reduce::{UNITS, cube_per_row};

/// 2 sqrt(2 / pi).
const TWICE_ROOT: f32 = 1.595_769_1;
/// The cubic coefficient.
const CUBIC: f32 = 0.044_715;
/// Beyond it, either way, the sigmoid is within 1e-37 of 0 or 1, and its exponential would not be f32.
const SATURATED: f32 = 10.0;

/// Where a unit works, in vectors, and the number of its column's first.
#[cube]
fn place(columns: usize) -> (usize, usize) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    (at, at % columns)
}

/// `sigmoid(z * slope(z))` of a z that is no further from zero than [`SATURATED`].
#[cube]
fn gate<N: Size>(z: Vector<f32, N>) -> Vector<f32, N> {
    let slope = (z * z * Vector::new(CUBIC) + Vector::new(1.0)) * Vector::new(TWICE_ROOT);
    let exponential = Vector::exp(Vector::new(0.0) - z * slope);
    Vector::new(1.0) / (Vector::new(1.0) + exponential)
}

/// GELU of all that a unit holds.
#[cube]
pub(crate) fn gelu<N: Size>(z: Vector<f32, N>) -> Vector<f32, N> {
    z * gate(saturated(z))
}

#[cube]
fn saturated<N: Size>(z: Vector<f32, N>) -> Vector<f32, N> {
    clamp(z, Vector::new(-SATURATED), Vector::new(SATURATED))
}

#[cube(launch)]
fn gelu_forward<F: Float, N: Size>(
    x: &Array<Vector<F, N>>,
    bias: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<F, N>>,
    #[define(F)] _dtype: StorageType,
) {
    let (at, column) = place(bias.len());
    if at < x.len() {
        let z = Vector::<f32, N>::cast_from(x[at]) + bias[column];
        y[at] = Vector::cast_from(gelu(z));
    }
}

#[cube(launch)]
fn gelu_backward<F: Float, N: Size>(
    x: &Array<Vector<F, N>>,
    bias: &Array<Vector<f32, N>>,
    dy: &Array<Vector<F, N>>,
    dx: &mut Array<Vector<F, N>>,
    #[define(F)] _dtype: StorageType,
) {
    let (at, column) = place(bias.len());
    if at < x.len() {
        let z = saturated(Vector::<f32, N>::cast_from(x[at]) + bias[column]);
        let gate = gate(z);
        let of_gate = gate * (Vector::new(1.0) - gate);
        let inner = (z * z * Vector::new(3.0 * CUBIC) + Vector::new(1.0)) * Vector::new(TWICE_ROOT);
        dx[at] = Vector::cast_from(Vector::<f32, N>::cast_from(dy[at]) * (gate + z * of_gate * inner));
    }
}

#[cube(launch)]
fn residual_sum<F: Float, N: Size>(
    x: &Array<Vector<F, N>>,
    bias: &Array<Vector<f32, N>>,
    residual: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<f32, N>>,
    #[define(F)] _dtype: StorageType,
) {
    let (at, column) = place(bias.len());
    if at < x.len() {
        y[at] = Vector::<f32, N>::cast_from(x[at]) + bias[column] + residual[at];
    }
}

/// Numbers that are read together, and the cubes for all of `tensor`, whose rows are of `bias`' length.
fn shares<R: Runtime>(tensor: &TensorBinding<R>, bias: &TensorBinding<R>) -> (usize, CubeCount) {
    let (count, columns) = (tensor.shape.iter().product::<usize>(), bias.shape[0]);
    let vector = [4, 2].into_iter().find(|vector| columns.is_multiple_of(*vector)).unwrap_or(1);
    (vector, cube_per_row((count / vector).div_ceil(UNITS as usize)))
}

/// `y`, GELU of `x + bias`: `x` and `y` `[rows, columns]` of the type `number`, `bias` `[columns]`.
pub fn biased_gelu<R: Runtime>(
    client: &ComputeClient<R>,
    [x, bias, y]: [TensorBinding<R>; 3],
    number: StorageType,
) {
    let (vector, cubes) = shares(&x, &bias);
    let [x, bias, y] = [x, bias, y].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    gelu_forward::launch::<R>(client, cubes, CubeDim::new_1d(UNITS), vector, x, bias, y, number);
}

/// `dx` of [`biased_gelu`] from `x`, `bias` and the gradient `dy` of y.
pub fn biased_gelu_backward<R: Runtime>(
    client: &ComputeClient<R>,
    [x, bias, dy, dx]: [TensorBinding<R>; 4],
    number: StorageType,
) {
    let (vector, cubes) = shares(&x, &bias);
    let [x, bias, dy, dx] = [x, bias, dy, dx].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    gelu_backward::launch::<R>(client, cubes, CubeDim::new_1d(UNITS), vector, x, bias, dy, dx, number);
}

/// `y = residual + x + bias`: `x` `[rows, columns]` of the type `number`, `bias` `[columns]`, `residual` and `y` of the
/// shape of x.
pub fn biased_sum<R: Runtime>(
    client: &ComputeClient<R>,
    [x, bias, residual, y]: [TensorBinding<R>; 4],
    number: StorageType,
) {
    let (vector, cubes) = shares(&x, &bias);
    let [x, bias, residual, y] =
        [x, bias, residual, y].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    residual_sum::launch::<R>(client, cubes, CubeDim::new_1d(UNITS), vector, x, bias, residual, y, number);
}
