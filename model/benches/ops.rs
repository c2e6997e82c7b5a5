//! Time of the network's own operations on the CPU backend, at the shapes of GPT-Neo-125M and a batch of
//! 8 x 256 tokens: `cargo bench -p gptneo-model`. Each is timed forward alone and as a training step takes it,
//! forward and backward.

use burn::tensor::{Distribution, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use divan::Bencher;
use divan::counter::ItemsCount;
use gptneo_model::ops::{self, AttentionRule, LoraUpdate};
use gptneo_model::{LayerNorm, WeightFormat};
use pulp::{Arch, Simd, WithSimd};

/// The program's own allocator: page faults would be a good part of these times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Diff = Autodiff<Flex>;

const ROWS: usize = 2048;
const HIDDEN: usize = 768;
const INNER: usize = 3072;
const VOCABULARY: usize = 50257;
/// Rows of one chunk of the head.
const HEAD_ROWS: usize = 512;

fn main() {
    divan::main();
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Default::default())
}

fn tracked<const D: usize>(tensor: Tensor<Flex, D>) -> Tensor<Diff, D> {
    Tensor::from_inner(tensor).require_grad()
}

/// What no product of f32 can pass: fused multiply-adds of registers on all threads; the items are operations.
#[divan::bench]
fn peak(bencher: Bencher) {
    const TIMES: usize = 1 << 20;
    let operations = 2 * SUMS * Arch::new().dispatch(Lanes) * TIMES * rayon::current_num_threads();
    bencher
        .counter(ItemsCount::new(operations))
        .bench_local(|| rayon::broadcast(|_| Arch::new().dispatch(MultiplyAdd { times: TIMES })));
}

/// As many sums as keep the units of a processor busy.
const SUMS: usize = 12;

struct MultiplyAdd {
    times: usize,
}

