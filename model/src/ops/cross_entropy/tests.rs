#![allow(clippy::unwrap_used)]
use super::super::testing::{assert_close, differences, noise, random, values};
use super::*;
use burn::tensor::TensorData;
use burn::tensor::activation::log_softmax;
use burn_flex::Flex;
use burn_ndarray::NdArray;

type Diff = Autodiff<Flex>;

/// Rows, hidden size and vocabulary.
type Sizes = [usize; 3];

fn targets<B: Backend>([rows, _, vocabulary]: Sizes) -> Tensor<B, 1, Int> {
    let ids: Vec<i32> = (0..rows).map(|row| (row * 7 % vocabulary) as i32).collect();
    Tensor::from_data(ids.as_slice(), &Default::default())
}

/// The sum and the gradients of half of it with respect to hidden states and weight; the factor must reach both.
fn outcome<B: Backend>(
    sizes: Sizes,
    sum: impl Fn([Tensor<Autodiff<B>, 2>; 2], Tensor<Autodiff<B>, 1, Int>) -> Tensor<Autodiff<B>, 1>,
) -> [TensorData; 3] {
    let [rows, size, vocabulary] = sizes;
    let hidden = random::<Autodiff<B>, 2>([rows, size], 1).require_grad();
    let weight = random::<Autodiff<B>, 2>([vocabulary, size], 2).require_grad();
    let sum = sum([hidden.clone(), weight.clone()], targets(sizes));
    let grads = (sum.clone() * 0.5).backward();
    let [hidden, weight] = [hidden, weight].map(|tensor| tensor.grad(&grads).unwrap().to_data());
    [sum.to_data(), hidden, weight]
}

fn ours<B: NeoBackend>(sizes: Sizes) -> [TensorData; 3] {
    outcome::<B>(sizes, |[hidden, weight], targets| {
        cross_entropy_sum(hidden, weight, targets, Precision::F32)
    })
}

/// Also across a chunk's edge.
#[test]
fn equals_what_autodiff_finds_in_log_softmax() {
    for sizes in
        [[1, 6, 1], [1, 1, 37], [CHUNK + 3, 6, 11], [1000, 5, 37], [3, 2, 2500], [5, 2, LONG_ROW + 37]]
    {
        // Not on NdArray: its decomposed gradients are only good to about 1e-4 here.
        let expected = outcome::<Flex>(sizes, |[hidden, weight], targets| {
            let [rows, _] = hidden.dims();
            let logits = hidden.matmul(weight.transpose());
            log_softmax(logits, 1).gather(1, targets.reshape([rows, 1])).sum().neg()
        });
        for found in [ours::<Flex>(sizes), ours::<NdArray>(sizes)] {
            for (found, (expected, what)) in
                found.iter().zip(expected.iter().zip(["sum", "hidden", "weight"]))
            {
                // Sums of up to 1000 rows in f32.
                assert_close(found, &values(expected), 1e-5, &format!("{what} at {sizes:?}"));
            }
        }
    }
}

#[test]
fn gradients_equal_differences() {
    let sizes = [3, 4, 37];
    let [hidden, weight] = [noise([3, 4], 1), noise([37, 4], 2)].map(|data| values(&data));
    let targets = values(&targets::<Flex>(sizes).to_data());
    let half = |hidden: &[f64], weight: &[f64]| {
        let nll = |hidden: &[f64], target: f64| {
            let logits: Vec<f64> =
                weight.chunks(4).map(|row| row.iter().zip(hidden).map(|(w, h)| w * h).sum()).collect();
            logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[target as usize]
        };
        0.5 * hidden.chunks(4).zip(&targets).map(|(hidden, &target)| nll(hidden, target)).sum::<f64>()
    };
    let expected = [
        vec![2.0 * half(&hidden, &weight)],
        differences(&hidden, |hidden| half(hidden, &weight)),
        differences(&weight, |weight| half(&hidden, weight)),
    ];
    for found in [ours::<Flex>(sizes), ours::<NdArray>(sizes)] {
        for (found, (expected, what)) in found.iter().zip(expected.iter().zip(["sum", "hidden", "weight"])) {
            assert_close(found, expected, 1e-6, what);
        }
    }
}

#[test]
fn a_frozen_head_gets_no_gradient() {
    let sizes = [5, 3, 9];
    let hidden = random::<Autodiff<Flex>, 2>([5, 3], 1).require_grad();
    let weight = random::<Autodiff<Flex>, 2>([9, 3], 2);
    let grads =
        (cross_entropy_sum(hidden.clone(), weight.clone(), targets(sizes), Precision::F32) * 0.5).backward();
    assert!(weight.grad(&grads).is_none());
    assert_eq!(hidden.grad(&grads).unwrap().to_data(), ours::<Flex>(sizes)[1]);
}

/// A vocabulary of GPT-2's size with logits as far apart as GPT-Neo's, against f64.
fn large_vocabulary<B: NeoBackend>() {
    let vocabulary = 50_257;
    // One hidden unit of 20: the logits are 20 times the weights.
    let weight = random::<B, 2>([vocabulary, 1], 3);
    let hidden = Tensor::<B, 2>::full([2, 1], 20.0, &Default::default());
    let ids = Tensor::<B, 1, Int>::from_data([0, 50_256], &Default::default());
    let logits: Vec<f64> = values(&weight.to_data()).iter().map(|w| f64::from((20.0 * w) as f32)).collect();
    let total = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
    let expected = [0, 50_256].map(|id: usize| total - logits[id]);
    let rows = token_nll(hidden.clone(), weight.clone(), ids.clone(), Precision::F32);
    assert_eq!(rows.dims(), [2]);
    assert_close(&rows.to_data(), &expected, 1e-6, "rows");
    let sum = cross_entropy_sum(hidden, weight, ids, Precision::F32);
    assert_eq!(sum.dims(), [1]);
    assert_close(&sum.to_data(), &[expected[0] + expected[1]], 1e-6, "sum");
}

