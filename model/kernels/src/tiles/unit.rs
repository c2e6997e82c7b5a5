//! Tiles, and what multiplies them.

/// Rows of a tile, and numbers of a register.
pub(super) const LANES: usize = 16;
/// Rows and columns of the sums that are made at a time: two tiles each way.
pub(super) const SIDE: usize = 2 * LANES;
/// Terms of a sum that a tile holds.
pub(super) const TERMS: usize = 2 * LANES;

/// Pairs of bf16, the first in the lower half. Of x: for each of 16 rows the pairs of 32 terms. Of the other factor: for
/// each of 16 pairs of terms those of 16 columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [[u32; LANES]; LANES]);

impl Tile {
    pub(super) const ZERO: Self = Self([[0; LANES]; LANES]);
}

/// The tiles of 32 rows or columns, first of 16, then of the other 16: for each 32 terms one of each part.
pub(super) type Tiles = Vec<Tile>;

/// Sums of 32 rows and 32 columns.
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[f32; SIDE]; SIDE]);

impl Default for Sums {
    fn default() -> Self {
        Self([[0.0; SIDE]; SIDE])
    }
}

/// Which parts of x and of the other factor meet: all whose product is not lost in the rounding of the largest. From one
/// pair to the next one of the two stays, and does not have to be loaded again.
pub(super) const fn products(parts: usize) -> &'static [[usize; 2]] {
    match parts {
        1 => &[[0, 0]],
        3 => &[[0, 2], [0, 1], [1, 1], [1, 0], [2, 0], [0, 0]],
        _ => panic!("a factor enters in one or three parts"),
    }
}

/// A processor's way to multiply tiles.
pub(super) trait Unit: Copy + Send + Sync {
    /// The sums of 32 rows of x with 32 columns of the other factor, in place of what is in `sums`. The tiles
    /// `next` will be needed soon.
    fn multiply<const PARTS: usize>(self, x: &[Tile], factor: &[Tile], next: &[Tile], sums: &mut Sums);

    /// Rows become columns.
    fn transpose(self, tile: &mut Tile);

    /// Runs a task that is compiled for processors that have the unit, if all of it is inlined.
    fn run<T>(self, task: impl FnOnce() -> T) -> T;
}
