//! Time of the operations at the shapes of GPT-Neo-125M and a batch of 8 x 256 tokens: `cargo bench -p gptneo-kernels`.
//! Each is timed forward alone and as a training step takes it, forward and backward.

use divan::Bencher;
use divan::counter::ItemsCount;
use gptneo_kernels::{
    Attention, Linear, LinearGradients, LowRank, SeededDropout, TileUnit, Tokens, Weight, attention,
    attention_backward, cross_entropy, cross_entropy_gradients, gelu, gelu_backward, layer_norm,
    layer_norm_backward, layer_norm_input_gradient, linear, linear_backward, linear_input_gradient,
    linear_weight_gradient, multiply_adds,
};
use half::bf16;

/// The program's own allocator: page faults would be a good part of these times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 2048;
const HIDDEN: usize = 768;
const INNER: usize = 3072;
const HEADS: usize = 12;
const VOCABULARY: usize = 50257;
const RANK: usize = 16;
const EPSILON: f32 = 1e-5;
/// Rows of one chunk of the head.
const HEAD_ROWS: usize = 512;

fn main() {
    divan::main();
}

/// Numbers within [-1, 1), in no order that a processor could foresee.
fn random(count: usize) -> Vec<f32> {
    let number = |index: u64| {
        let mut z = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count as u64).map(number).collect()
}

/// A layer `x W^T` alone.
fn plain<'a>(x: &'a [f32], weight: Weight<'a>, [rows, input, output]: [usize; 3]) -> Linear<'a> {
    Linear { x, weight, bias: None, low_rank: None, unit: None, rows, input, output }
}

/// What no product of f32 can pass; the items are operations.
#[divan::bench]
fn peak(bencher: Bencher) {
    bencher.counter(ItemsCount::new(multiply_adds())).bench_local(multiply_adds);
}

#[divan::bench]
fn gelu_forward(bencher: Bencher) {
    let x = random(ROWS * INNER);
    bencher.bench_local(|| gelu(&x));
}

#[divan::bench]
fn gelu_step(bencher: Bencher) {
    let x = random(ROWS * INNER);
    bencher.with_inputs(|| random(ROWS * INNER)).bench_local_values(|mut dy| {
        let y = gelu(&x);
        gelu_backward(&x, &mut dy);
        (y, dy)
    });
}

#[divan::bench]
fn layer_norm_forward(bencher: Bencher) {
    let (x, weight, bias) = (random(ROWS * HIDDEN), random(HIDDEN), random(HIDDEN));
    bencher.bench_local(|| layer_norm(&x, &weight, &bias, EPSILON));
}

/// As under LoRA: no gradients of weight and bias.
#[divan::bench]
fn layer_norm_frozen_step(bencher: Bencher) {
    let (x, weight, bias) = (random(ROWS * HIDDEN), random(HIDDEN), random(HIDDEN));
    bencher.with_inputs(|| random(ROWS * HIDDEN)).bench_local_values(|mut dy| {
        let y = layer_norm(&x, &weight, &bias, EPSILON);
        layer_norm_input_gradient(&x, &weight, &mut dy, EPSILON);
        (y, dy)
    });
}

#[divan::bench]
fn layer_norm_trained_step(bencher: Bencher) {
    let (x, weight, bias) = (random(ROWS * HIDDEN), random(HIDDEN), random(HIDDEN));
    bencher.with_inputs(|| random(ROWS * HIDDEN)).bench_local_values(|mut dy| {
        let y = layer_norm(&x, &weight, &bias, EPSILON);
        let of_parameters = layer_norm_backward(&x, &weight, &mut dy, EPSILON);
        (y, dy, of_parameters)
    });
}

/// Attention: tokens in a text and window, 0 for none.
#[divan::bench(args = [(256, 0), (1024, 0), (1024, 256)])]
fn attention_step(bencher: Bencher, (length, window): (usize, usize)) {
    let values = [(); 4].map(|()| random(ROWS * HIDDEN));
    let [query, key, value, gradient] = values.each_ref().map(|data| Tokens::dense(data, length, HIDDEN));
    let inputs = Attention {
        query,
        key,
        value,
        batch: ROWS / length,
        queries: length,
        keys: length,
        hidden: HIDDEN,
        heads: HEADS,
        window: (window > 0).then_some(window),
        padding: None,
    };
    bencher.bench_local(|| (attention(&inputs), attention_backward(&inputs, gradient)));
}

