//! Products of a few rows, `y = x W^T`, for decoding: each weight is read once, whatever the rows, and what follows takes
//! the sums as they are made: GELU of `y + b`, or the residual stream's `r + y + b`. Several weights of one shape are one
//! launch.
//!
//! A cube takes some rows of W; units side by side go along one of them, and add up what they found.

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use crate::biased::gelu;

/// The most rows of x: a unit holds a sum for each.
pub const MOST_FEW_ROWS: usize = 8;

/// Units that share a row of W, and rows of W that a cube takes.
const LANES: usize = 32;
const GROUPS: usize = 8;
const UNITS: usize = LANES * GROUPS;

/// What becomes of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Follow {
    Nothing,
    Gelu,
    Sum,
}

/// What follows a product of few rows.
pub enum FewRowsFollow<R: Runtime> {
    /// It is what is wanted.
    Nothing,
    /// GELU in its tanh form, of the sum with a bias `[out]`.
    Gelu(TensorBinding<R>),
    /// The sum with a bias `[out]` and the residual stream `[rows, out]`.
    Sum(TensorBinding<R>, TensorBinding<R>),
}

#[cube(launch)]
fn few_rows_product<W: Float, N: Size>(
    x: &Array<Vector<f32, N>>,
    weights: &Sequence<Array<Vector<W, N>>>,
    bias: &Array<f32>,
    residual: &Array<f32>,
    results: &mut Sequence<Array<f32>>,
    depth: usize,
    outputs: usize,
    #[comptime] rows: usize,
    #[comptime] follow: Follow,
    #[define(W)] _dtype: StorageType,
) {
    let unit = UNIT_POS as usize;
    let (lane, group) = (unit % LANES, unit / LANES);
    let output = CUBE_POS_X as usize * GROUPS + group;
    let mut parts = SharedMemory::<f32>::new(UNITS);
    #[unroll]
    for index in 0..weights.len() {
        if CUBE_POS_Y as usize == index {
            let weight = weights.index(index);
            let result = results.index_mut(index);
            let mut sums = Array::<f32>::new(rows);
            #[unroll]
            for row in 0..rows {
                sums[row] = f32::new(0.0);
            }
            if output < outputs {
                let mut at = lane;
                while at < depth {
                    let factors = Vector::<f32, N>::cast_from(weight[output * depth + at]);
                    #[unroll]
                    for row in 0..rows {
                        let products = x[row * depth + at] * factors;
                        let mut sum = sums[row];
                        #[unroll]
                        for part in 0..N::value() {
                            sum += products[part];
                        }
                        sums[row] = sum;
                    }
                    at += LANES;
                }
            }
            #[unroll]
            for row in 0..rows {
                sync_cube();
                parts[unit] = sums[row];
                sync_cube();
                let steps = comptime!(LANES.ilog2());
                #[unroll]
                for step in 0..steps {
                    let half = comptime!(LANES >> (step + 1));
                    if lane < half {
                        parts[unit] = parts[unit] + parts[unit + half];
                    }
                    sync_cube();
                }
                if lane == 0 && output < outputs {
                    let place = row * outputs + output;
                    let mut y = parts[unit];
                    if comptime!(follow != Follow::Nothing) {
                        y += bias[output];
                    }
                    if comptime!(follow == Follow::Gelu) {
                        y = gelu(Vector::<f32, N>::new(y))[0];
                    }
                    if comptime!(follow == Follow::Sum) {
                        y += residual[place];
                    }
                    result[place] = y;
                }
            }
        }
    }
}

/// `x` `[rows, in]` times each of `weights` `[out, in]`, which are of the type `number`, into `results` `[rows, out]`; at
/// most [`MOST_FEW_ROWS`] rows.
pub fn few_rows<R: Runtime>(
    client: &ComputeClient<R>,
    x: TensorBinding<R>,
    weights: Vec<TensorBinding<R>>,
    number: StorageType,
    follow: FewRowsFollow<R>,
    results: Vec<TensorBinding<R>>,
) {
    let (rows, input) = (x.shape[0], x.shape[1]);
    let outputs = weights[0].shape[0];
    let vector = [4, 2].into_iter().find(|vector| input.is_multiple_of(*vector)).unwrap_or(1);
    let cubes = CubeCount::Static(outputs.div_ceil(GROUPS) as u32, weights.len() as u32, 1);
    let array = |tensor: TensorBinding<R>| tensor.into_tensor_arg().into_array_arg();
    // What is not used has to be something.
    let (follow, bias, residual) = match follow {
        FewRowsFollow::Nothing => (Follow::Nothing, x.clone(), x.clone()),
        FewRowsFollow::Gelu(bias) => (Follow::Gelu, bias, x.clone()),
        FewRowsFollow::Sum(bias, residual) => (Follow::Sum, bias, residual),
    };
    few_rows_product::launch::<R>(
        client,
        cubes,
        CubeDim::new_1d(UNITS as u32),
        vector,
        array(x),
        weights.into_iter().map(array).collect(),
        array(bias),
        array(residual),
        results.into_iter().map(array).collect(),
        input / vector,
        outputs,
        rows,
        follow,
        number,
    );
}
