//! Of all gradients together: the sum of the squares of their elements, each times a factor first, and whether all are
//! finite. A few launches for however many tensors: each cube goes through its share of every tensor and leaves two
//! numbers, and one cube adds them up.

use cubecl::prelude::*;

use crate::reduce::{UNITS, sum_in_cube};

/// Cubes that share the work: enough for the GPUs there are, few enough to add up.
const CUBES: u32 = 256;

/// The bits of a float's exponent: all set where it is infinite or no number.
const EXPONENT: u32 = 0x7f80_0000;

/// By its bits: a compiler may take it that no float is infinite.
#[cube]
pub(crate) fn is_finite(value: f32) -> bool {
    u32::reinterpret(value) & EXPONENT != EXPONENT
}

/// Each cube's sum of squares and its number of units that met something not finite, from its place on.
#[cube(launch)]
fn shares(
    gradients: &Sequence<Array<f32>>,
    sums: &mut Array<f32>,
    first: usize,
    factor: f32,
    #[comptime] units: u32,
) {
    let mut sum = f32::new(0.0);
    let mut met = f32::new(0.0);
    let stride = CUBE_COUNT * CUBE_DIM as usize;
    #[unroll]
    for tensor in 0..gradients.len() {
        let gradient = gradients.index(tensor);
        let mut at = ABSOLUTE_POS;
        while at < gradient.len() {
            let value = gradient[at];
            if !is_finite(value) {
                met = f32::new(1.0);
            }
            let scaled = value * factor;
            sum += scaled * scaled;
            at += stride;
        }
    }
    let sum = sum_in_cube(sum, units);
    let met = sum_in_cube(met, units);
    if UNIT_POS == 0 {
        sums[first + 2 * CUBE_POS] = sum;
        sums[first + 2 * CUBE_POS + 1] = met;
    }
}

/// Adds up what the cubes left.
#[cube(launch)]
fn total(sums: &Array<f32>, result: &mut Array<f32>, #[comptime] units: u32) {
    let mut sum = f32::new(0.0);
    let mut met = f32::new(0.0);
    let mut at = UNIT_POS as usize;
    while at < sums.len() / 2 {
        sum += sums[2 * at];
        met += sums[2 * at + 1];
        at += units as usize;
    }
    let sum = sum_in_cube(sum, units);
    let met = sum_in_cube(met, units);
    if UNIT_POS == 0 {
        result[0] = sum;
        result[1] = met;
    }
}

/// Writes the sum of squares of all elements of `gradients`, each times `factor` first, to `result[0]`, and 0 to
/// `result[1]` if every element is finite, else 1 or more.
pub fn gradient_sums<R: Runtime>(
    client: &ComputeClient<R>,
    gradients: Vec<TensorBinding<R>>,
    factor: f32,
    result: TensorBinding<R>,
) {
    // The sums take one binding.
    let at_once = at_once(client, 1, 1);
    let launches = gradients.len().div_ceil(at_once);
    let numbers = launches * 2 * CUBES as usize;
    let sums = client.empty(numbers * size_of::<f32>());
    // SAFETY: made above with room for so many numbers.
    #[allow(unsafe_code)]
    let sums = || unsafe { ArrayArg::from_raw_parts(sums.clone(), numbers) };
    let mut gradients = gradients.into_iter().peekable();
    let mut first = 0;
    while gradients.peek().is_some() {
        let group: SequenceArg<R, Array<f32>> = gradients
            .by_ref()
            .take(at_once)
            .map(|gradient| gradient.into_tensor_arg().into_array_arg())
            .collect();
        let cubes = CubeCount::Static(CUBES, 1, 1);
        shares::launch::<R>(client, cubes, CubeDim::new_1d(UNITS), group, sums(), first, factor, UNITS);
        first += 2 * CUBES as usize;
    }
    let result = result.into_tensor_arg().into_array_arg();
    total::launch::<R>(client, CubeCount::Static(1, 1, 1), CubeDim::new_1d(UNITS), sums(), result, UNITS);
}

/// Tensors of a launch: the loop over them is unrolled, and a kernel's size is what a driver compiles.
const MOST_TENSORS: usize = 64;

/// How many tensors a launch takes, each of which has `of_each` buffers, beside so many `others`.
pub(crate) fn at_once<R: Runtime>(client: &ComputeClient<R>, of_each: usize, others: usize) -> usize {
    tensors_of(client.properties().hardware.max_bindings as usize, of_each, others)
}

/// One binding is for what cubecl itself passes, lengths and numbers; it is not among those that it leaves out of the most.
fn tensors_of(most_bindings: usize, of_each: usize, others: usize) -> usize {
    (most_bindings.saturating_sub(1 + others) / of_each).clamp(1, MOST_TENSORS)
}

#[cfg(test)]
mod tests {
    use super::tensors_of;

    /// Metal has 31 buffers, of which cubecl says 30: with its own two, none is too many.
    #[test]
    fn a_launch_binds_no_more_than_there_are() {
        for (of_each, others, expected) in [(1, 1, 28), (5, 1, 5)] {
            let tensors = tensors_of(30, of_each, others);
            assert_eq!(tensors, expected);
            assert!(tensors * of_each + others + 2 <= 31);
        }
        assert_eq!(tensors_of(8, 5, 1), 1);
        assert_eq!(tensors_of(4096, 5, 1), 64);
    }
}