/// A frozen linear layer with an adapter and dropout.
#[divan::bench]
fn lora_linear_step(bencher: Bencher) {
    let (x, weight, dy) = (random(ROWS * HIDDEN), random(HIDDEN * HIDDEN), random(ROWS * HIDDEN));
    let (a, b) = (random(RANK * HIDDEN), random(HIDDEN * RANK));
    let dropout = Some(SeededDropout::new(1, 0.1));
    let layer = Linear {
        low_rank: Some(LowRank { a: &a, b: &b, rank: RANK, scale: 2.0, dropout }),
        ..plain(&x, Weight::F32(&weight), [ROWS, HIDDEN, HIDDEN])
    };
    let all = LinearGradients { x: true, a: true, b: true };
    bencher.bench_local(|| (linear(&layer), linear_backward(&layer, &dy, all)));
}

/// The two large matrix products of [`lora_linear_step`] alone.
#[divan::bench]
fn lora_linear_products(bencher: Bencher) {
    let (x, weight, dy) = (random(ROWS * HIDDEN), random(HIDDEN * HIDDEN), random(ROWS * HIDDEN));
    let weight = Weight::F32(&weight);
    let layer = plain(&x, weight, [ROWS, HIDDEN, HIDDEN]);
    bencher.bench_local(|| {
        (linear(&layer), linear_input_gradient(weight, layer.unit, &dy, [ROWS, HIDDEN, HIDDEN]))
    });
}

/// The gradient of a weight that is trained, numbers of a row of its input and its output; the items are operations.
#[divan::bench(args = [(HIDDEN, HIDDEN), (HIDDEN, INNER), (INNER, HIDDEN)])]
fn weight_gradient(bencher: Bencher, (input, output): (usize, usize)) {
    let (x, dy) = (random(ROWS * input), random(ROWS * output));
    bencher
        .counter(ItemsCount::new(2 * ROWS * input * output))
        .bench_local(|| linear_weight_gradient(&x, None, &dy, [ROWS, output, input]));
}

/// As [`weight_gradient`], of the numbers rounded to bf16, where the processor multiplies these.
#[divan::bench(args = [(HIDDEN, HIDDEN), (HIDDEN, INNER), (INNER, HIDDEN)])]
fn weight_gradient_in_bf16(bencher: Bencher, (input, output): (usize, usize)) {
    let (x, dy) = (random(ROWS * input), random(ROWS * output));
    let unit = TileUnit::for_bf16();
    bencher
        .counter(ItemsCount::new(2 * ROWS * input * output))
        .bench_local(|| linear_weight_gradient(&x, unit, &dy, [ROWS, output, input]));
}

/// A chunk's hidden states, the head and targets.
fn head() -> (Vec<f32>, Vec<f32>, Vec<usize>) {
    let targets = (0..HEAD_ROWS).map(|row| row * 7919 % VOCABULARY).collect();
    (random(HEAD_ROWS * HIDDEN), random(VOCABULARY * HIDDEN), targets)
}

/// The two matrix products of [`cross_entropy_step`] alone.
#[divan::bench]
fn cross_entropy_products(bencher: Bencher) {
    let (hidden, weight, _) = head();
    let weight = Weight::F32(&weight);
    let layer = plain(&hidden, weight, [HEAD_ROWS, HIDDEN, VOCABULARY]);
    bencher.bench_local(|| {
        let logits = linear(&layer);
        linear_input_gradient(weight, layer.unit, &logits, [HEAD_ROWS, VOCABULARY, HIDDEN])
    });
}

#[divan::bench]
fn cross_entropy_forward(bencher: Bencher) {
    let (hidden, weight, targets) = head();
    let layer = plain(&hidden, Weight::F32(&weight), [HEAD_ROWS, HIDDEN, VOCABULARY]);
    bencher.bench_local(|| cross_entropy(&linear(&layer), &targets));
}

#[divan::bench]
fn cross_entropy_step(bencher: Bencher) {
    let (hidden, weight, targets) = head();
    let weight = Weight::F32(&weight);
    let layer = plain(&hidden, weight, [HEAD_ROWS, HIDDEN, VOCABULARY]);
    bencher.bench_local(|| {
        let mut logits = linear(&layer);
        let losses = cross_entropy_gradients(&mut logits, &targets);
        (losses, linear_input_gradient(weight, layer.unit, &logits, [HEAD_ROWS, VOCABULARY, HIDDEN]))
    });
}

