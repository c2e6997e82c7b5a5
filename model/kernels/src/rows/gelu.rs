//! GELU in its tanh form (Hendrycks and Gimpel 2016): `x/2 * (1 + tanh(u)) = x * sigmoid(2u)` with
//! `u = sqrt(2/pi) * (x + 0.044715 x^3)`. With `s = sigmoid(2u)` its derivative is `s + x * s * (1 - s) * d(2u)/dx`.

use std::mem::MaybeUninit;

use super::exp::{exp, sigmoid};
use crate::memory::written;
use crate::tasks::{self, Kernel};

/// 2 sqrt(2 / pi).
const TWICE_ROOT: f32 = 1.595_769_121_605_730_8_f64 as f32;
/// The cubic coefficient.
const CUBIC: f32 = 0.044_715;
/// Beyond it, either way, the derivative is within 1e-34 of 0 or 1.
const SATURATED: f32 = 10.0;

/// GELU of each number.
pub fn gelu(x: &[f32]) -> Vec<f32> {
    let size = tasks::task_size(1);
    // SAFETY: as many values of y are written as there are of x.
    #[allow(unsafe_code)]
    unsafe {
        let [y] = written([x.len()], |[y]| {
            tasks::run(&Forward, x.chunks(size).zip(y.chunks_mut(size)));
        });
        y
    }
}

/// Multiplies the output's gradient `dy` by the derivative at `x`, in place.
///
/// # Panics
///
/// Where there are not as many numbers of each.
pub fn gelu_backward(x: &[f32], dy: &mut [f32]) {
    assert_eq!(x.len(), dy.len(), "numbers of x and of the output's gradient");
    let size = tasks::task_size(1);
    tasks::run(&Backward, x.chunks(size).zip(dy.chunks_mut(size)));
}

struct Forward;

impl Kernel<(&[f32], &mut [MaybeUninit<f32>])> for Forward {
    type Output = ();

    #[inline(always)]
    fn run(&self, (x, y): (&[f32], &mut [MaybeUninit<f32>])) {
        for (y, &x) in y.iter_mut().zip(x) {
            y.write(x * sigmoid(x * ((x * x * CUBIC + 1.0) * TWICE_ROOT)));
        }
    }
}

struct Backward;

impl Kernel<(&[f32], &mut [f32])> for Backward {
    type Output = ();

    #[inline(always)]
    fn run(&self, (x, dy): (&[f32], &mut [f32])) {
        for (dy, &x) in dy.iter_mut().zip(x) {
            let x = x.clamp(-SATURATED, SATURATED);
            let square = x * x;
            // Within the bound it is finite, so that the gate's complement is it times the gate, to the last bit.
            let exponential = exp(-x * ((square * CUBIC + 1.0) * TWICE_ROOT));
            let gate = 1.0 / (1.0 + exponential);
            let inner = (square * (3.0 * CUBIC) + 1.0) * TWICE_ROOT;
            *dy *= gate + x * gate * (exponential * gate) * inner;
        }
    }
}
