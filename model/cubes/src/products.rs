//! Matrix products by cubek's kernels. Which of them makes a product follows from its sizes, its numbers and what the GPU
//! has; nothing is tried out at run time.
//!
//! A product of few rows and columns but many terms, such as a weight's gradient, has too few tiles to keep a GPU busy,
//! however many terms each of them sums up. Its terms are divided: each part of them is a product, and a kernel adds those
//! up, in their order.

mod ways;

use std::ops::Range;

use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubecl::prelude::*;
use cubecl::zspace::{Shape, Strides};
use cubek_matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek_matmul::launch::{Strategy, launch_ref};
use cubek_std::InputBinding;

use crate::sums::Parts;

/// Rows and columns of the tile that a cube makes, as a rule.
const TILE: usize = 128;

/// Parts up to which a product is not divided where a fast kernel takes it whole, or its left factor would be copied. Of
/// 2048 x 50304 x 768 in f16, which would have two, the fast one makes all in 1.2 ms and the simplest in 3.1 ms (an H200,
/// docs/benchmarks.md).
const MOST_LEFT_IDLE: usize = 3;

/// Terms from which on they are divided, and how many a part has at least.
const MANY_TERMS: usize = 4096;
const TERMS_OF_A_PART: usize = 512;

/// How many times as many rows as columns make a product narrow, and rows that are worth a launch.
const NARROW: usize = 4;
const MANY_ROWS: usize = 2048;

/// Multiprocessors of a GPU that does not tell.
const MULTIPROCESSORS: u32 = 32;

/// Writes the product of `[m, k]` and `[k, n]` to `result` `[m, n]`, all of the float type `number`. The rows of each
/// factor, or its columns, are together in memory, and so are the rows of the result.
///
/// # Panics
///
/// Where no kernel of cubek takes it.
pub fn product<R: Runtime>(
    client: &ComputeClient<R>,
    [lhs, rhs]: [TensorBinding<R>; 2],
    result: TensorBinding<R>,
    number: StorageType,
) {
    let sizes = Sizes { m: lhs.shape[0], k: lhs.shape[1], n: rhs.shape[1] };
    let by_rows = lhs.strides[1] == 1;
    let best = ways::best(client, number, &sizes, by_rows);
    // What a fast kernel leaves idle is not worth dividing for, unless it is most of the GPU; nor is a copy of the left
    // factor, which cubek makes of rows whose terms are divided: of a head's gradient, those are all logits.
    let few = if ways::is_fast(&best[0]) || by_rows { MOST_LEFT_IDLE } else { 1 };
    let Some(count) = sizes.parts(client).filter(|count| *count > few) else {
        let rows = if number.size() == 2 { sizes.rows_at_a_time() } else { sizes.m };
        for first in (0..sizes.m).step_by(rows.max(1)) {
            let rows = first..(first + rows).min(sizes.m);
            let factors = [of_rows(&lhs, rows.clone(), number), rhs.clone()];
            make(client, &best, factors, of_rows(&result, rows, number), number, number);
        }
        return;
    };
    let full = StorageType::Scalar(ElemType::Float(FloatKind::F32));
    let (parts, terms) = (Parts::new(client, count, sizes.m * sizes.n), sizes.k / count);
    let (of_lhs, of_rhs) = (terms * lhs.strides[1], terms * rhs.strides[0]);
    let lhs = batched(&lhs, [count, sizes.m, terms], of_lhs);
    let rhs = batched(&rhs, [count, terms, sizes.n], of_rhs);
    let made = TensorBinding {
        handle: parts.numbers.clone().binding(),
        shape: Shape::from([count, sizes.m, sizes.n]),
        strides: Strides::from([sizes.m * sizes.n, sizes.n, 1].as_slice()),
        runtime: Default::default(),
    };
    make(client, &ways::any(), [lhs, rhs], made, number, full);
    parts.sum(client, result, number);
}

/// Of a product: rows, terms, columns.
struct Sizes {
    m: usize,
    k: usize,
    n: usize,
}

