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
    unscale: None,
    max_norm: 0.0,
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

/// Those of finite gradients of this norm.
fn sums<B: Backend>(norm: f32) -> FloatTensor<B> {
    primitive(Tensor::<B, 1>::from_floats([norm * norm, 0.0], &Default::default()))
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
        let step = plain::<B>(vec![tensors], sums::<B>(1.0), AdamWRule { time, ..RULE }).remove(0);
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

/// The step is that of gradients that were multiplied one by one before.
#[test]
fn gradients_are_unscaled_and_clipped_first() {
    let [parameter, gradient] = [1, 2].map(|seed| random::<Flex, 1>([9], seed));
    let step = |gradient: Tensor<Flex, 1>, unscale, max_norm| {
        let tensors = AdamWTensors {
            parameter: primitive(parameter.clone()),
            gradient: primitive(gradient),
            moments: None,
        };
        let rule = AdamWRule { unscale, max_norm, ..RULE };
        data::<Flex>(plain::<Flex>(vec![tensors], sums::<Flex>(4.0), rule).remove(0).moments[1].clone())
    };
    // 1.2 / (4 + 1e-6)
    let clip = 1.2 / 4.000_001;
    let clipped = step(gradient.clone() * 0.125 * clip, None, 0.0);
    assert_eq!(step(gradient.clone(), Some(0.125), 1.2), clipped);
    let whole = step(gradient.clone() * 0.125, None, 0.0);
    for max_norm in [0.0, 4.5] {
        assert_eq!(step(gradient.clone(), Some(0.125), max_norm), whole);
    }
}

#[test]
fn a_step_of_gradients_that_are_not_finite_leaves_everything_as_it_is() {
    let [parameter, gradient, first, second] = [1, 2, 3, 4].map(|seed| random::<Flex, 1>([9], seed));
    for sums in [[1.0, 1.0], [f32::INFINITY, 0.0], [f32::NAN, 0.0]] {
        let sums = Tensor::<Flex, 1>::from_floats(sums, &Default::default());
        let step = |moments| {
            let [parameter, gradient] = [&parameter, &gradient].map(|tensor| primitive(tensor.clone()));
            let tensors = AdamWTensors { parameter, gradient, moments };
            let AdamWStep { parameter, moments: [first, second] } =
                plain::<Flex>(vec![tensors], primitive(sums.clone()), RULE).remove(0);
            [parameter, first, second].map(data::<Flex>)
        };
        let moments = [&first, &second].map(|moment| moment.clone().into_data());
        let [same, of_first, of_second] = step(Some([&first, &second].map(|m| primitive(m.clone()))));
        assert_eq!((same, [of_first, of_second]), (parameter.clone().into_data(), moments));
        let [same, of_first, of_second] = step(None);
        let zeros = Tensor::<Flex, 1>::zeros([9], &Default::default()).into_data();
        assert_eq!((same, of_first, of_second), (parameter.clone().into_data(), zeros.clone(), zeros));
    }
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
