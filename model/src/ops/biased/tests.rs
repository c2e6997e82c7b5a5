#![allow(clippy::unwrap_used)]
use burn::tensor::{DType, TensorData};
use burn_flex::Flex;
use burn_ndarray::NdArray;

use super::super::gelu_new;
use super::super::testing::{assert_close, random, values};
use super::*;

/// Output and gradients with respect to x, bias and residual of the loss `sum(y^2)`.
fn outcome<B: NeoBackend>(
    joined: impl Fn(
        Tensor<Autodiff<B>, 2>,
        Tensor<Autodiff<B>, 1>,
        Tensor<Autodiff<B>, 2>,
    ) -> Tensor<Autodiff<B>, 2>,
) -> Vec<TensorData> {
    let shape = [5, 7];
    let [x, residual] = [1, 2].map(|seed| random::<Autodiff<B>, 2>(shape, seed).require_grad());
    let bias = random::<Autodiff<B>, 1>([7], 3).require_grad();
    let y = joined(x.clone(), bias.clone(), residual.clone());
    let mut gradients = y.clone().square().sum().backward();
    let found = [x.grad_remove(&mut gradients), residual.grad_remove(&mut gradients)];
    let mut all = vec![y.to_data(), bias.grad_remove(&mut gradients).unwrap().to_data()];
    all.extend(found.into_iter().flatten().map(|gradient| gradient.to_data()));
    all
}

fn equals_one_after_the_other<B: NeoBackend>() {
    let pairs = [
        (
            outcome::<B>(|x, bias, _| biased_gelu(x, bias)),
            outcome::<B>(|x, bias, _| gelu_new(x + bias.unsqueeze())),
        ),
        (outcome::<B>(biased_sum), outcome::<B>(|x, bias, residual| residual + x + bias.unsqueeze())),
    ];
    for (found, expected) in pairs {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            // A few roundings of f32.
            assert_close(found, &values(expected), 1e-6, "joined");
        }
    }
}

#[test]
fn joined_operations_and_their_gradients_are_those_of_one_after_the_other() {
    equals_one_after_the_other::<Flex>();
    equals_one_after_the_other::<NdArray>();
}

/// A product in half is rounded no further than to begin and to end with.
#[test]
fn a_half_product_is_worked_on_in_full() {
    let x = random::<Flex, 2>([3, 8], 1).cast(DType::F16);
    let (bias, residual) = (random::<Flex, 1>([8], 2), random::<Flex, 2>([3, 8], 3));
    let full = x.clone().cast(DType::F32) + bias.clone().unsqueeze();
    let found = biased_gelu(x.clone(), bias.clone());
    assert_eq!(found.dtype(), DType::F16);
    assert_eq!(found.to_data(), gelu_new(full.clone()).cast(DType::F16).to_data());
    let found = biased_sum(x, bias, residual.clone());
    assert_eq!(found.to_data(), (full + residual).to_data());
}
