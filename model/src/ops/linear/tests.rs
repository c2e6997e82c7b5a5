#![allow(clippy::unwrap_used)]
use burn::tensor::TensorData;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use gptneo_kernels::SeededDropout;

use super::super::testing::{assert_near, assert_slope, numbers};
use super::*;

/// Rows, input, output and rank; the rows are several blocks of Flex's kernel.
const SIZES: [usize; 4] = [300, 7, 5, 3];
const SCALE: f64 = 1.7;
const PROBABILITY: f64 = 0.3;
const SEED: u64 = 11;
const NAMES: [&str; 5] = ["x", "weight", "bias", "a", "b"];

#[derive(Clone, Copy, Debug)]
struct Case {
    bias: bool,
    lora: bool,
    drops: Drops,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Drops {
    Nothing,
    BySeed,
    ByMask,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for bias in [false, true] {
            cases.push(Self { bias, lora: false, drops: Drops::Nothing });
            for drops in [Drops::Nothing, Drops::BySeed, Drops::ByMask] {
                cases.push(Self { bias, lora: true, drops });
            }
        }
        cases
    }

    /// Which of x, weight, bias, A and B there are.
    fn has(self) -> [bool; 5] {
        [true, true, self.bias, self.lora, self.lora]
    }
}

fn shapes() -> [[usize; 2]; 5] {
    let [rows, input, output, rank] = SIZES;
    [[rows, input], [output, input], [1, output], [rank, input], [output, rank]]
}

/// x, weight, bias, A, B and the factors of the output in the loss.
fn inputs() -> Vec<Vec<f32>> {
    let shapes = shapes().into_iter().chain([[SIZES[0], SIZES[2]]]);
    shapes.enumerate().map(|(seed, [rows, columns])| numbers(seed as u64 + 9, rows * columns)).collect()
}

/// The dropout's factors.
fn mask() -> Vec<f32> {
    SeededDropout::new(SEED, PROBABILITY).factors(SIZES[0], SIZES[1])
}

/// The output by the formula, in f64.
fn output(case: Case, inputs: &[Vec<f64>]) -> Vec<f64> {
    let [rows, input, output, rank] = SIZES;
    let mask = if case.drops == Drops::Nothing { vec![1.0; rows * input] } else { mask() };
    let mut out = Vec::new();
    for row in 0..rows {
        let x = |i: usize| inputs[0][row * input + i];
        let dropped = |i: usize| x(i) * f64::from(mask[row * input + i]);
        for o in 0..output {
            let mut y: f64 = (0..input).map(|i| x(i) * inputs[1][o * input + i]).sum();
            if case.bias {
                y += inputs[2][o];
            }
            if case.lora {
                for r in 0..rank {
                    let reduced: f64 = (0..input).map(|i| dropped(i) * inputs[3][r * input + i]).sum();
                    y += SCALE * reduced * inputs[4][o * rank + r];
                }
            }
            out.push(y);
        }
    }
    out
}

fn loss(case: Case, inputs: &[Vec<f64>]) -> f64 {
    output(case, inputs).iter().zip(&inputs[5]).map(|(out, factor)| out * factor).sum()
}

type Operation<B> = fn(LinearInputs<FloatTensor<B>>) -> FloatTensor<B>;

/// The output and the gradients of x, weight, bias, A and B that are `tracked`, by a function on primitives.
fn run<B: Backend>(
    case: Case,
    tracked: [bool; 5],
    operation: Operation<Autodiff<B>>,
) -> (Vec<f32>, [Option<Vec<f32>>; 5]) {
    let device = Default::default();
    let values = inputs();
    let tensor = |values: &[f32], shape: [usize; 2]| {
        Tensor::<Autodiff<B>, 2>::from_data(TensorData::new(values.to_vec(), shape), &device)
    };
    let tensors = [0, 1, 2, 3, 4].map(|i| {
        let tensor = tensor(&values[i], shapes()[i]);
        if tracked[i] { tensor.require_grad() } else { tensor }
    });
    let [x, weight, bias, a, b] = tensors.clone();
    let dropout = match case.drops {
        Drops::Nothing => None,
        Drops::BySeed => Some(Dropout::Seeded(SeededDropout::new(SEED, PROBABILITY))),
        Drops::ByMask => Some(Dropout::Mask(unwrap(tensor(&mask(), shapes()[0])))),
    };
    let (a, b) = (unwrap(a), unwrap(b));
    let out: Tensor<Autodiff<B>, 2> = wrap(operation(LinearInputs {
        x: unwrap(x),
        weight: unwrap(weight),
        bias: case.bias.then(|| unwrap(bias.squeeze_dim::<1>(0))),
        lora: case.lora.then_some(LoraInputs { a, b, scale: SCALE, dropout }),
        precision: Precision::F32,
    }));
    let gradients = (out.clone() * tensor(&values[5], [SIZES[0], SIZES[2]])).sum().backward();
    let gradients = tensors
        .map(|tensor| tensor.grad(&gradients).map(|gradient| gradient.into_data().to_vec::<f32>().unwrap()));
    (out.into_data().to_vec().unwrap(), gradients)
}

