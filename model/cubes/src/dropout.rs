//! Inverted dropout that stores nothing: the fate of each element follows from a seed, its row and its column, by the very
//! hash of the CPU (`gptneo_kernels::SeededDropout`), so that a seed drops the same elements everywhere.
//!
//! The row's key is SplitMix64 (Steele et al. 2014) of seed and row, in halves of 32 bits, which every GPU has; the column
//! is mixed in by MurmurHash3's finaliser (Appleby 2011).

use cubecl::ir::StorageType;
use cubecl::prelude::*;

use crate::reduce::{UNITS, cube_per_row};

/// Which elements are dropped.
#[derive(Clone, Copy, Debug)]
pub struct DropoutRule {
    /// Picks one of the possible patterns.
    pub seed: u64,
    /// An element is dropped where its hash is below.
    pub threshold: u32,
    /// What the others are multiplied with.
    pub factor: f32,
}

impl DropoutRule {
    /// Nothing is dropped.
    pub(crate) const NOTHING: Self = Self { seed: 0, threshold: 0, factor: 1.0 };

    /// The same for a kernel.
    pub(crate) fn launch<R: Runtime>(self) -> RuleLaunch<R> {
        RuleLaunch::new(self.seed as u32, (self.seed >> 32) as u32, self.threshold, self.factor)
    }
}

/// The rule as a kernel has it.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Rule {
    seed_low: u32,
    seed_high: u32,
    threshold: u32,
    factor: f32,
}

/// The low 64 bits of a product of two numbers of 64 bits, as halves.
#[cube]
fn product(low: u32, high: u32, by_low: u32, by_high: u32) -> (u32, u32) {
    (low * by_low, u32::mul_hi(low, by_low) + low * by_high + high * by_low)
}

/// `z ^ (z >> bits)` of halves, for fewer than 32 bits.
#[cube]
fn folded(low: u32, high: u32, #[comptime] bits: u32) -> (u32, u32) {
    let across = high << comptime!(32 - bits);
    (low ^ ((low >> bits) | across), high ^ (high >> bits))
}

/// What a row's columns are hashed with.
#[cube]
pub(crate) fn row_key(rule: &Rule, row: u32) -> (u32, u32) {
    let (step, step_high) = product(row + 1, 0u32, 0x7F4A_7C15u32, 0x9E37_79B9u32);
    let sum = rule.seed_low + step;
    let carry = select(sum < step, 1u32, 0u32);
    let (low, high) = folded(sum, rule.seed_high + step_high + carry, 30u32);
    let (low, high) = product(low, high, 0x1CE4_E5B9u32, 0xBF58_476Du32);
    let (low, high) = folded(low, high, 27u32);
    let (low, high) = product(low, high, 0x1331_11EBu32, 0x94D0_49BBu32);
    folded(low, high, 31u32)
}

/// The factor of an element: 0 where it is dropped.
#[cube]
pub(crate) fn factor(rule: &Rule, first: u32, second: u32, column: u32) -> f32 {
    let hash = column ^ first;
    let hash = ((hash ^ (hash >> 16)) * 0x85EB_CA6Bu32) ^ second;
    let hash = (hash ^ (hash >> 13)) * 0xC2B2_AE35u32;
    let hash = hash ^ (hash >> 16);
    select(hash < rule.threshold, f32::new(0.0), rule.factor)
}

#[cube(launch)]
fn factors<F: Float>(
    result: &mut Array<F>,
    rule: &Rule,
    columns: usize,
    #[comptime] units: u32,
    #[define(F)] _dtype: StorageType,
) {
    let start = CUBE_POS * columns;
    if start >= result.len() {
        terminate!();
    }
    let (first, second) = row_key(rule, CUBE_POS as u32);
    let mut column = UNIT_POS as usize;
    while column < columns {
        result[start + column] = F::cast_from(factor(rule, first, second, column as u32));
        column += units as usize;
    }
}

/// Writes the factor of each element to `result` `[rows, columns]`, of any float type: 0 where it is dropped.
pub fn dropout_factors<R: Runtime>(
    client: &ComputeClient<R>,
    rule: DropoutRule,
    result: TensorBinding<R>,
    number: StorageType,
) {
    let (rows, columns) = (result.shape[0], result.shape[1]);
    let result = result.into_tensor_arg().into_array_arg();
    let dim = CubeDim::new_1d(UNITS);
    factors::launch::<R>(client, cube_per_row(rows), dim, result, rule.launch(), columns, UNITS, number);
}
