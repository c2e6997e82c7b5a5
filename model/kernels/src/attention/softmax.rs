//! From scores to weights.

use crate::rows::{exp, largest, sum};

/// Softmax in place over the keys that are not padding; zeros where all are.
#[inline(always)]
pub(super) fn softmax(row: &mut [f32], padding: Option<&[u8]>) {
    if let Some(padding) = padding {
        for (score, padding) in row.iter_mut().zip(padding) {
            *score = if *padding == 0 { *score } else { f32::NEG_INFINITY };
        }
    }
    let largest = largest(row);
    if largest == f32::NEG_INFINITY {
        // Every key is padding; or no score is a number, and then no weight may look like one.
        let broken = row.iter().any(|score| score.is_nan());
        row.fill(if broken { f32::NAN } else { 0.0 });
        return;
    }
    for score in row.iter_mut() {
        *score = exp(*score - largest);
    }
    let factor = 1.0 / sum(row, |weight| weight);
    row.iter_mut().for_each(|weight| *weight *= factor);
}
