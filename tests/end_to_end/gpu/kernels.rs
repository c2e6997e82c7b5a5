//! The GPU's kernels against the plain operations on a CPU, by the methods of `NeoBackend` that call them.

/// Calls a check with the backend under test.
macro_rules! on_the_gpu {
    ($check:ident) => {
        match gpu().as_str() {
            #[cfg(feature = "cuda")]
            "cuda" => $check::<burn_cuda::Cuda>(),
            #[cfg(feature = "wgpu")]
            "wgpu" => $check::<burn_wgpu::Wgpu>(),
            other => panic!("this build has no backend {other}"),
        }
    };
}

mod decoding;
mod halves;
mod joined;
mod optimizer;
mod products;

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Int, Tensor, TensorData, TensorPrimitive};
use burn_ndarray::NdArray;
use gptneo_lora::model::ops::{
    AttentionRule, CachedText, CachedTexts, Parameters, cached_attention, causal_attention,
};
use gptneo_lora::model::{NeoBackend, Precision};

use super::gpu;

/// Numbers within [-1, 1] that follow from a seed.
fn numbers<const D: usize>(seed: u64, shape: [usize; D]) -> TensorData {
    let number = |index: u64| {
        let mut z = (seed * 7919 + index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    let count: usize = shape.iter().product();
    TensorData::new((0..count as u64).map(number).collect::<Vec<f32>>(), shape)
}

fn tensor<B: Backend, const D: usize>(seed: u64, shape: [usize; D]) -> FloatTensor<B> {
    given::<B, D>(numbers(seed, shape))
}

fn given<B: Backend, const D: usize>(data: TensorData) -> FloatTensor<B> {
    Tensor::<B, D>::from_data(data, &Default::default()).into_primitive().tensor()
}

fn read<B: Backend, const D: usize>(tensor: FloatTensor<B>) -> Vec<f32> {
    let tensor = Tensor::<B, D>::from_primitive(TensorPrimitive::Float(tensor));
    tensor.into_data().iter::<f32>().collect()
}

/// Asserts closeness relative to the largest expected number: sums of f32 in another order.
fn near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let distance = (found - expected).abs();
        assert!(distance <= tolerance * largest, "{what} at {index}: {found} {expected}");
    }
}

/// The tolerance for what goes through products of f32, whose factors CUDA may round to TF32.
fn of_products(tolerance: f32) -> f32 {
    if gpu() == "cuda" { 2e-3 } else { tolerance }
}

/// Texts, queries, keys, heads, numbers of a head, window: heads of odd sizes, of 64 and of more, which several units hold,
/// and one that they cannot share out; one token, a cube's queries and one more, keys before the queries, windows shorter and
/// longer than the text.
const ATTENTIONS: [(usize, usize, usize, usize, usize, Option<usize>); 13] = [
    (2, 5, 5, 3, 4, None),
    (1, 1, 1, 2, 8, None),
    (2, 110, 110, 2, 64, Some(7)),
    (1, 65, 65, 1, 6, Some(256)),
    (2, 7, 110, 3, 5, None),
    (1, 1, 110, 2, 64, Some(30)),
    (1, 130, 193, 2, 16, Some(64)),
    (1, 1, 1, 1, 1, Some(1)),
    (2, 70, 70, 2, 128, Some(20)),
    (1, 33, 110, 2, 80, None),
    (1, 1, 1, 1, 128, None),
    (1, 40, 40, 2, 256, Some(7)),
    (1, 9, 9, 2, 66, None),
];