/// Flex's kernels and the plain defaults equal the formula in f64, its slopes, and plain autodiff.
#[test]
fn output_and_gradients_equal_the_formula_and_plain_autodiff() {
    let values = inputs();
    let wide: Vec<Vec<f64>> =
        values.iter().map(|input| input.iter().map(|x| f64::from(*x)).collect()).collect();
    for case in Case::all() {
        let tracked = case.has();
        let expected: Vec<f32> = output(case, &wide).iter().map(|x| *x as f32).collect();
        let (_, plain) = run::<NdArray>(case, tracked, plain::<Autodiff<NdArray>>);
        let flex = run::<Flex>(case, tracked, <Autodiff<Flex> as NeoBackend>::lora_linear);
        let ndarray = run::<NdArray>(case, tracked, <Autodiff<NdArray> as NeoBackend>::lora_linear);
        for (backend, (out, gradients)) in [("flex", flex), ("ndarray", ndarray)] {
            assert_near(&out, &expected, 1e-5, &format!("{case:?} {backend}"));
            for (part, gradient) in gradients.iter().enumerate().filter(|(part, _)| tracked[*part]) {
                let what = format!("{case:?} {backend}: {}", NAMES[part]);
                let gradient = gradient.as_ref().unwrap();
                assert_near(gradient, plain[part].as_ref().unwrap(), 2e-5, &what);
                assert_slope(|inputs| loss(case, inputs), &values, part, gradient, 6, &what);
            }
        }
    }
}

/// A frozen tensor gets no gradient, and the others the same as without it.
#[test]
fn frozen_tensors_get_no_gradient() {
    let case = Case { bias: true, lora: true, drops: Drops::BySeed };
    let (_, all) = run::<Flex>(case, [true; 5], <Autodiff<Flex> as NeoBackend>::lora_linear);
    for tracked in [
        [false, false, false, true, true],
        [true, false, false, false, true],
        [true, false, false, true, false],
    ] {
        let flex = run::<Flex>(case, tracked, <Autodiff<Flex> as NeoBackend>::lora_linear).1;
        let ndarray = run::<NdArray>(case, tracked, <Autodiff<NdArray> as NeoBackend>::lora_linear).1;
        for part in 0..5 {
            assert_eq!(flex[part], all[part].clone().filter(|_| tracked[part]), "{}", NAMES[part]);
            assert_eq!(ndarray[part].is_some(), tracked[part], "{}", NAMES[part]);
        }
    }
}

/// A layer with nothing to train keeps no input, and the gradient of its input is the same.
#[test]
fn a_frozen_layer_passes_the_same_gradient_on() {
    for bias in [false, true] {
        let case = Case { bias, lora: false, drops: Drops::Nothing };
        let alone = [true, false, false, false, false];
        let trained = run::<Flex>(case, case.has(), <Autodiff<Flex> as NeoBackend>::lora_linear);
        let frozen = run::<Flex>(case, alone, <Autodiff<Flex> as NeoBackend>::lora_linear);
        assert_eq!(frozen.0, trained.0);
        assert_eq!(frozen.1, [trained.1[0].clone(), None, None, None, None]);
        let trained = run::<NdArray>(case, case.has(), <Autodiff<NdArray> as NeoBackend>::lora_linear);
        let frozen = run::<NdArray>(case, alone, <Autodiff<NdArray> as NeoBackend>::lora_linear);
        assert_eq!(frozen.1, [trained.1[0].clone(), None, None, None, None]);
    }
}