impl Sizes {
    /// How many rows are made at a time in a half type. With four times as many rows as columns cubek takes narrow tiles and
    /// more units for a cube: 4096 x 768 x 768 in f16 takes 748 us then, and half of its rows 34 (an H200,
    /// docs/benchmarks.md). Where that would leave few rows for a launch, all are made together.
    fn rows_at_a_time(&self) -> usize {
        let most = (NARROW * self.n).saturating_sub(1) / TILE * TILE;
        if self.m < NARROW * self.n || most < MANY_ROWS {
            return self.m;
        }
        self.m.div_ceil(self.m.div_ceil(most)).next_multiple_of(TILE)
    }

    /// Into how many parts its terms are divided, if they are: as many as give each multiprocessor two tiles.
    fn parts<R: Runtime>(&self, client: &ComputeClient<R>) -> Option<usize> {
        let tiles = self.m.div_ceil(TILE) * self.n.div_ceil(TILE);
        let hardware = &client.properties().hardware;
        let wanted =
            2 * hardware.num_streaming_multiprocessors.unwrap_or(MULTIPROCESSORS) as usize / tiles.max(1);
        let most = wanted.min(self.k / TERMS_OF_A_PART);
        // Parts begin where numbers are read eight at a time.
        let even = |count: &usize| self.k.is_multiple_of(*count) && (self.k / count).is_multiple_of(8);
        (self.k >= MANY_TERMS).then(|| (2..=most).rev().find(even)).flatten()
    }
}

/// Some rows of a matrix.
fn of_rows<R: Runtime>(
    matrix: &TensorBinding<R>,
    rows: Range<usize>,
    number: StorageType,
) -> TensorBinding<R> {
    let mut handle = matrix.handle.clone();
    let before = rows.start * matrix.strides[0] * number.size();
    handle.offset_start = Some(handle.offset_start.unwrap_or(0) + before as u64);
    TensorBinding {
        handle,
        shape: Shape::from([rows.len(), matrix.shape[1]]),
        strides: matrix.strides.clone(),
        runtime: Default::default(),
    }
}

/// A matrix whose terms are divided, as a batch of matrices `shape` that begin `distance` apart.
fn batched<R: Runtime>(matrix: &TensorBinding<R>, shape: [usize; 3], distance: usize) -> TensorBinding<R> {
    TensorBinding {
        handle: matrix.handle.clone(),
        shape: Shape::from(shape),
        strides: Strides::from([distance, matrix.strides[0], matrix.strides[1]].as_slice()),
        runtime: Default::default(),
    }
}

/// The names of cubek's kernels, in the order of their numbers.
pub fn product_ways() -> Vec<String> {
    ways::all().iter().map(ToString::to_string).collect()
}

/// As [`product`], by one of cubek's kernels alone: what a sweep compares.
///
/// # Errors
/// It does not take this product on this GPU; why, in its words.
pub fn product_by<R: Runtime>(
    way: usize,
    client: &ComputeClient<R>,
    factors: [TensorBinding<R>; 2],
    result: TensorBinding<R>,
    number: StorageType,
) -> Result<(), String> {
    let refused = |error| format!("{error:?}");
    launch(&ways::all()[way], client, factors, result, number, number).map_err(refused)
}

/// Makes a product by the first of these that takes it.
fn make<R: Runtime>(
    client: &ComputeClient<R>,
    ways: &[Strategy],
    factors: [TensorBinding<R>; 2],
    result: TensorBinding<R>,
    number: StorageType,
    of_result: StorageType,
) {
    let mut refused = Vec::new();
    for way in ways {
        match launch(way, client, factors.clone(), result.clone(), number, of_result) {
            Ok(()) => return,
            Err(error @ MatmulSetupError::Launch(_)) => panic!("{way} could not be launched: {error:?}"),
            Err(error) => refused.push(format!("{way}: {error:?}")),
        }
    }
    panic!("no kernel takes a product of {:?} and {:?}: {}", factors[0], factors[1], refused.join("; "));
}

fn launch<R: Runtime>(
    way: &Strategy,
    client: &ComputeClient<R>,
    factors: [TensorBinding<R>; 2],
    result: TensorBinding<R>,
    number: StorageType,
    of_result: StorageType,
) -> Result<(), MatmulSetupError> {
    let mut numbers =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: number, rhs: number, out: of_result });
    let [lhs, rhs] = factors.map(|factor| InputBinding::new(factor, number));
    launch_ref(way, client, lhs, rhs, result, &mut numbers)
}
