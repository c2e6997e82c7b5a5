//! What the kernels promise together: the same bits on any number of threads, views, half precision.

#![allow(clippy::unwrap_used)]
use super::super::testing::{assert_close, random, values};
use super::super::{LinearGradients, LinearInputs, LoraInputs, Parameters, Precision};
use super::*;
use burn::tensor::{DType, FloatDType, Int, TensorData};
use burn_autodiff::Autodiff;
use gptneo_kernels::SeededDropout;

fn primitive<const D: usize>(shape: [usize; D], seed: u64) -> FlexTensor {
    random::<Flex, D>(shape, seed).into_primitive().tensor()
}

fn data(tensor: FlexTensor) -> TensorData {
    tensor.into_data()
}

/// Every result of every operation, at a shape of several tasks and chunks.
fn all_results() -> Vec<TensorData> {
    let x = || primitive([600, 100], 1);
    let dy = || primitive([600, 100], 2);
    let weight = || primitive([100], 3);
    let head = || primitive([300, 100], 4);
    let targets = || {
        let ids: Vec<i32> = (0..600).map(|row| row % 300).collect();
        Tensor::<Flex, 1, Int>::from_data(ids.as_slice(), &Default::default()).into_primitive()
    };
    let (dx, parameters) = Flex::layer_norm_rows_backward(x(), weight(), dy(), 1e-5, Parameters::Trained);
    let (sum, of_hidden, of_head) = Flex::cross_entropy_gradients(
        x(),
        TensorPrimitive::Float(head()),
        targets(),
        Precision::F32,
        Parameters::Trained,
    );
    let text = |seed| primitive([2, 300, 96], seed);
    let no_padding = || None;
    let rule = AttentionRule { heads: 3, window: Some(70) };
    let attention = Flex::causal_attention_backward(text(5), text(6), text(7), rule, no_padding(), text(8));
    let layer = || LinearInputs {
        x: x(),
        weight: head(),
        bias: None,
        lora: Some(LoraInputs {
            a: primitive([4, 100], 9),
            b: primitive([300, 4], 10),
            scale: 2.0,
            dropout: Some(Dropout::Seeded(SeededDropout::new(11, 0.1))),
        }),
        precision: Precision::F32,
    };
    let small = || Flex::float_cast(head(), FloatDType::BF16);
    let wanted = LinearGradients { x: true, a: true, b: true, ..Default::default() };
    let linear = Flex::lora_linear_backward(layer(), wanted, primitive([600, 300], 12));
    let mut results = vec![
        Flex::causal_attention(text(5), text(6), text(7), rule, no_padding()),
        Flex::lora_linear(layer()),
        Flex::lora_linear(LinearInputs { weight: small(), precision: Precision::Bf16, ..layer() }),
        Flex::linear_input_gradient(small(), primitive([600, 300], 12), Precision::Bf16),
        Flex::linear_input_gradient(head(), primitive([600, 300], 12), Precision::F32),
        // Long sums, and columns of which one is left over.
        Flex::linear_input_gradient(primitive([1200, 385], 13), primitive([200, 1200], 14), Precision::F32),
        Flex::gelu_new(x()),
        Flex::gelu_new_backward(x(), dy()),
        Flex::layer_norm_rows(x(), weight(), weight(), 1e-5),
        dx,
        Flex::token_nll(x(), TensorPrimitive::Float(head()), targets(), Precision::F32),
        Flex::cross_entropy_sum(x(), TensorPrimitive::Float(head()), targets(), Precision::F32),
        sum,
        of_hidden,
    ];
    results.extend(parameters.unwrap());
    results.extend(attention);
    results.extend([linear.x, linear.a, linear.b].map(Option::unwrap));
    results.extend(of_head);
    results.into_iter().map(data).collect()
}

/// Training promises to go on bit for bit, on any number of threads.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let on =
        |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(all_results);
    let one = on(1);
    assert_eq!(one.len(), 23);
    for threads in [2, 3, 7] {
        for (index, (found, expected)) in on(threads).iter().zip(&one).enumerate() {
            assert!(found == expected, "result {index} on {threads} threads");
        }
    }
}

#[test]
fn views_count_as_what_they_show() {
    let square = random::<Flex, 2>([37, 37], 1);
    let copied = Tensor::<Flex, 2>::from_data(square.clone().transpose().to_data(), &Default::default());
    let view = || square.clone().transpose().into_primitive().tensor();
    let copy = || copied.clone().into_primitive().tensor();
    let weight = || primitive([37], 3);
    assert_eq!(data(Flex::gelu_new(view())), data(Flex::gelu_new(copy())));
    assert_eq!(data(Flex::gelu_new_backward(view(), view())), data(Flex::gelu_new_backward(copy(), copy())));
    assert_eq!(
        data(Flex::layer_norm_rows(view(), weight(), weight(), 1e-5)),
        data(Flex::layer_norm_rows(copy(), weight(), weight(), 1e-5))
    );
    let part = || random::<Flex, 2>([4, 37], 1).narrow(0, 1, 2).into_primitive().tensor();
    let copy = || FlexTensor::from_data(data(part()));
    assert_eq!(data(Flex::gelu_new(part())), data(Flex::gelu_new(copy())));
    let of = |x, dy| data(Flex::layer_norm_rows_backward(x, weight(), dy, 1e-5, Parameters::Frozen).0);
    assert_eq!(of(part(), part()), of(copy(), copy()));
}

/// Gradients are written over what comes in: not where somebody else still holds it.
#[test]
fn a_shared_gradient_is_left_alone() {
    let dy = primitive([3, 5], 2);
    let before = data(dy.clone());
    Flex::gelu_new_backward(primitive([3, 5], 1), dy.clone());
    Flex::layer_norm_rows_backward(
        primitive([3, 5], 1),
        primitive([5], 3),
        dy.clone(),
        1e-5,
        Parameters::Trained,
    );
    assert_eq!(data(dy), before);
}

/// In half precision the plain default answers, in half precision; the loss is f32.
#[test]
fn half_precision_takes_the_default() {
    let step = |dtype: DType| {
        let x = random::<Autodiff<Flex>, 2>([3, 8], 1).cast(dtype).require_grad();
        let [weight, bias] = [2, 3].map(|seed| random::<Autodiff<Flex>, 1>([8], seed).cast(dtype));
        let head = random::<Autodiff<Flex>, 2>([5, 8], 4).cast(dtype);
        let normal = super::super::layer_norm(super::super::gelu_new(x.clone()), weight, bias, 1e-5);
        let targets = Tensor::from_data([0, 4, 2], &Default::default());
        let sum = super::super::cross_entropy_sum(normal, head, targets, Precision::F32);
        let grads = sum.backward();
        (sum.to_data(), x.grad(&grads).unwrap().to_data())
    };
    let (sum, gradient) = step(DType::F16);
    assert_eq!((sum.dtype, gradient.dtype), (DType::F32, DType::F16));
    let (exact_sum, exact_gradient) = step(DType::F32);
    // Eleven bits of mantissa, through a chain of some twenty operations.
    assert_close(&sum, &values(&exact_sum), 1e-2, "sum");
    assert_close(&gradient, &values(&exact_gradient), 3e-2, "gradient");
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_target_outside_the_vocabulary_is_refused() {
    let targets = Tensor::<Flex, 1, Int>::from_data([-1], &Default::default()).into_primitive();
    Flex::token_nll(
        primitive([1, 4], 1),
        TensorPrimitive::Float(primitive([9, 4], 2)),
        targets,
        Precision::F32,
    );
}