impl WithSimd for MultiplyAdd {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (factor, term) = (simd.splat_f32s(divan::black_box(0.5)), simd.splat_f32s(divan::black_box(1.0)));
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        for _ in 0..self.times {
            #[allow(clippy::needless_range_loop)] // this one is unrolled
            for i in 0..SUMS {
                sums[i] = simd.mul_add_f32s(factor, sums[i], term);
            }
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}

/// The f32 elements of a register.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

#[divan::bench]
fn gelu_forward(bencher: Bencher) {
    let x = random([ROWS, INNER]);
    bencher.bench_local(|| ops::gelu_new(x.clone()));
}

#[divan::bench]
fn gelu_step(bencher: Bencher) {
    let x = tracked(random([ROWS, INNER]));
    bencher.bench_local(|| ops::gelu_new(x.clone()).sum().backward());
}

#[divan::bench]
fn layer_norm_forward(bencher: Bencher) {
    let (norm, x) = (LayerNorm::<Flex>::init(HIDDEN, 1e-5, &Default::default()), random([8, 256, HIDDEN]));
    bencher.bench_local(|| norm.forward(x.clone()));
}

/// With `frozen`, as under LoRA: no gradients of weight and bias.
#[divan::bench(args = [true, false])]
fn layer_norm_step(bencher: Bencher, frozen: bool) {
    use burn::module::Module;
    let norm = LayerNorm::<Diff>::init(HIDDEN, 1e-5, &Default::default());
    let norm = if frozen { norm.no_grad() } else { norm };
    let x = tracked(random([8, ROWS / 8, HIDDEN]));
    bencher.bench_local(|| norm.forward(x.clone()).sum().backward());
}

/// Attention with 12 heads: tokens in a text and window, 0 for none.
#[divan::bench(args = [(256, 0), (1024, 0), (1024, 256)])]
fn attention_step(bencher: Bencher, (length, window): (usize, usize)) {
    let tensor = || tracked(random([ROWS / length, length, HIDDEN]));
    let (query, key, value) = (tensor(), tensor(), tensor());
    let rule = AttentionRule { heads: 12, window: (window > 0).then_some(window) };
    bencher.bench_local(|| {
        ops::causal_attention(query.clone(), key.clone(), value.clone(), rule, None).sum().backward()
    });
}

/// A frozen linear layer with an adapter of rank 16 and dropout.
#[divan::bench]
fn lora_linear_step(bencher: Bencher) {
    let (x, weight) = (tracked(random([ROWS, HIDDEN])), Tensor::from_inner(random([HIDDEN, HIDDEN])));
    let (a, b) = (tracked(random([16, HIDDEN])), tracked(random([HIDDEN, 16])));
    bencher.bench_local(|| {
        let update = LoraUpdate { a: a.clone(), b: b.clone(), scale: 2.0, dropout: 0.1 };
        ops::lora_linear(x.clone(), weight.clone(), None, update).sum().backward()
    });
}

/// The two large matrix products of [`lora_linear_step`] alone.
#[divan::bench]
fn lora_linear_matmuls(bencher: Bencher) {
    let (x, weight) = (random([ROWS, HIDDEN]), random([HIDDEN, HIDDEN]));
    bencher.bench_local(|| x.clone().matmul(weight.clone().transpose()).matmul(weight.clone()));
}

/// A chunk's hidden states, the head and targets.
fn head() -> (Tensor<Flex, 2>, Tensor<Flex, 2>, TensorData) {
    let ids: Vec<i32> = (0..HEAD_ROWS).map(|row| (row * 7919 % VOCABULARY) as i32).collect();
    (random([HEAD_ROWS, HIDDEN]), random([VOCABULARY, HIDDEN]) * 0.02, ids.as_slice().into())
}

/// The two matrix products of [`cross_entropy_step`] alone.
#[divan::bench]
fn cross_entropy_matmuls(bencher: Bencher) {
    let (hidden, weight, _) = head();
    bencher.bench_local(|| hidden.clone().matmul(weight.clone().transpose()).matmul(weight.clone()));
}

#[divan::bench]
fn cross_entropy_token_nll(bencher: Bencher) {
    let (hidden, weight, targets) = head();
    let targets = Tensor::<Flex, 1, Int>::from_data(targets, &Default::default());
    bencher.bench_local(|| ops::token_nll(hidden.clone(), weight.clone(), targets.clone(), false));
}

#[divan::bench]
fn cross_entropy_step(bencher: Bencher) {
    let (hidden, weight, targets) = head();
    let (hidden, weight) = (tracked(hidden), Tensor::from_inner(weight));
    let targets = Tensor::<Diff, 1, Int>::from_data(targets, &Default::default());
    bencher.bench_local(|| {
        ops::cross_entropy_sum(hidden.clone(), weight.clone(), targets.clone(), false).backward()
    });
}

/// The head in decoding: the products of a few rows, with weights as they are kept.
#[divan::bench(args = [1, 2, 8, 16, 32, 48], consts = [0, 1, 2])]
fn few_rows<const FORMAT: usize>(bencher: Bencher, rows: usize) {
    const FORMATS: [WeightFormat; 3] = [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8];
    let weight = FORMATS[FORMAT].of(random([VOCABULARY, HIDDEN]));
    let x = random([rows, HIDDEN]);
    bencher.bench_local(|| ops::linear(x.clone(), weight.clone(), None));
}

/// A product of f32 alone: rows, terms, columns.
#[divan::bench(args = [
    (64, 768, 768),
    (64, 3072, 768),
    (256, 768, 768),
    (256, 3072, 768),
    (2048, 768, 768),
    (2048, 768, 3072),
    (2048, 3072, 768),
    (512, 768, 50257),
])]
fn product(bencher: Bencher, (rows, input, output): (usize, usize, usize)) {
    let (x, weight) = (random([rows, input]), random([output, input]));
    let operations = 2 * rows * input * output;
    bencher.counter(ItemsCount::new(operations)).bench_local(|| ops::linear(x.clone(), weight.clone(), None));
}