#[test]
fn losses_are_exact_over_a_large_vocabulary() {
    large_vocabulary::<Flex>();
    large_vocabulary::<NdArray>();
}

/// Logits of 1e4 and -1e4: no overflow, and the wrong answer costs their distance.
#[test]
fn far_logits_stay_finite() {
    let hidden =
        Tensor::<Autodiff<Flex>, 2>::from_data([[1e4f32], [1e4]], &Default::default()).require_grad();
    let weight = Tensor::from_data([[1f32], [-1.0]], &Default::default());
    let sum = cross_entropy_sum(
        hidden.clone(),
        weight,
        Tensor::from_data([0, 1], &Default::default()),
        Precision::F32,
    );
    assert_close(&sum.to_data(), &[2e4], 0.0, "sum");
    assert_close(&hidden.grad(&sum.backward()).unwrap().to_data(), &[0.0, 2.0], 0.0, "gradient");
}

/// 50,000 words of probability 4e-8 each, less than f16 can tell from 6e-8: together they make the gradient.
#[test]
fn unlikely_words_are_not_rounded_away_in_f16() {
    let device = Default::default();
    let mut weight = vec![-17f32; 50_001];
    weight[0] = 0.0;
    let rare = 50_000.0 * (-17f64).exp();
    let expected = -17.0 * rare / (1.0 + rare);
    let weight = Tensor::<Autodiff<Flex>, 2>::from_data(TensorData::new(weight, [50_001, 1]), &device)
        .cast(DType::F16);
    let hidden = Tensor::<Autodiff<Flex>, 2>::from_data([[1f32]], &device).cast(DType::F16).require_grad();
    let sum = cross_entropy_sum(hidden.clone(), weight, Tensor::from_data([0], &device), Precision::F32);
    let gradient = hidden.grad(&sum.backward()).unwrap().to_data();
    assert_eq!(gradient.dtype, DType::F16);
    // Eleven bits of significand, and a sum in blocks; without the lift half of the gradient is wrong.
    assert_close(&gradient, &[expected], 2e-2 * expected.abs(), "gradient");
}

/// Hidden states in half give the products of halves, with a head that is rounded as they are.
#[test]
fn half_products_equal_those_of_the_rounded_factors() {
    let sizes = [CHUNK + 3, 6, 37];
    let multiplied_in = |product: DType, rounded_to: DType| {
        outcome::<Flex>(sizes, |factors, targets| {
            let [hidden, weight] = factors.map(|factor| factor.cast(rounded_to).cast(product));
            cross_entropy_sum(hidden, weight, targets, Precision::F32)
        })
    };
    // Units of rounding of a value of the type. Logits of some 5 are rounded, and so are the gradients of theirs;
    // a weight's is the sum over all rows.
    for (dtype, unit) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        let (half, full) = (multiplied_in(dtype, dtype), multiplied_in(DType::F32, dtype));
        for (index, what) in ["sum", "hidden", "weight"].into_iter().enumerate() {
            assert_eq!(half[index].dtype, DType::F32, "{what}");
            let what = format!("{what} in {dtype:?}");
            assert_close(&half[index], &values(&full[index]), 12.0 * unit, &what);
        }
        assert_ne!(half[0], full[0], "{dtype:?} is not computed in half");
    }
}

/// Hidden states in f32 and a head in bf16 give the products of the rounded factors, with gradients in f32.
#[test]
fn hidden_states_can_be_rounded_on_the_way_in() {
    let sizes = [CHUNK + 3, 6, 37];
    let found = outcome::<Flex>(sizes, |[hidden, weight], targets| {
        let [hidden, weight] = [hidden, weight.cast(DType::BF16)].map(|x| x.into_primitive().tensor());
        let weight = TensorPrimitive::Float(weight);
        let sum = Diff::cross_entropy_sum(hidden, weight, targets.into_primitive(), Precision::Bf16);
        Tensor::from_primitive(TensorPrimitive::Float(sum))
    });
    let expected = outcome::<Flex>(sizes, |factors, targets| {
        let [hidden, weight] = factors.map(|factor| factor.cast(DType::BF16).cast(DType::F32));
        cross_entropy_sum(hidden, weight, targets, Precision::F32)
    });
    for (index, what) in ["sum", "hidden", "weight"].into_iter().enumerate() {
        // As above.
        assert_close(&found[index], &values(&expected[index]), 12.0 * 2f64.powi(-8), what);
    }
    assert_ne!(found[1], expected[1], "the gradient of the logits is not rounded");
    let [hidden, weight] = [random::<Flex, 2>([sizes[0], 6], 1), random::<Flex, 2>([37, 6], 2)];
    let [hidden, weight] = [hidden, weight.cast(DType::BF16)].map(|x| x.into_primitive().tensor());
    let (weight, targets) = (TensorPrimitive::Float(weight), targets::<Flex>(sizes).into_primitive());
    let rows = Flex::token_nll(hidden, weight, targets, Precision::Bf16);
    let rows = Tensor::<Flex, 1>::from_primitive(TensorPrimitive::Float(rows));
    assert_close(&rows.sum().to_data(), &values(&found[0]), 1e-5, "rows");
}
