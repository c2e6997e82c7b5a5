//! Cross-entropy of rows of logits z with target t: `nll = logsumexp(z) - z_t`, with the gradient
//! `softmax(z) - onehot(t)`.
//!
//! Sums over the vocabulary are made in f32 a block at a time and in f64 over the blocks, sums over rows in f64.

use super::exp::exp;
use super::reduce::{largest, sum};
use crate::tasks::{self, Kernel};

/// Elements summed in f32.
const BLOCK: usize = 1024;

/// The negative log-likelihood of each row's target in nats: logits `[rows, vocabulary]`, targets `[rows]`.
///
/// # Panics
///
/// A target outside the vocabulary.
pub fn cross_entropy(logits: &[f32], targets: &[usize]) -> Vec<f64> {
    let rows = logits.chunks(row_length(logits, targets));
    tasks::run(&Loss, rows.zip(targets.iter().copied()))
}

/// As [`cross_entropy`]; the logits become the gradient of the summed losses, `softmax - onehot`, in place.
///
/// # Panics
///
/// A target outside the vocabulary.
pub fn cross_entropy_gradients(logits: &mut [f32], targets: &[usize]) -> Vec<f64> {
    let length = row_length(logits, targets);
    tasks::run(&Gradient, logits.chunks_mut(length).zip(targets.iter().copied()))
}

/// At least one, as `chunks` wants it.
fn row_length(logits: &[f32], targets: &[usize]) -> usize {
    (logits.len() / targets.len().max(1)).max(1)
}

struct Loss;

impl Kernel<(&[f32], usize)> for Loss {
    type Output = f64;

    #[inline(always)]
    fn run(&self, (logits, target): (&[f32], usize)) -> f64 {
        let shift = largest(logits);
        let mut total = 0.0;
        for block in logits.chunks(BLOCK) {
            total += f64::from(sum(block, |logit| exp(logit - shift)));
        }
        total.ln() - f64::from(logits[target] - shift)
    }
}

struct Gradient;

impl Kernel<(&mut [f32], usize)> for Gradient {
    type Output = f64;

    #[inline(always)]
    fn run(&self, (logits, target): (&mut [f32], usize)) -> f64 {
        let shift = largest(logits);
        let shifted_target = logits[target] - shift;
        let mut total = 0.0;
        for block in logits.chunks_mut(BLOCK) {
            for logit in block.iter_mut() {
                *logit = exp(*logit - shift);
            }
            total += f64::from(sum(block, |exponential| exponential));
        }
        let scale = (1.0 / total) as f32;
        for exponential in logits.iter_mut() {
            *exponential *= scale;
        }
        logits[target] -= 1.0;
        total.ln() - f64::from(shifted_target)
    }
}
