//! Cross-entropy of rows of logits, with the gradient in their place.
//!
//! For a row z with target t: `nll = logsumexp(z) - z_t`, `dz = softmax(z) - onehot(t)`. A cube takes a row: it reads the
//! row twice and writes it once, whatever number type the logits are of; all in between is f32.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use crate::reduce::{UNITS, cube_per_row, largest_in_cube, sum_in_cube};

/// Below every logit; a smaller one would not be f32.
const LEAST: f32 = -3.0e38;

#[cube(launch)]
fn cross_entropy_of_rows<F: Float>(
    logits: &mut Array<F>,
    targets: &Array<i32>,
    nll: &mut Array<f32>,
    columns: usize,
    stride: usize,
    lift: f32,
    #[comptime] units: u32,
    #[define(F)] _dtype: StorageType,
) {
    let row = CUBE_POS;
    if row >= nll.len() {
        terminate!();
    }
    let start = row * stride;
    // The largest so far and the sum of exponentials less it, in one pass.
    let mut largest = f32::new(LEAST);
    let mut sum = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < columns {
        let z = f32::cast_from(logits[start + at]);
        if z > largest {
            sum *= f32::exp(largest - z);
            largest = z;
        }
        sum += f32::exp(z - largest);
        at += units as usize;
    }
    let of_row = largest_in_cube(largest, units);
    let sum = sum_in_cube(sum * f32::exp(largest - of_row), units);
    let target = targets[row] as usize;
    if UNIT_POS == 0 {
        nll[row] = f32::ln(sum) + of_row - f32::cast_from(logits[start + target]);
    }
    // The target's own logit was read.
    sync_cube();
    let mut at = UNIT_POS as usize;
    while at < columns {
        let mut gradient = f32::exp(f32::cast_from(logits[start + at]) - of_row) / sum;
        if at == target {
            gradient -= 1.0;
        }
        logits[start + at] = F::cast_from(gradient * lift);
        at += units as usize;
    }
}

/// Turns each row of `logits` `[rows, columns]`, of any float type and with rows at any distance, into its gradient times
/// `lift`, and writes its negative log-likelihood to `nll` `[rows]`; `targets` `[rows]` are i32.
pub fn cross_entropy_rows<R: Runtime>(
    client: &ComputeClient<R>,
    logits: TensorBinding<R>,
    number: StorageType,
    targets: TensorBinding<R>,
    nll: TensorBinding<R>,
    lift: f32,
) {
    let (count, columns, stride) = (logits.shape[0], logits.shape[1], logits.strides[0]);
    // An array as long as the memory that the rows take, the gaps between them included.
    let reach = (count.max(1) - 1) * stride + columns;
    // SAFETY: the last row ends there, and the memory not before.
    #[allow(unsafe_code)]
    let logits = unsafe { ArrayArg::from_raw_parts_binding(logits.handle, reach) };
    let [targets, nll] = [targets, nll].map(|tensor| tensor.into_tensor_arg().into_array_arg());
    let (cubes, dim) = (cube_per_row(count), CubeDim::new_1d(UNITS));
    cross_entropy_of_rows::launch::<R>(
        client, cubes, dim, logits, targets, nll, columns, stride, lift, UNITS, number,
    );
}
