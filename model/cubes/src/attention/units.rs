//! The same on matrix units, for heads of half types: 16 x 16 tiles of factors in a half type, sums in f32.
//!
//! A cube takes [`ROWS`] queries, or keys, of a head, each of its planes 16 of them, whose tiles stay in the plane's
//! registers. It goes through the others by [`TILE`], which it brings into shared memory. A plane's units meet over scores
//! there, since which number of a tile is whose is the GPU's own affair; two units share a row of them.
//!
//! The sums of a plane's rows stay in its registers as well, where no unit could shrink them when a larger score comes. So
//! a first pass over the keys finds each query's log-sum-exp, and a second adds up with weights that are final. Weights and
//! their gradients are rounded to the half type before they are factors, as under PyTorch's autocast.

mod backward;
mod forward;
mod tile;

use cubecl::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubecl::prelude::*;

pub(super) use self::backward::{of_keys, of_queries};
pub(super) use self::forward::forward;
use super::AttentionShape;

/// Rows and columns of a tile.
const EDGE: usize = 16;

/// Planes of a cube, and the units of each.
const PLANES: usize = 4;
const PLANE: usize = 32;
const UNITS: usize = PLANES * PLANE;

/// Rows that a cube holds, and rows that it brings at a time.
const ROWS: usize = PLANES * EDGE;
const TILE: usize = 32;

/// Numbers that are read together.
const VECTOR: usize = 8;

/// The largest heads: the tiles of two rows and two sums fit into a unit's registers.
const LARGEST_HEAD: usize = 64;

/// Whether the GPU's matrix units take an attention.
pub(super) fn take<R: Runtime>(client: &ComputeClient<R>, shape: &AttentionShape) -> bool {
    let full = StorageType::Scalar(ElemType::Float(FloatKind::F32));
    let (half, edge) = (shape.number, EDGE as u32);
    let tiles = MmaConfig { a_type: half, b_type: half, cd_type: full, m: edge, n: edge, k: edge };
    let properties = client.properties();
    let planes = (properties.hardware.plane_size_min, properties.hardware.plane_size_max);
    shape.number.size() == 2
        && shape.size.is_multiple_of(EDGE)
        && shape.size <= LARGEST_HEAD
        && planes == (PLANE as u32, PLANE as u32)
        && properties.features.matmul.cmma.contains(&tiles)
}

/// A cube for each [`ROWS`] of `rows`, of each head of each text.
fn cubes(shape: &AttentionShape, rows: usize) -> CubeCount {
    CubeCount::Static(rows.div_ceil(ROWS) as u32, shape.heads as u32, shape.batch as u32)
}