/// A layer in half gives what the exact one does but for the rounding: of factors between -1 and 1, whose products are
/// added up to a dozen times, and, without a unit for bf16, of the sums.
#[test]
fn a_layer_in_half_is_near_the_exact_one() {
    let rounded: Operation<Autodiff<Flex>> = |inputs| {
        let weight = unwrap(wrap::<Autodiff<Flex>, 2>(inputs.weight).cast(DType::BF16));
        <Autodiff<Flex> as NeoBackend>::lora_linear(LinearInputs {
            weight,
            precision: Precision::Bf16,
            ..inputs
        })
    };
    for case in Case::all() {
        for tracked in [case.has(), [true, false, false, case.lora, case.lora]] {
            let exact = run::<Flex>(case, tracked, <Autodiff<Flex> as NeoBackend>::lora_linear);
            let found = run::<Flex>(case, tracked, rounded);
            assert_near(&found.0, &exact.0, 1e-2, &format!("{case:?}"));
            assert_ne!(found.0, exact.0);
            if Flex::rounds_factors(Precision::Bf16) && tracked[1] {
                assert_ne!(found.1[1], exact.1[1], "{case:?}: the gradient of the weight");
            }
            for (part, (found, exact)) in found.1.iter().zip(&exact.1).enumerate() {
                let what = format!("{case:?} {tracked:?}: {}", NAMES[part]);
                match (found, exact) {
                    (Some(found), Some(exact)) => assert_near(found, exact, 1e-2, &what),
                    _ => assert_eq!(found, exact, "{what}"),
                }
            }
            assert_ne!(found.1[0], exact.1[0], "the gradient of the output is not rounded");
        }
    }
}

/// x of ones through an identity update shows the dropout's factors.
fn factors_of<B: NeoBackend>() -> Vec<f32> {
    let device = Default::default();
    let x = Tensor::<B, 2>::ones([400, 16], &device);
    let update =
        LoraUpdate { a: Tensor::eye(16, &device), b: Tensor::eye(16, &device), scale: 1.0, dropout: 0.25 };
    let layer = LinearWeights { update: Some(update), ..Tensor::zeros([16, 16], &device).into() };
    linear(x, layer, Precision::F32).into_data().to_vec().unwrap()
}

/// A quarter of the elements are dropped, within four standard deviations; only while gradients are recorded;
/// and each call drops others.
#[test]
fn dropout_is_inverted_and_only_for_training() {
    for factors in [factors_of::<Autodiff<Flex>>, factors_of::<Autodiff<NdArray>>] {
        let found = factors();
        let dropped = found.iter().filter(|factor| **factor == 0.0).count() as f64;
        assert!((dropped - 1600.0).abs() < 4.0 * (6400.0f64 * 0.25 * 0.75).sqrt(), "{dropped}");
        assert!(found.iter().all(|factor| *factor == 0.0 || (factor - 4.0 / 3.0).abs() < 1e-6));
        assert_ne!(found, factors());
    }
    assert!(factors_of::<Flex>().iter().chain(&factors_of::<NdArray>()).all(|factor| *factor == 1.0));
}

/// A quantised weight stands for the numbers that it dequantises to, in few rows and in many, with bias and update.
fn quantised<B: NeoBackend>(backend: &str) {
    use burn::tensor::quantization::{QuantLevel, QuantScheme, QuantStore, QuantValue};
    let device = Default::default();
    let scheme = QuantScheme::default()
        .with_value(QuantValue::Q8S)
        .with_level(QuantLevel::block([4]))
        .with_store(QuantStore::Native);
    let tensor = |seed, shape: [usize; 2]| {
        Tensor::<B, 2>::from_data(TensorData::new(numbers(seed, shape[0] * shape[1]), shape), &device)
    };
    let (weight, bias) =
        (tensor(1, [9, 12]).quantize_dynamic(&scheme), tensor(2, [1, 9]).squeeze_dim::<1>(0));
    let update = || LoraUpdate { a: tensor(3, [2, 12]), b: tensor(4, [9, 2]), scale: 0.5, dropout: 0.0 };
    for rows in [1, 3, 40] {
        let x = tensor(5, [rows, 12]);
        let layer = |weight| LinearWeights { weight, bias: Some(bias.clone()), update: Some(update()) };
        let found = linear(x.clone(), layer(weight.clone()), Precision::F32);
        let plain = linear(x, layer(weight.clone().dequantize()), Precision::F32);
        let [found, plain] = [found, plain].map(|tensor| tensor.into_data().to_vec::<f32>().unwrap());
        assert_near(&found, &plain, 1e-5, &format!("{backend}, {rows} rows"));
    }
}

