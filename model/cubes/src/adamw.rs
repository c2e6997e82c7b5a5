//! AdamW (Loshchilov and Hutter 2019) on all parameters at once.
//!
//! With the gradient `g` after unscaling and clipping: `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
//! `p = (1 - rate decay) p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)`. Whether the step is taken and
//! what clips it follows from the gradients' sums, on the device; the host works out the other factors once. One launch serves
//! as many tensors as a kernel may be given.

use cubecl::prelude::*;

use crate::gradient_sums::{at_once, is_finite};
use crate::reduce::UNITS;

/// Cubes that share the work.
const CUBES: u32 = 256;

/// Tensors of each parameter.
const OF_EACH: usize = 5;

/// One parameter with all that belongs to it, each of as many elements.
pub struct AdamWTensors<R: Runtime> {
    /// The parameter before the step.
    pub parameter: TensorBinding<R>,
    /// Its gradient as the backward pass left it.
    pub gradient: TensorBinding<R>,
    /// m, which is written in place.
    pub first: TensorBinding<R>,
    /// v, which is written in place.
    pub second: TensorBinding<R>,
    /// Gets the parameter after the step.
    pub updated: TensorBinding<R>,
}

/// What a step multiplies with.
#[derive(Clone, Copy, Debug)]
pub struct AdamWFactors {
    /// Of the gradient: one over the loss's scale.
    pub unscale: f32,
    /// The largest norm of all gradients together, which they are brought down to; 0 for any.
    pub max_norm: f32,
    /// What is added to the norm before it divides.
    pub clip_epsilon: f32,
    /// The first moment's decay, beta 1.
    pub beta_1: f32,
    /// The second moment's decay, beta 2.
    pub beta_2: f32,
    /// `1 - beta1^t`.
    pub correction_1: f32,
    /// `1 - beta2^t`.
    pub correction_2: f32,
    /// What keeps the divisor from zero.
    pub epsilon: f32,
    /// Of the parameter: `1 - rate * decay`.
    pub keep: f32,
    /// The learning rate.
    pub rate: f32,
}

/// The same for a kernel.
#[derive(CubeType, CubeLaunch)]
struct Factors {
    unscale: f32,
    max_norm: f32,
    clip_epsilon: f32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    correction_1: f32,
    correction_2: f32,
    epsilon: f32,
    keep: f32,
    rate: f32,
}

#[cube(launch)]
fn step(
    parameters: &Sequence<Array<f32>>,
    gradients: &Sequence<Array<f32>>,
    firsts: &mut Sequence<Array<f32>>,
    seconds: &mut Sequence<Array<f32>>,
    updated: &mut Sequence<Array<f32>>,
    sums: &Array<f32>,
    factors: &Factors,
) {
    let sum = sums[0];
    let is_taken = sums[1] < 1.0 && is_finite(sum);
    let mut clip = f32::new(1.0);
    if factors.max_norm > 0.0 {
        clip = min(factors.max_norm / (f32::sqrt(sum) + factors.clip_epsilon), clip);
    }
    let cubes = CUBE_COUNT;
    let stride = cubes * CUBE_DIM as usize;
    #[unroll]
    for tensor in 0..parameters.len() {
        let parameter = parameters.index(tensor);
        let gradient = gradients.index(tensor);
        let first = firsts.index_mut(tensor);
        let second = seconds.index_mut(tensor);
        let after = updated.index_mut(tensor);
        // Each tensor begins at another cube: small ones would all be the first cubes' work.
        let cube = (CUBE_POS + comptime!(tensor * 37)) % cubes;
        let mut at = cube * CUBE_DIM as usize + UNIT_POS as usize;
        while at < parameter.len() {
            let mut p = parameter[at];
            if is_taken {
                let g = gradient[at] * factors.unscale * clip;
                let m = first[at] * factors.beta_1 + g * factors.rest_1;
                let v = second[at] * factors.beta_2 + g * g * factors.rest_2;
                first[at] = m;
                second[at] = v;
                let divisor = f32::sqrt(v / factors.correction_2) + factors.epsilon;
                let delta = m / factors.correction_1 / divisor;
                p = p * factors.keep - delta * factors.rate;
            }
            after[at] = p;
            at += stride;
        }
    }
}

/// Takes the step for every parameter, unless `sums`, of [`crate::gradient_sums()`], are not finite or say that a gradient is
/// not: then parameters and moments stay as they are.
pub fn adamw<R: Runtime>(
    client: &ComputeClient<R>,
    tensors: Vec<AdamWTensors<R>>,
    sums: TensorBinding<R>,
    factors: AdamWFactors,
) {
    let at_once = at_once(client, OF_EACH, 1);
    let mut tensors = tensors.into_iter().peekable();
    while tensors.peek().is_some() {
        let mut args: [SequenceArg<R, Array<f32>>; OF_EACH] = std::array::from_fn(|_| SequenceArg::new());
        for tensors in tensors.by_ref().take(at_once) {
            let AdamWTensors { parameter, gradient, first, second, updated } = tensors;
            for (arg, tensor) in args.iter_mut().zip([parameter, gradient, first, second, updated]) {
                arg.push(tensor.into_tensor_arg().into_array_arg());
            }
        }
        let [parameters, gradients, firsts, seconds, updated] = args;
        let factors = FactorsLaunch::new(
            factors.unscale,
            factors.max_norm,
            factors.clip_epsilon,
            factors.beta_1,
            1.0 - factors.beta_1,
            factors.beta_2,
            1.0 - factors.beta_2,
            factors.correction_1,
            factors.correction_2,
            factors.epsilon,
            factors.keep,
            factors.rate,
        );
        let cubes = CubeCount::Static(CUBES, 1, 1);
        let dim = CubeDim::new_1d(UNITS);
        let sums = sums.clone().into_tensor_arg().into_array_arg();
        step::launch::<R>(client, cubes, dim, parameters, gradients, firsts, seconds, updated, sums, factors);
    }
}