fn attention<B: NeoBackend>() {
    fn outcome<B: NeoBackend>(index: usize) -> [Vec<f32>; 4] {
        let (batch, queries, keys, heads, size, window) = ATTENTIONS[index];
        let (rule, hidden) = (AttentionRule { heads, window }, heads * size);
        let [query, gradient] = [1, 2].map(|seed| tensor::<B, 3>(seed, [batch, queries, hidden]));
        let [key, value] = [3, 4].map(|seed| tensor::<B, 3>(seed, [batch, keys, hidden]));
        let output = B::causal_attention(query.clone(), key.clone(), value.clone(), rule, None);
        let [of_query, of_key, of_value] =
            B::causal_attention_backward(query, key, value, rule, None, gradient);
        [output, of_query, of_key, of_value].map(read::<B, 3>)
    }
    for (index, shape) in ATTENTIONS.iter().enumerate() {
        let (found, expected) = (outcome::<B>(index), outcome::<NdArray>(index));
        // Heads that units cannot share out are left to products.
        let is_by_products = shape.4 == 66;
        let tolerance = if is_by_products { of_products(2e-5) } else { 2e-5 };
        for ((found, expected), what) in found.iter().zip(&expected).zip(["output", "query", "key", "value"])
        {
            near(found, expected, tolerance, &format!("{what} of {shape:?}"));
        }
    }
}

#[test]
fn attention_and_its_gradients_are_those_of_the_plain_operations() {
    on_the_gpu!(attention);
}

/// Padding is the plain operations' everywhere.
fn padded<B: NeoBackend>() {
    fn outcome<B: NeoBackend>() -> Vec<f32> {
        let [query, key, value] = [1, 2, 3].map(|seed| {
            Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(tensor::<B, 3>(seed, [2, 4, 6])))
        });
        let padding = TensorData::new(vec![false, false, false, true, false, false, true, true], [2, 4]);
        let padding = Tensor::from_data(padding, &Default::default());
        let output =
            causal_attention(query, key, value, AttentionRule { heads: 2, window: None }, Some(padding));
        output.into_data().iter::<f32>().collect()
    }
    near(&outcome::<B>(), &outcome::<NdArray>(), of_products(1e-5), "padded");
}

#[test]
fn padding_is_hidden_as_by_the_plain_operations() {
    on_the_gpu!(padded);
}

/// Texts of one query and of some, in places together and backwards, a window shorter than most, more keys than a cube
/// holds at a time.
fn cached<B: NeoBackend>() {
    const PLACES: usize = 700;
    fn outcome<B: NeoBackend>(window: Option<usize>) -> Vec<f32> {
        let (mut next, mut texts) = (0, Vec::new());
        for (index, (queries, count)) in [(1, 1), (1, 30), (7, 9), (5, 5), (1, 600)].into_iter().enumerate() {
            let mut places: Vec<usize> = (next..next + count).collect();
            next += count;
            if index % 2 == 1 {
                places.reverse();
            }
            texts.push(CachedText { queries, places });
        }
        let rows = texts.iter().map(|text| text.queries).sum();
        let [query, keys, values] = [(1, rows), (2, PLACES), (3, PLACES)].map(|(seed, rows)| {
            Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(tensor::<B, 2>(seed, [rows, 3 * 20])))
        });
        let rule = AttentionRule { heads: 3, window };
        let output = cached_attention(query, keys, values, rule, &CachedTexts::new(texts));
        output.into_data().iter::<f32>().collect()
    }
    for window in [None, Some(4)] {
        near(&outcome::<B>(window), &outcome::<NdArray>(window), 1e-5, &format!("window {window:?}"));
    }
}

#[test]
fn attention_over_a_cache_is_that_of_the_plain_operations() {
    on_the_gpu!(cached);
}

fn layer_norm<B: NeoBackend>() {
    fn outcome<B: NeoBackend>([rows, hidden]: [usize; 2]) -> [Vec<f32>; 2] {
        let [x, dy] = [1, 2].map(|seed| tensor::<B, 2>(seed, [rows, hidden]));
        let [weight, bias] = [3, 4].map(|seed| tensor::<B, 1>(seed, [hidden]));
        let y = B::layer_norm_rows(x.clone(), weight.clone(), bias, 1e-5);
        let (dx, _) = B::layer_norm_rows_backward(x, weight, dy, 1e-5, Parameters::Frozen);
        [y, dx].map(read::<B, 2>)
    }
    for shape in [[1, 1], [3, 37], [300, 768], [2, 2000]] {
        let (found, expected) = (outcome::<B>(shape), outcome::<NdArray>(shape));
        for ((found, expected), what) in found.iter().zip(&expected).zip(["y", "dx"]) {
            // A row of one number has no slope; what is left of it, below 2e-5, is how g was rounded times rstd, 316.
            let tolerance = if shape == [1, 1] { 2e-2 } else { 1e-5 };
            near(found, expected, tolerance, &format!("{what} of {shape:?}"));
        }
    }
}

