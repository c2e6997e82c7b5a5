//! Matrix products in f32, each way for another size: some dozen rows against a weight that is read once
//! ([`few_rows`]), many rows against panels of a weight ([`large`]), and matrices that are in the cache already
//! ([`small`]). Besides, how weights are stored, and how a result is shared out among tasks.

mod ahead;
mod blocks;
#[cfg(target_arch = "x86_64")]
mod bytes;
mod few_rows;
mod large;
mod matrix;
mod packed_row;
mod panels;
mod small;
#[cfg(target_arch = "x86_64")]
mod squares;
mod tile;
mod weight;

pub(crate) use self::blocks::{Block, blocks};
pub use self::few_rows::FEW;
pub(crate) use self::few_rows::few_rows_product;
pub(crate) use self::large::large_product;
pub(crate) use self::matrix::Matrix;
pub(crate) use self::small::{add_small_product, small_product};
pub(crate) use self::weight::Factor;
pub use self::weight::Weight;
