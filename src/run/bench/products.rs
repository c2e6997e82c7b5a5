//! The pace of the processor's matrix products, one by one, beside what its fused multiply-adds reach: where a change of a
//! kernel loses speed, it shows on whatever machine the change is made.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::bf16;
use gptneo_kernels::{Linear, Weight, linear, multiply_adds, register_bits};
use gptneo_model::{GptNeoConfig, WeightFormat};
use serde::Serialize;

use crate::backend::machine::{memory_limit, size};
use crate::backend::on_compute_thread;
use crate::{Error, Remedy, Result};

/// How often a product is measured at least, and for how many seconds if it is a short one.
const ROUNDS: usize = 3;
const SECONDS: f64 = 0.1;
/// Seconds of nothing but multiply-adds before the first: what else a start sets going is done then.
const WARM_UP: f64 = 0.3;
/// Numbers of a weight in bytes that share a scale.
const BLOCK: usize = 64;

/// Products to time.
#[derive(Clone, Debug)]
pub struct BenchProducts {
    /// Whose linear layers they are: hidden width, width of the feed-forward layer, vocabulary.
    pub widths: [usize; 3],
    /// Rows of the first factor, one after the other.
    pub rows: Vec<usize>,
}

impl BenchProducts {
    /// The widths of GPT-Neo-125M.
    pub const WIDTHS_OF_125M: [usize; 3] = [768, 3072, 50257];

    /// The widths of a model.
    pub fn widths_of(config: &GptNeoConfig) -> [usize; 3] {
        [config.hidden_size, config.intermediate_size, config.vocab_size]
    }

    /// Terms and columns of each layer's product.
    fn shapes(&self) -> [[usize; 2]; 4] {
        let [hidden, inner, vocabulary] = self.widths;
        [[hidden, hidden], [hidden, inner], [inner, hidden], [hidden, vocabulary]]
    }

    /// Refuses what does not fit into memory, before any of it is taken.
    fn check_memory(&self) -> Result<()> {
        let rows = self.rows.iter().copied().max().unwrap_or(0) as f64;
        let of_shape = |[terms, columns]: [usize; 2]| {
            let (terms, columns) = (terms as f64, columns as f64);
            let weights = 8.0 * terms * columns; // in all formats together
            weights + 4.0 * rows * (terms + columns)
        };
        let bytes = self.shapes().map(of_shape).into_iter().fold(0.0, f64::max);
        match memory_limit() {
            Some(limit) if bytes > limit as f64 => Err(Error::settings(
                format!(
                    "products of {rows} rows take {}, but this program can have {} of memory",
                    size(bytes),
                    size(limit as f64)
                ),
                Remedy::Lower("rows"),
            )),
            _ => Ok(()),
        }
    }
}

/// What [`time_products`] found.
#[derive(Clone, Debug, Serialize)]
pub struct ProductRates {
    /// Fused multiply-adds in registers on all threads, billions of operations a second, each counted as two: the median of
    /// measurements between the products.
    pub peak: f64,
    /// Bits of the registers that the kernels computed in.
    pub registers: usize,
    /// Threads that computed.
    pub threads: usize,
    /// The products.
    pub products: Vec<TimedProduct>,
}

/// The pace of one product, `[rows, terms]` with a weight `[columns, terms]`.
#[derive(Clone, Debug, Serialize)]
pub struct TimedProduct {
    /// Rows of the first factor.
    pub rows: usize,
    /// Terms of each sum.
    pub terms: usize,
    /// Columns of the result.
    pub columns: usize,
    /// The format that the weight is kept in.
    pub weights: WeightFormat,
    /// Billions of operations a second, by the median time.
    pub rate: f64,
    /// `rate` as a part of the peak.
    pub share_of_peak: f64,
    /// Billions of bytes of the weight that were read a second, which is what binds a product of few rows.
    pub weight_bandwidth: f64,
}

/// Measures all products, in turns with the peak.
///
/// # Errors
/// Memory is short.
pub fn time_products(what: &BenchProducts) -> Result<ProductRates> {
    what.check_memory()?;
    Ok(on_compute_thread(|| measure(what)))
}

fn measure(what: &BenchProducts) -> ProductRates {
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < WARM_UP {
        black_box(multiply_adds());
    }
    let (mut peaks, mut products) = (Vec::new(), Vec::new());
    for [terms, columns] in what.shapes() {
        let numbers = numbers(terms * columns);
        let halves: Vec<bf16> = numbers.iter().map(|value| bf16::from_f32(*value)).collect();
        let bytes: Vec<i8> = numbers.iter().map(|value| (value * 127.0) as i8).collect();
        // A block lies within a row.
        let block = (1 << terms.trailing_zeros()).min(BLOCK);
        let scales = vec![1.0 / 127.0; bytes.len() / block];
        let weights = [
            (WeightFormat::F32, Weight::F32(&numbers)),
            (WeightFormat::Bf16, Weight::Bf16(&halves)),
            (WeightFormat::Int8, Weight::Int8 { values: &bytes, scales: &scales, block }),
        ];
        for &rows in &what.rows {
            let x = self::numbers(rows * terms);
            let seconds = in_turns(&x, weights.map(|(_, weight)| weight), [rows, terms, columns], &mut peaks);
            for ((format, _), seconds) in weights.into_iter().zip(seconds) {
                let bytes_of_one = match format {
                    WeightFormat::Bf16 => 2.0,
                    WeightFormat::Int8 => 1.0 + 4.0 / block as f64,
                    _ => 4.0,
                };
                let count = (terms * columns) as f64;
                products.push(TimedProduct {
                    rows,
                    terms,
                    columns,
                    weights: format,
                    rate: 2.0 * rows as f64 * count / seconds / 1e9,
                    share_of_peak: 0.0,
                    weight_bandwidth: bytes_of_one * count / seconds / 1e9,
                });
            }
        }
    }
    let peak = median(&mut peaks);
    products.iter_mut().for_each(|product| product.share_of_peak = product.rate / peak);
    ProductRates { peak, registers: register_bits(), threads: rayon::current_num_threads(), products }
}

/// The median seconds of the product with each weight, the peak measured between them.
fn in_turns<const N: usize>(
    x: &[f32],
    weights: [Weight<'_>; N],
    [rows, input, output]: [usize; 3],
    peaks: &mut Vec<f64>,
) -> [f64; N] {
    let mut seconds = [const { Vec::new() }; N];
    let began = Instant::now();
    while seconds[0].len() < ROUNDS || began.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        peaks.push(multiply_adds() as f64 / start.elapsed().as_secs_f64() / 1e9);
        for (weight, seconds) in weights.into_iter().zip(&mut seconds) {
            let layer = Linear { x, weight, bias: None, low_rank: None, unit: None, rows, input, output };
            let start = Instant::now();
            black_box(linear(black_box(&layer)));
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.map(|mut seconds| median(&mut seconds))
}

/// Of several numbers, the one in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Numbers within [-1, 1) in no order: the time does not depend on which.
fn numbers(count: usize) -> Vec<f32> {
    // Knuth's linear congruential generator; its high bits are used.
    let mut state = 42u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
