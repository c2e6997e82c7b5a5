//! The low-rank part of a linear layer, joined with what its weight gave (Hu et al. 2021, equation 3).
//!
//! Forward, with x `[rows, in]`, A `[r, in]`, B `[out, r]` and the dropout's factors m: `h = (m * x) A^T`,
//! `y += scale * h B^T`. A cube takes some rows: their h stands in its shared memory, and each row of y is read and written
//! once. Backward, from dy: `g = scale * dy B`, `dx += m * (g A)`, by rows again; `dA = g^T (m * x)` and
//! `dB = scale * dy^T h`, by columns, whose cubes each go through all rows.
//!
//! x, y and their gradients are of one float type; A, B, their gradients, h, g and all sums are f32.

mod backward;
mod forward;
mod tile;

use cubecl::ir::StorageType;
use cubecl::prelude::*;

pub use self::backward::{LowRankGradients, low_rank_backward};
pub use self::forward::add_low_rank;
use crate::dropout::DropoutRule;
use crate::reduce::cube_per_row;

/// The highest rank that the kernels are for: a cube's h and g fit into the shared memory of every GPU, 16 KB.
pub const LARGEST_RANK: usize = 64;

/// Rows of a cube.
pub(crate) const ROWS: usize = 16;

/// Ranks that are worked out together; a cube has a unit for each of its rows and each of these.
pub(crate) const RANKS: usize = 16;

/// Units of a cube.
pub(crate) const UNITS: usize = ROWS * RANKS;

/// Sizes of a low-rank update and what it is multiplied with.
#[derive(Clone, Copy, Debug)]
pub struct LowRankShape {
    /// The first row that is updated, and the one behind the last.
    pub rows: (usize, usize),
    /// Numbers of a row of x.
    pub input: usize,
    /// Numbers of a row of y.
    pub output: usize,
    /// The rank, at most [`LARGEST_RANK`].
    pub rank: usize,
    /// The factor of the update.
    pub scale: f32,
    /// Which elements of x are dropped, if any are.
    pub dropout: Option<DropoutRule>,
    /// The float type of x, y and their gradients.
    pub number: StorageType,
}

impl LowRankShape {
    /// Cubes that take the rows.
    fn cubes(&self) -> CubeCount {
        cube_per_row((self.rows.1 - self.rows.0).div_ceil(ROWS))
    }

    /// Ranks that there is room for: one kernel serves several.
    fn slots(&self) -> usize {
        self.rank.next_multiple_of(RANKS)
    }

    /// The rule of the dropout, and whether there is any.
    fn rule(&self) -> (DropoutRule, bool) {
        (self.dropout.unwrap_or(DropoutRule::NOTHING), self.dropout.is_some())
    }
}

/// A factor of the update.
type Matrix<R> = TensorBinding<R>;

/// All of a tensor as an array.
fn array<R: Runtime>(tensor: &Matrix<R>) -> ArrayArg<R> {
    tensor.clone().into_tensor_arg().into_array_arg()
}
