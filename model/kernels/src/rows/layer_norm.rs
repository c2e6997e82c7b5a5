//! Layer norm (Ba, Kiros and Hinton 2016) of rows: `y = n * weight + bias` with `n = (x - mean) * rstd` and
//! `rstd = 1 / sqrt(variance + epsilon)`, mean and biased variance over the row.
//!
//! With `g = dy * weight`: `dx = rstd * (g - mean(g) - n * mean(g * n))`; `dweight` is the sum of `dy * n` over the
//! rows, `dbias` that of `dy`. Mean and rstd are worked out again in the backward pass.

use std::mem::MaybeUninit;

use super::reduce::{dot, sum};
use crate::memory::written;
use crate::tasks::{self, Kernel};

/// Layer norm of each row: `x` `[rows, hidden]` to the same shape, `weight` and `bias` `[hidden]`.
///
/// # Panics
///
/// Where x is not whole rows, or the bias is not as long as the weight.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    assert_whole_rows(x, weight);
    assert_eq!(weight.len(), bias.len(), "numbers of weight and bias");
    let size = tasks::task_size(weight.len());
    // SAFETY: x is whole rows, as has been asserted, and each of their values has one of y.
    #[allow(unsafe_code)]
    unsafe {
        let [y] = written([x.len()], |[y]| {
            tasks::run(&Forward { weight, bias, epsilon }, x.chunks(size).zip(y.chunks_mut(size)));
        });
        y
    }
}

/// The gradient of x in place of the output's, `dy`; shapes and panics as [`layer_norm`].
pub fn layer_norm_input_gradient(x: &[f32], weight: &[f32], dy: &mut [f32], epsilon: f32) {
    assert_gradient(x, weight, dy);
    let size = tasks::task_size(weight.len());
    tasks::run(&Backward::<false> { weight, epsilon }, x.chunks(size).zip(dy.chunks_mut(size)));
}

/// As [`layer_norm_input_gradient`]; the gradients of weight and bias are returned.
pub fn layer_norm_backward(x: &[f32], weight: &[f32], dy: &mut [f32], epsilon: f32) -> [Vec<f32>; 2] {
    assert_gradient(x, weight, dy);
    let size = tasks::task_size(weight.len());
    let parts = tasks::run(&Backward::<true> { weight, epsilon }, x.chunks(size).zip(dy.chunks_mut(size)));
    let mut sums = [vec![0.0; weight.len()], vec![0.0; weight.len()]];
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
    }
    sums
}

fn assert_whole_rows(x: &[f32], weight: &[f32]) {
    let (count, hidden) = (x.len(), weight.len());
    assert!(hidden > 0 && count.is_multiple_of(hidden), "{count} numbers are no rows of {hidden}");
}

fn assert_gradient(x: &[f32], weight: &[f32], dy: &[f32]) {
    assert_whole_rows(x, weight);
    assert_eq!(x.len(), dy.len(), "numbers of x and of the output's gradient");
}

/// The mean of a row, and one over its standard deviation.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = sum(x, |x| x) / count;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

struct Forward<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
}

impl Kernel<(&[f32], &mut [MaybeUninit<f32>])> for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(&self, (x, y): (&[f32], &mut [MaybeUninit<f32>])) {
        let hidden = self.weight.len();
        for (x, y) in x.chunks_exact(hidden).zip(y.chunks_exact_mut(hidden)) {
            let (mean, rstd) = moments(x, self.epsilon);
            for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(self.weight.iter().zip(self.bias)) {
                y.write((x - mean) * rstd * weight + bias);
            }
        }
    }
}

/// With `PARAMETERS`, a task gives its share of the gradients of weight and bias.
struct Backward<'a, const PARAMETERS: bool> {
    weight: &'a [f32],
    epsilon: f32,
}

impl<const PARAMETERS: bool> Kernel<(&[f32], &mut [f32])> for Backward<'_, PARAMETERS> {
    type Output = [Vec<f32>; 2];

    #[inline(always)]
    fn run(&self, (x, dy): (&[f32], &mut [f32])) -> [Vec<f32>; 2] {
        let hidden = self.weight.len();
        let kept = if PARAMETERS { hidden } else { 0 };
        let [mut of_weight, mut of_bias] = [vec![0.0; kept], vec![0.0; kept]];
        let mut normal = vec![0.0; hidden];
        for (x, dy) in x.chunks_exact(hidden).zip(dy.chunks_exact_mut(hidden)) {
            let (mean, rstd) = moments(x, self.epsilon);
            for (normal, x) in normal.iter_mut().zip(x) {
                *normal = (x - mean) * rstd;
            }
            // Empty where they are not asked for.
            for (of_weight, (dy, normal)) in of_weight.iter_mut().zip(dy.iter().zip(&normal)) {
                *of_weight += dy * normal;
            }
            for (of_bias, dy) in of_bias.iter_mut().zip(dy.iter()) {
                *of_bias += dy;
            }
            for (dy, weight) in dy.iter_mut().zip(self.weight) {
                *dy *= weight;
            }
            let average = sum(dy, |scaled| scaled) / hidden as f32;
            let along = dot(dy, &normal) / hidden as f32;
            for (dy, normal) in dy.iter_mut().zip(&normal) {
                *dy = (*dy - average - normal * along) * rstd;
            }
        }
        [of_weight, of_bias]
    }
}
