//! The kernels around products: the low-rank part of a linear layer with its dropout, what takes a bias along, and what
//! reads and writes half types.

use burn::tensor::DType;
use burn_flex::Flex;
use gptneo_kernels::SeededDropout;
use gptneo_lora::model::ops::{Dropout, LinearGradients, LinearInputs, LoraInputs};

use super::*;

/// A tensor's numbers, rounded to a type first.
fn rounded<B: Backend, const D: usize>(seed: u64, shape: [usize; D], dtype: DType) -> FloatTensor<B> {
    let tensor = Tensor::<B, D>::from_data(numbers(seed, shape), &Default::default());
    tensor.cast(dtype).into_primitive().tensor()
}

/// The half types that a device computes in.
pub(super) fn halves<B: Backend>() -> impl Iterator<Item = DType> {
    let has = |half: &DType| B::supports_dtype(&Default::default(), *half);
    [DType::F16, DType::BF16].into_iter().filter(has)
}

fn rows_of<B: NeoBackend>(shape: [usize; 2], rule: SeededDropout) -> Vec<f32> {
    read::<B, 2>(B::dropout_factors(rule, &tensor::<B, 2>(1, shape)))
}

/// The same elements to the bit, whatever the seed, in the first row and in those behind the first cubes.
fn masks<B: NeoBackend>() {
    for (seed, probability) in [(0, 0.1), (1, 0.5), (u64::MAX, 0.9), (0x8000_0000_7fff_ffff, 0.3), (42, 0.0)]
    {
        let rule = SeededDropout::new(seed, probability);
        for shape in [[1, 1], [3, 37], [300, 65], [2, 1000]] {
            assert_eq!(rows_of::<B>(shape, rule), rule.factors(shape[0], shape[1]), "{seed} {shape:?}");
        }
    }
    // One generator for all: the same seed draws the same rules here as on the CPU.
    let drawn = |rule| match rule {
        Dropout::Seeded(rule) => rule,
        Dropout::Mask(_) => panic!("a mask was drawn"),
    };
    let device = Default::default();
    B::seed_draws(&device, 7);
    let found = [(); 3].map(|()| drawn(B::draw_dropout(&tensor::<B, 2>(1, [2, 2]), 0.2).unit()));
    Flex::seed_draws(&Default::default(), 7);
    let expected = [(); 3].map(|()| drawn(Flex::draw_dropout(&tensor::<Flex, 2>(1, [2, 2]), 0.2).unit()));
    assert_eq!(found, expected);
}

/// A dropout without its tensors, to compare those of two backends.
trait Unit {
    fn unit(self) -> Dropout<()>;
}

impl<F> Unit for Dropout<F> {
    fn unit(self) -> Dropout<()> {
        match self {
            Self::Mask(_) => Dropout::Mask(()),
            Self::Seeded(rule) => Dropout::Seeded(rule),
        }
    }
}

#[test]
fn a_seed_drops_the_same_elements_as_on_the_processor() {
    on_the_gpu!(masks);
}

/// Rows, input, output, rank: one of each, odd sizes, a cube's rows and one more, ranks of one and two passes and one
/// beyond what the kernels take.
const LAYERS: [[usize; 4]; 6] =
    [[1, 1, 1, 1], [5, 37, 70, 3], [16, 64, 24, 16], [17, 33, 129, 5], [40, 100, 260, 20], [3, 8, 8, 65]];

/// y, and the gradients of x, A and B; x in f32 or in half.
fn layer<B: NeoBackend>(
    [rows, input, output, rank]: [usize; 4],
    dropout: Option<SeededDropout>,
    [number, of_adapter]: [DType; 2],
    of_x: bool,
) -> Vec<Vec<f32>> {
    let inputs = LinearInputs {
        x: rounded::<B, 2>(1, [rows, input], number),
        weight: rounded::<B, 2>(2, [output, input], number),
        bias: None,
        lora: Some(LoraInputs {
            a: rounded::<B, 2>(3, [rank, input], of_adapter),
            b: rounded::<B, 2>(4, [output, rank], of_adapter),
            scale: 1.7,
            dropout: dropout.map(Dropout::Seeded),
        }),
        precision: Precision::F32,
    };
    let gradient = rounded::<B, 2>(5, [rows, output], number);
    let wanted = LinearGradients { x: of_x, a: true, b: true, ..Default::default() };
    let y = B::lora_linear(inputs.clone());
    let found = B::lora_linear_backward(inputs.clone(), wanted, gradient.clone());
    assert_eq!((found.x.is_some(), found.weight.is_some()), (of_x, false));
    let so_far = rounded::<B, 2>(6, [rows, input], number);
    let onto = of_x.then(|| B::lora_linear_backward_onto(inputs, wanted, gradient, so_far));
    let onto = onto.and_then(|onto| onto.x);
    [Some(y), found.x, found.a, found.b, onto].into_iter().flatten().map(read::<B, 2>).collect()
}