#[test]
fn layer_norm_and_its_gradient_are_those_of_the_plain_operations() {
    on_the_gpu!(layer_norm);
}

/// An odd vocabulary, more rows than a chunk, one row.
fn cross_entropy<B: NeoBackend>() {
    fn outcome<B: NeoBackend>([rows, hidden, words]: [usize; 3]) -> [Vec<f32>; 2] {
        let targets: Vec<i32> = (0..rows).map(|row| (row * 31 % words) as i32).collect();
        let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(targets, [rows]), &Default::default());
        let (sum, of_hidden, none) = B::cross_entropy_gradients(
            tensor::<B, 2>(1, [rows, hidden]),
            TensorPrimitive::Float(tensor::<B, 2>(2, [words, hidden])),
            targets.into_primitive(),
            Precision::F32,
            Parameters::Frozen,
        );
        assert!(none.is_none());
        [read::<B, 1>(sum), read::<B, 2>(of_hidden)]
    }
    // The last two have logits in one page of memory, which the second does not fill.
    for shape in [[1, 8, 5], [520, 16, 99], [3, 8, 50_257], [160, 8, 50_257], [140, 8, 50_257]] {
        let (found, expected) = (outcome::<B>(shape), outcome::<NdArray>(shape));
        let tolerance = of_products(2e-5);
        for ((found, expected), what) in found.iter().zip(&expected).zip(["sum", "hidden"]) {
            near(found, expected, tolerance, &format!("{what} of {shape:?}"));
        }
    }
}

#[test]
fn the_loss_and_its_gradient_are_those_of_the_plain_operations() {
    on_the_gpu!(cross_entropy);
}

/// Gradients of an attention by central differences in f32: the kernel's own forward pass, whose roundings over twice the
/// step are 1e-4.
fn slopes<B: NeoBackend>() {
    const STEP: f32 = 1e-2;
    let (rule, shape) = (AttentionRule { heads: 2, window: Some(3) }, [1, 5, 6]);
    let inputs = [1, 2, 3].map(|seed| numbers(seed, shape));
    let factors: Vec<f32> = numbers(4, shape).iter::<f32>().collect();
    let loss = |inputs: &[TensorData; 3]| {
        let [query, key, value] = inputs.clone().map(given::<B, 3>);
        let output = read::<B, 3>(B::causal_attention(query, key, value, rule, None));
        output.iter().zip(&factors).map(|(x, factor)| f64::from(x * factor)).sum::<f64>()
    };
    let [query, key, value] = inputs.clone().map(given::<B, 3>);
    let gradients = B::causal_attention_backward(query, key, value, rule, None, tensor::<B, 3>(4, shape));
    for (which, gradient) in gradients.map(read::<B, 3>).into_iter().enumerate() {
        for index in (0..gradient.len()).step_by(7) {
            let moved = |by: f32| {
                let mut inputs = inputs.clone();
                let mut values: Vec<f32> = inputs[which].iter::<f32>().collect();
                values[index] += by;
                inputs[which] = TensorData::new(values, shape);
                loss(&inputs)
            };
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            // The third derivative adds some 1e-4 as well.
            assert!((slope - f64::from(gradient[index])).abs() < 1e-3, "input {which} at {index}: {slope}");
        }
    }
}

#[test]
fn gradients_of_attention_are_its_slopes() {
    on_the_gpu!(slopes);
}
