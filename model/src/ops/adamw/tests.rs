#![allow(clippy::unwrap_used)]
use burn::backend::Autodiff;
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::TensorData;
use burn_flex::Flex;
use burn_ndarray::NdArray;

use super::super::NeoBackend;
use super::super::testing::{noise, random};
use super::*;

const RULE: AdamWRule = AdamWRule {
    factors: GradientFactors { unscale: None, clip: None },
    rate: 1e-2,
    beta_1: 0.9,
    beta_2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    time: 1,
};

fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

fn data<B: Backend>(tensor: FloatTensor<B>) -> TensorData {
    flat::<B>(tensor).into_data()
}

/// Three steps of Burn's own AdamW on a matrix, to the bit.
fn equals_burns<B: NeoBackend>() {
    let config = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01);
    let mut optimizer = config.init::<Autodiff<B>, Linear<Autodiff<B>>>();
    let mut layer: Linear<Autodiff<B>> = LinearConfig::new(5, 7).with_bias(false).init(&Default::default());
    layer.weight = Param::from_data(noise([5, 7], 1), &Default::default());
    let (mut parameter, mut moments) = (primitive(random::<B, 2>([5, 7], 1)), None);
    for time in 1..4 {
        let gradient = random::<B, 2>([5, 7], 10 + time as u64);
        let mut gradients = GradientsParams::new();
        gradients.register::<B, 2>(layer.weight.id, gradient.clone());
        layer = optimizer.step(RULE.rate, layer, gradients);
        let tensors = AdamWTensors { parameter, gradient: primitive(gradient), moments };
        let step = plain::<B>(vec![tensors], AdamWRule { time, ..RULE }).remove(0);
        let (found, expected) = (data::<B>(step.parameter.clone()), layer.weight.val().inner().into_data());
        assert_eq!(found.to_vec::<f32>().unwrap(), expected.to_vec::<f32>().unwrap(), "step {time}");
        (parameter, moments) = (step.parameter, Some(step.moments));
    }
}

#[test]
fn a_step_is_that_of_burns_own_adamw() {
    equals_burns::<Flex>();
    equals_burns::<NdArray>();
}

/// The factors are those of gradients that were multiplied one by one before.
#[test]
fn gradients_are_unscaled_and_clipped_first() {
    let [parameter, gradient] = [1, 2].map(|seed| random::<Flex, 1>([9], seed));
    let step = |gradient: Tensor<Flex, 1>, factors| {
        let parameter = primitive(parameter.clone());
        let tensors = AdamWTensors { parameter, gradient: primitive(gradient), moments: None };
        data::<Flex>(plain::<Flex>(vec![tensors], AdamWRule { factors, ..RULE }).remove(0).moments[1].clone())
    };
    let factors = GradientFactors { unscale: Some(0.125), clip: Some(0.3) };
    let expected = step(gradient.clone() * 0.125 * 0.3, GradientFactors::default());
    assert_eq!(step(gradient, factors), expected);
}

/// What is asked of gradients: their sum of squares over all, and one element that is not finite.
#[test]
fn one_infinite_element_of_all_is_found() {
    let sums = |gradients: [Vec<f32>; 2], unscale| {
        let gradients = gradients.map(|values| {
            let count = values.len();
            primitive(Tensor::<Flex, 1>::from_data(TensorData::new(values, [count]), &Default::default()))
        });
        data::<Flex>(Flex::gradient_sums(gradients.into(), unscale)).to_vec::<f32>().unwrap()
    };
    assert_eq!(sums([vec![3.0], vec![4.0, 12.0]], None), [169.0, 0.0]);
    assert_eq!(sums([vec![3.0], vec![4.0, 12.0]], Some(2.0)), [676.0, 0.0]);
    for bad in [f32::INFINITY, f32::NAN] {
        assert_eq!(sums([vec![3.0], vec![4.0, bad]], Some(0.5))[1], 1.0);
    }
}