#[test]
fn a_quantised_weight_is_what_it_dequantises_to() {
    quantised::<Flex>("flex");
    quantised::<NdArray>("ndarray");
}

/// A product of such types: x, weight and bias.
fn mixed<B: NeoBackend>([x, weight, bias]: [DType; 3]) {
    let device = Default::default();
    let matrix = |dtype| Tensor::<B, 2>::ones([3, 4], &device).cast(dtype);
    let bias = Some(Tensor::<B, 1>::ones([3], &device).cast(bias));
    linear(matrix(x), LinearWeights { bias, ..matrix(weight).into() }, Precision::F32);
}

#[test]
fn a_weight_may_be_kept_smaller_than_an_input_of_f32() {
    for weight in [DType::F32, DType::F16, DType::BF16] {
        mixed::<Flex>([DType::F32, weight, DType::F32]);
    }
    mixed::<Flex>([DType::F16; 3]);
}

#[test]
#[should_panic(expected = "an input of F16 and a weight of F32")]
fn a_weight_of_f32_is_not_rounded_silently() {
    mixed::<Flex>([DType::F16, DType::F32, DType::F16]);
}

#[test]
#[should_panic(expected = "an input of F16 and a weight of BF16")]
fn two_half_types_are_not_multiplied() {
    mixed::<Flex>([DType::F16, DType::BF16, DType::F16]);
}

#[test]
#[should_panic(expected = "an input of F16 and a bias of F32")]
fn a_bias_of_another_type_is_refused() {
    mixed::<Flex>([DType::F16, DType::F16, DType::F32]);
}

#[test]
#[should_panic(expected = "an input of F32 and a B of F16")]
fn an_adapter_of_another_type_is_refused() {
    let matrix = |shape, dtype| Tensor::<Flex, 2>::ones(shape, &Default::default()).cast(dtype);
    let (a, b) = (matrix([2, 4], DType::F32), matrix([3, 2], DType::F16));
    let update = LoraUpdate { a, b, scale: 1.0, dropout: 0.0 };
    let layer = LinearWeights { update: Some(update), ..matrix([3, 4], DType::F32).into() };
    linear(matrix([5, 4], DType::F32), layer, Precision::F32);
}

/// Rows with an update of their own, all of them and some, are those of a layer that has it.
#[test]
fn some_rows_get_an_update_and_the_others_none() {
    fn added<B: NeoBackend>(rows: Range<usize>) -> Vec<f32> {
        let all = inputs();
        let of = |index: usize| {
            let data = TensorData::new(all[index].clone(), shapes()[index]);
            Tensor::<B, 2>::from_data(data, &Default::default())
        };
        let y = linear(of(0), of(1), Precision::F32);
        let update = LoraUpdate { a: of(3), b: of(4), scale: SCALE, dropout: 0.0 };
        add_low_rank(y, of(0), rows, update).into_data().to_vec().unwrap()
    }
    fn of_layer(with_update: bool) -> Vec<f32> {
        let all = inputs();
        let of = |index: usize| {
            let data = TensorData::new(all[index].clone(), shapes()[index]);
            Tensor::<Flex, 2>::from_data(data, &Default::default())
        };
        let update = LoraUpdate { a: of(3), b: of(4), scale: SCALE, dropout: 0.0 };
        let layer = LinearWeights { weight: of(1), bias: None, update: with_update.then_some(update) };
        linear(of(0), layer, Precision::F32).into_data().to_vec().unwrap()
    }
    let (with, without) = (of_layer(true), of_layer(false));
    let output = SIZES[2];
    for rows in [0..SIZES[0], 0..1, 130..290] {
        let mut expected = without.clone();
        let part = rows.start * output..rows.end * output;
        expected[part.clone()].copy_from_slice(&with[part]);
        assert_eq!(added::<Flex>(rows.clone()), expected, "{rows:?}");
        for (found, expected) in added::<NdArray>(rows).iter().zip(&expected) {
            // Sums of ten f32 products.
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