fn low_rank<B: NeoBackend>() {
    let full = [DType::F32; 2];
    let tolerance = of_products(2e-5);
    for sizes in LAYERS {
        for dropout in [None, Some(SeededDropout::new(11, 0.3))] {
            // A first layer's input has no gradient.
            let of_x = sizes[0] != 5;
            let found = layer::<B>(sizes, dropout, full, of_x);
            let expected = layer::<NdArray>(sizes, dropout, full, of_x);
            assert_eq!(found.len(), expected.len());
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                near(found, expected, tolerance, &format!("part {part} of {sizes:?}, {dropout:?}"));
            }
        }
    }
}

#[test]
fn an_adapter_and_its_gradients_are_those_of_the_plain_operations() {
    on_the_gpu!(low_rank);
}

/// An adapter in f32 around a product in half: what f32 gives for the same rounded inputs, rounded.
fn low_rank_in_half<B: NeoBackend>() {
    for half in halves::<B>() {
        let tolerance = if half == DType::F16 { 4e-3 } else { 3e-2 };
        for sizes in [LAYERS[1], LAYERS[3], LAYERS[5]] {
            let dropout = Some(SeededDropout::new(12, 0.3));
            let found = layer::<B>(sizes, dropout, [half, DType::F32], true);
            let expected = layer::<Flex>(sizes, dropout, [half; 2], true);
            for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
                near(found, expected, tolerance, &format!("part {part} of {sizes:?} in {half:?}"));
            }
        }
    }
}

#[test]
fn an_adapter_around_a_half_product_is_that_of_the_plain_operations() {
    on_the_gpu!(low_rank_in_half);
}

/// An update of some rows leaves the others as they are.
fn some_rows<B: NeoBackend>() {
    fn outcome<B: NeoBackend>() -> Vec<f32> {
        let lora = LoraInputs {
            a: tensor::<B, 2>(3, [4, 6]),
            b: tensor::<B, 2>(4, [7, 4]),
            scale: 0.5,
            dropout: None,
        };
        let (y, x) = (tensor::<B, 2>(1, [30, 7]), tensor::<B, 2>(2, [30, 6]));
        read::<B, 2>(B::add_low_rank(y, x, 3..22, lora))
    }
    near(&outcome::<B>(), &outcome::<NdArray>(), 1e-5, "some rows");
}

#[test]
fn an_update_of_some_rows_is_that_of_the_plain_operations() {
    on_the_gpu!(some_rows);
}

/// GELU with its gradient, and the sum; rows of odd and even lengths, numbers far from zero.
fn biased<B: NeoBackend>() {
    fn outcome<B: NeoBackend>([rows, columns]: [usize; 2], number: DType) -> [Vec<f32>; 3] {
        let large = |seed| {
            let x = Tensor::<B, 2>::from_data(numbers(seed, [rows, columns]), &Default::default());
            (x * 12.0).cast(number).into_primitive().tensor()
        };
        let bias = || tensor::<B, 1>(2, [columns]);
        let dy = rounded::<B, 2>(3, [rows, columns], number);
        let residual = tensor::<B, 2>(4, [rows, columns]);
        [
            read::<B, 2>(B::biased_gelu(large(1), bias())),
            read::<B, 2>(B::biased_gelu_backward(large(1), bias(), dy)),
            read::<B, 2>(B::biased_sum(large(1), bias(), residual)),
        ]
    }
    for shape in [[1, 1], [3, 37], [7, 66], [260, 64]] {
        for number in halves::<B>().chain([DType::F32]) {
            let (found, expected) = (outcome::<B>(shape, number), outcome::<Flex>(shape, number));
            let tolerance = match number {
                DType::F32 => 1e-5,
                // One rounding to the type, which may fall the other way.
                DType::F16 => 1e-3,
                _ => 8e-3,
            };
            for ((found, expected), what) in found.iter().zip(&expected).zip(["gelu", "slope", "sum"]) {
                near(found, expected, tolerance, &format!("{what} of {shape:?} in {number:?}"));
            }
        }
    }
}

