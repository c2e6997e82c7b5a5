//! Products of matrices: factors as cubek takes them, and room for what they make.

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use gptneo_cubes as cubes;

use super::room;

/// The product of two matrices.
pub(in super::super) fn product<R: CubeRuntime>(factors: [CubeTensor<R>; 2]) -> CubeTensor<R> {
    product_in(of_product(factors))
}

/// The product in a page of its own, with room for `rows` rows.
pub(in super::super) fn product_of_its_own<R: CubeRuntime>(
    factors: [CubeTensor<R>; 2],
    rows: usize,
) -> CubeTensor<R> {
    let factors = factors.map(together);
    let (shape, like) = (shape_of_product(&factors), &factors[0]);
    let result = room_of_its_own(like, shape.clone(), like.dtype, rows * shape[1]);
    product_in((factors, result))
}

fn product_in<R: CubeRuntime>((factors, result): ([CubeTensor<R>; 2], CubeTensor<R>)) -> CubeTensor<R> {
    let (client, of_result) = (result.client.clone(), result.clone().binding());
    cubes::product(&client, factors.map(CubeTensor::binding), of_result, result.dtype.into());
    result
}

/// The product by one of cubek's kernels, or why it does not take it.
pub(in super::super) fn product_by<R: CubeRuntime>(
    way: usize,
    factors: [CubeTensor<R>; 2],
) -> Result<CubeTensor<R>, String> {
    let (factors, result) = of_product(factors);
    let (client, of_result) = (result.client.clone(), result.clone().binding());
    cubes::product_by(way, &client, factors.map(CubeTensor::binding), of_result, result.dtype.into())?;
    Ok(result)
}

/// The factors of a product, each with its rows or its columns together, and room for it.
fn of_product<R: CubeRuntime>(factors: [CubeTensor<R>; 2]) -> ([CubeTensor<R>; 2], CubeTensor<R>) {
    let factors = factors.map(together);
    let result = room(&factors[0], shape_of_product(&factors), factors[0].dtype);
    (factors, result)
}

/// A matrix with its rows or its columns together.
fn together<R: CubeRuntime>(factor: CubeTensor<R>) -> CubeTensor<R> {
    let is_together = factor.meta.strides().contains(&1);
    if is_together { factor } else { into_contiguous(factor) }
}

fn shape_of_product<R: CubeRuntime>([lhs, rhs]: &[CubeTensor<R>; 2]) -> Shape {
    [lhs.shape()[0], rhs.shape()[1]].into()
}

/// Room for a tensor beside `like`, in a page of its own with room for `most` numbers.
///
/// A GPU's memory is taken in pages, which tensors of about the same size share and of which each is a part of all memory:
/// a few large tensors would take a page that is mostly empty. Pages of their own stay for the next tensors of their size,
/// so that there must be few sizes.
fn room_of_its_own<R: CubeRuntime>(
    like: &CubeTensor<R>,
    shape: Shape,
    dtype: DType,
    most: usize,
) -> CubeTensor<R> {
    let [bytes, most] = [shape.num_elements(), most].map(|numbers| numbers * dtype.size());
    let client = like.client.clone();
    let page = client.memory_persistent_allocation((), |()| client.empty(most.max(bytes)));
    match page {
        Ok(page) => {
            let room = page.offset_end(most.saturating_sub(bytes) as u64);
            CubeTensor::new_contiguous(client, like.device.clone(), shape, room, dtype)
        }
        // The server is gone, which the next that asks it hears.
        Err(_) => room(like, shape, dtype),
    }
}
