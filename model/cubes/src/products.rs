//! Matrix products by cubek's kernels. Which of them makes a product follows from its sizes, its numbers and what the GPU
//! has; nothing is tried out at run time.
//!
//! A product of few rows and columns but many terms, such as a weight's gradient, has too few tiles to keep a GPU busy,
//! however many terms each of them sums up. Its terms are divided: each part of them is a product, and a kernel adds those
//! up, in their order.

mod ways;

use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubecl::prelude::*;
use cubecl::zspace::{Shape, Strides};
use cubek_matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek_matmul::launch::{Strategy, launch_ref};
use cubek_std::InputBinding;

use crate::sums::Parts;

/// Rows and columns of the tile that a cube makes, as a rule.
const TILE: usize = 128;

/// Terms from which on they are divided, and how many a part has at least.
const MANY_TERMS: usize = 4096;
const TERMS_OF_A_PART: usize = 512;

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
    let Some(count) = sizes.parts(client) else {
        let is_large = sizes.m.min(sizes.n) >= TILE && lhs.strides[1] == 1;
        make(client, &ways::best(client, number, is_large), [lhs, rhs], result, number, number);
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
    let is_large = false;
    make(client, &ways::best(client, number, is_large), [lhs, rhs], made, number, full);
    parts.sum(client, result, number);
}

/// Of a product: rows, terms, columns.
struct Sizes {
    m: usize,
    k: usize,
    n: usize,
}

impl Sizes {
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
