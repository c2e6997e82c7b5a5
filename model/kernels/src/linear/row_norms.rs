//! The lengths of an updated weight's rows, which DoRA asks for at every step (Liu et al. 2024, "DoRA: Weight-Decomposed
//! Low-Rank Adaptation", equation 5): some rows at a time, so that the sum `W + scale * B A` is never in memory as a whole.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::low_rank::LowRank;
use crate::memory::zeros;
use crate::products::{Matrix, Weight, add_small_product};
use crate::registers::arch;
use crate::rows::sum;

/// Rows of a task.
const TASK: usize = 16;

/// The length of each row of `W + scale * B A`, `[output]`: W `[output, input]`. Dropout is not asked for.
///
/// # Panics
///
/// Where a slice is not of its shape.
pub fn updated_row_norms(weight: Weight<'_>, lora: &LowRank<'_>, [input, output]: [usize; 2]) -> Vec<f32> {
    let LowRank { a, b, rank, .. } = *lora;
    assert!(weight.len() >= output * input, "{} of {output} x {input} numbers of a weight", weight.len());
    assert_eq!([a.len(), b.len()], [rank * input, output * rank], "numbers of A and B");
    let mut norms = zeros(output);
    if input > 0 {
        let arch = arch();
        norms.par_chunks_mut(TASK).enumerate().for_each(|(index, norms)| {
            arch.dispatch(Task { weight, lora, input, first: index * TASK, norms });
        });
    }
    norms
}

/// Some rows, from `first` on.
struct Task<'a> {
    weight: Weight<'a>,
    lora: &'a LowRank<'a>,
    input: usize,
    first: usize,
    norms: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weight, lora, input, first, norms } = self;
        let LowRank { a, b, rank, scale, .. } = *lora;
        let rows = first..first + norms.len();
        let mut updated = weight.floats(rows.start * input..rows.end * input, &mut Vec::new()).to_vec();
        let b: Vec<f32> = b[rows.start * rank..rows.end * rank].iter().map(|value| scale * value).collect();
        let factors = [Matrix::dense(&b, norms.len(), rank), Matrix::dense(a, rank, input)];
        add_small_product(simd, &mut updated, input, factors);
        for (norm, row) in norms.iter_mut().zip(updated.chunks_exact(input)) {
            *norm = sum(row, |value| value * value).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::testing::{assert_near, numbers};

    /// Rows that fill no task, an input that fills no register.
    #[test]
    fn lengths_equal_those_in_f64() {
        for (input, output, rank) in [(64, 70, 4), (67, 5, 3), (1, 17, 1), (768, 33, 16)] {
            let (w, a, b) = (numbers(1, output * input), numbers(2, rank * input), numbers(3, output * rank));
            let half: Vec<bf16> = w.iter().map(|value| bf16::from_f32(*value)).collect();
            let bytes: Vec<i8> = w.iter().map(|value| (value * 100.0) as i8).collect();
            let scales: Vec<f32> = (0..output).map(|row| 0.01 + 0.001 * row as f32).collect();
            let int8 = Weight::Int8 { values: &bytes, scales: &scales, block: input };
            let lora = LowRank { a: &a, b: &b, rank, scale: 0.5, dropout: None };
            for weight in [Weight::F32(&w), Weight::Bf16(&half), int8] {
                let mut scratch = Vec::new();
                let kept = weight.floats(0..output * input, &mut scratch);
                let expected: Vec<f32> = (0..output)
                    .map(|row| {
                        let number = |column: usize| {
                            let update =
                                |r: usize| f64::from(b[row * rank + r]) * f64::from(a[r * input + column]);
                            f64::from(kept[row * input + column]) + 0.5 * (0..rank).map(update).sum::<f64>()
                        };
                        (0..input).map(|column| number(column).powi(2)).sum::<f64>().sqrt() as f32
                    })
                    .collect();
                let found = updated_row_norms(weight, &lora, [input, output]);
                assert_near(&found, &expected, 1e-5, &format!("{input} x {output}, rank {rank}"));
            }
        }
    }
}