/// Rows of the head's product in decoding.
const DECODED: [usize; 6] = [1, 2, 8, 16, 32, 48];

/// The head in decoding: the products of a few rows, with weights as they are kept.
#[divan::bench(args = DECODED)]
fn few_rows_f32(bencher: Bencher, rows: usize) {
    let weight = random(VOCABULARY * HIDDEN);
    few_rows(bencher, rows, Weight::F32(&weight));
}

#[divan::bench(args = DECODED)]
fn few_rows_bf16(bencher: Bencher, rows: usize) {
    let weight: Vec<bf16> = random(VOCABULARY * HIDDEN).into_iter().map(bf16::from_f32).collect();
    few_rows(bencher, rows, Weight::Bf16(&weight));
}

#[divan::bench(args = DECODED)]
fn few_rows_int8(bencher: Bencher, rows: usize) {
    const BLOCK: usize = 64;
    let values: Vec<i8> =
        random(VOCABULARY * HIDDEN).into_iter().map(|value| (value * 127.0) as i8).collect();
    let scales = random(values.len() / BLOCK);
    few_rows(bencher, rows, Weight::Int8 { values: &values, scales: &scales, block: BLOCK });
}

fn few_rows(bencher: Bencher, rows: usize, weight: Weight<'_>) {
    let x = random(rows * HIDDEN);
    let layer = plain(&x, weight, [rows, HIDDEN, VOCABULARY]);
    bencher.bench_local(|| linear(&layer));
}

/// A product of f32 alone: rows, terms, columns.
#[divan::bench(args = [
    [64, 768, 768],
    [64, 3072, 768],
    // The embedded small model's.
    [512, 224, 224],
    [512, 224, 896],
    [512, 896, 224],
    [256, 768, 768],
    [256, 3072, 768],
    [2048, 768, 768],
    [2048, 768, 3072],
    [2048, 3072, 768],
    [512, 768, 50257],
])]
fn product(bencher: Bencher, [rows, input, output]: [usize; 3]) {
    let (x, weight) = (random(rows * input), random(output * input));
    let layer = plain(&x, Weight::F32(&weight), [rows, input, output]);
    let operations = 2 * rows * input * output;
    bencher.counter(ItemsCount::new(operations)).bench_local(|| linear(&layer));
}

/// A layer of GPT-Neo 1.3B after another, each of which comes from memory: 256 tokens, numbers of a row of its input and its
/// output; the items are operations.
#[divan::bench(args = [[2048, 2048], [2048, 8192], [8192, 2048]])]
fn int8_from_memory(bencher: Bencher, [input, output]: [usize; 2]) {
    let (x, layers) = (random(LONG_TEXT * input), Layers::new(output * input));
    let mut weights = layers.weights();
    bencher
        .counter(layers.operations())
        .bench_local(|| weights.next().map(|weight| linear(&plain(&x, weight, [LONG_TEXT, input, output]))));
}

/// The gradient of the input of [`int8_from_memory`].
#[divan::bench(args = [[2048, 2048], [2048, 8192], [8192, 2048]])]
fn int8_from_memory_input_gradient(bencher: Bencher, [input, output]: [usize; 2]) {
    let (dy, layers) = (random(LONG_TEXT * output), Layers::new(output * input));
    let mut weights = layers.weights();
    bencher.counter(layers.operations()).bench_local(|| {
        weights.next().map(|weight| linear_input_gradient(weight, None, &dy, [LONG_TEXT, output, input]))
    });
}

const LONG_TEXT: usize = 256;

/// More weights in bytes than any cache holds.
struct Layers {
    values: Vec<i8>,
    scales: Vec<f32>,
    /// Numbers of a layer.
    size: usize,
}

impl Layers {
    const BLOCK: usize = 64;

    fn new(size: usize) -> Self {
        let values = (0..1 << 28).map(|index| (index * 31 % 255 - 127) as i8).collect();
        Self { values, scales: random(size / Self::BLOCK), size }
    }

    fn weights(&self) -> impl Iterator<Item = Weight<'_>> {
        let Self { values, scales, size } = self;
        let weight = move |values| Weight::Int8 { values, scales, block: Self::BLOCK };
        values.chunks_exact(*size).cycle().map(weight)
    }

    fn operations(&self) -> ItemsCount {
        ItemsCount::new(2 * LONG_TEXT * self.size)
    }
}
