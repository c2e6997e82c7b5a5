//! Causal attention over projections whose heads stand side by side, global or windowed: no scores in memory, masks by
//! index.
//!
//! For each head with queries Q, keys K and values V: `S = Q K^T`, `P = softmax(S)` over the keys that a query sees, that
//! is those up to its own position and of these the last `window`; `O = P V`. A unit takes a query. It goes through the
//! keys by tiles that its cube shares, with the largest score so far, the sum of exponentials less it, and their sum of
//! values, which shrink when a larger score comes (Milakov and Gimelshein 2018; Dao et al. 2022).
//!
//! Backward, from dO: `dV = P^T dO`, `dP = dO V^T`, `D = rowsum(P * dP)`, `dS = P * (dP - D)`, `dQ = dS K`,
//! `dK = dS^T Q`. P is worked out again from each query's log-sum-exp, `L = log(sum(exp(S)))`. A unit takes a query for
//! L, D and dQ, a key for dV, a key for dK. Where a GPU has matrix units, those take heads of half types (`units`).

mod backward;
mod forward;
mod tile;
mod units;

use cubecl::ir::StorageType;
use cubecl::prelude::*;

pub use self::backward::attention_backward;
pub use self::forward::attention;

/// Units of a cube, a query or a key each, or a part of one.
pub(crate) const UNITS: usize = 64;

/// The most units that hold a row together: heads of up to 256 numbers.
const MOST_HOLDERS: usize = 4;

/// Below every score; a smaller one would not be f32.
const LEAST: f32 = -3.0e38;

/// Sizes of an attention. Queries and their gradients are `[batch, queries, heads * size]`, keys and values
/// `[batch, keys, heads * size]`.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Texts.
    pub batch: usize,
    /// Queries of a text: the last of the positions of its keys.
    pub queries: usize,
    /// Keys of a text, as many as queries or more.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a head.
    pub size: usize,
    /// Positions that a query sees, its own included; with `None` all up to its own.
    pub window: Option<usize>,
    /// The float type of all tensors; scores, weights and sums are f32.
    pub number: StorageType,
}

impl AttentionShape {
    /// The window as a kernel has it.
    fn reach(&self) -> usize {
        self.window.map_or(self.keys, |window| window.min(self.keys))
    }

    /// Numbers that are read together: they divide a head.
    fn vector(&self) -> usize {
        [4, 2].into_iter().find(|vector| self.size.is_multiple_of(*vector)).unwrap_or(1)
    }

    /// Units that hold a row together, a power of two: a unit has registers for some rows of 64 numbers.
    fn holders(&self) -> usize {
        const NUMBERS: usize = 64;
        self.size.div_ceil(NUMBERS).next_power_of_two()
    }

    /// Vectors of a head that a unit holds.
    fn parts(&self) -> usize {
        self.size / self.vector() / self.holders()
    }

    /// Whether the kernels take heads of this size: units that hold a row together each have as much of it.
    pub fn is_taken(&self) -> bool {
        self.holders() <= MOST_HOLDERS && self.size.is_multiple_of(self.vector() * self.holders())
    }

    /// Rows of a tile: two tiles of f32, each with what units put down for others, fit into the shared memory of every GPU,
    /// 16 KB.
    fn tile(&self) -> usize {
        match self.holders() {
            1 => (1536 / self.size).clamp(1, 32),
            _ => (2048 / (self.size + UNITS)).max(1),
        }
    }

    /// A cube for as many of `rows` as its units hold, of each head of each text.
    fn cubes(&self, rows: usize) -> CubeCount {
        CubeCount::Static(rows.div_ceil(UNITS / self.holders()) as u32, self.heads as u32, self.batch as u32)
    }
}