#[test]
fn what_takes_a_bias_along_is_what_the_plain_operations_do_one_by_one() {
    on_the_gpu!(biased);
}

/// GELU far out, where the exponential of its formula would overflow.
fn saturated<B: NeoBackend>() {
    let x = TensorData::new(vec![-1e30f32, -300.0, 300.0, 1e30], [1, 4]);
    let bias = || given::<B, 1>(TensorData::new(vec![0.0f32; 4], [4]));
    let ones = given::<B, 2>(TensorData::new(vec![1.0f32; 4], [1, 4]));
    let slope = read::<B, 2>(B::biased_gelu_backward(given::<B, 2>(x.clone()), bias(), ones));
    near(&slope, &[0.0, 0.0, 1.0, 1.0], 1e-6, "slope");
    let y = read::<B, 2>(B::biased_gelu(given::<B, 2>(x), bias()));
    near(&y[1..3], &[0.0, 300.0], 1e-6, "value");
    assert!(y[0].abs() < 1e-3 && y[3] == 1e30, "{y:?}");
}

#[test]
fn gelu_far_out_is_zero_and_the_identity() {
    on_the_gpu!(saturated);
}

/// Attention and layer norm between products in half: what f32 gives for the same rounded inputs, rounded once.
fn in_half<B: NeoBackend>() {
    let outcome = |half: DType| -> [Vec<f32>; 6] {
        let (rule, shape) = (AttentionRule { heads: 3, window: Some(30) }, [2, 70, 3 * 12]);
        let [query, key, value, gradient] = [1, 2, 3, 4].map(|seed| rounded::<B, 3>(seed, shape, half));
        let output = B::causal_attention(query.clone(), key.clone(), value.clone(), rule, None);
        let [dq, dk, dv] = B::causal_attention_backward(query, key, value, rule, None, gradient);
        let shape = [9, 37];
        let [weight, bias] = [5, 6].map(|seed| tensor::<B, 1>(seed, [37]));
        let x = || tensor::<B, 2>(7, shape);
        let y = B::layer_norm_rows_in(x(), weight.clone(), bias, 1e-5, half);
        let dy = rounded::<B, 2>(8, shape, half);
        let dx = B::layer_norm_rows_backward_onto(x(), weight, dy, 1e-5, tensor::<B, 2>(9, shape));
        let [output, dq, dk, dv] = [output, dq, dk, dv].map(read::<B, 3>);
        [output, dq, dk, dv, read::<B, 2>(y), read::<B, 2>(dx)]
    };
    // The rounded inputs in f32, through the kernels that the tests of f32 hold against the plain operations.
    let exact = |half: DType| -> [Vec<f32>; 6] {
        let full = |seed, shape: [usize; 3]| {
            let rounded =
                Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(rounded::<B, 3>(seed, shape, half)));
            rounded.cast(DType::F32).into_primitive().tensor()
        };
        let (rule, shape) = (AttentionRule { heads: 3, window: Some(30) }, [2, 70, 3 * 12]);
        let [query, key, value, gradient] = [1, 2, 3, 4].map(|seed| full(seed, shape));
        let output = B::causal_attention(query.clone(), key.clone(), value.clone(), rule, None);
        let [dq, dk, dv] = B::causal_attention_backward(query, key, value, rule, None, gradient);
        let [weight, bias] = [5, 6].map(|seed| tensor::<B, 1>(seed, [37]));
        let x = || tensor::<B, 2>(7, [9, 37]);
        let y = B::layer_norm_rows(x(), weight.clone(), bias, 1e-5);
        let dy = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(rounded::<B, 2>(8, [9, 37], half)));
        let dy = dy.cast(DType::F32).into_primitive().tensor();
        let (dx, _) = B::layer_norm_rows_backward(x(), weight, dy, 1e-5, Parameters::Frozen);
        let dx = B::float_add(dx, tensor::<B, 2>(9, [9, 37]));
        let [output, dq, dk, dv] = [output, dq, dk, dv].map(read::<B, 3>);
        [output, dq, dk, dv, read::<B, 2>(y), read::<B, 2>(dx)]
    };
    for half in halves::<B>() {
        let tolerance = if half == DType::F16 { 6e-4 } else { 5e-3 };
        for (part, (found, expected)) in outcome(half).iter().zip(&exact(half)).enumerate() {
            near(found, expected, tolerance, &format!("part {part} in {half:?}"));
        }
    }
}

#[test]
fn half_types_are_read_and_written_and_all_between_is_full() {
    on_the_gpu!(in_half);
}
