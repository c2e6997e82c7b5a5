//! GELU and its derivative; the formulas are in `ops/gelu.rs`.

use std::mem::MaybeUninit;

use super::super::gelu::{CUBIC, SATURATED, TWICE_ROOT};
use super::exp::{exp, sigmoid};
use super::tasks::{self, Kernel};
use super::tensors::written;

/// The twice-root and the cubic coefficient.
const ROOT: f32 = TWICE_ROOT as f32;
const CUBE: f32 = CUBIC as f32;
const BOUND: f32 = SATURATED as f32;

/// `gelu(x)`.
pub(super) fn forward(x: &[f32]) -> Vec<f32> {
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
pub(super) fn backward(x: &[f32], dy: &mut [f32]) {
    let size = tasks::task_size(1);
    tasks::run(&Backward, x.chunks(size).zip(dy.chunks_mut(size)));
}

struct Forward;

impl Kernel<(&[f32], &mut [MaybeUninit<f32>])> for Forward {
    type Output = ();

    #[inline(always)]
    fn run(&self, (x, y): (&[f32], &mut [MaybeUninit<f32>])) {
        for (y, &x) in y.iter_mut().zip(x) {
            y.write(x * sigmoid(x * ((x * x * CUBE + 1.0) * ROOT)));
        }
    }
}

struct Backward;

impl Kernel<(&[f32], &mut [f32])> for Backward {
    type Output = ();

    #[inline(always)]
    fn run(&self, (x, dy): (&[f32], &mut [f32])) {
        for (dy, &x) in dy.iter_mut().zip(x) {
            let x = x.clamp(-BOUND, BOUND);
            let square = x * x;
            // Within the bound it is finite, so that the gate's complement is it times the gate, to the last bit.
            let exponential = exp(-x * ((square * CUBE + 1.0) * ROOT));
            let gate = 1.0 / (1.0 + exponential);
            let inner = (square * (3.0 * CUBE) + 1.0) * ROOT;
            *dy *= gate + x * gate * (exponential * gate) * inner;
        }
    }
}
