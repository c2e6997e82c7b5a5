//! Plain arithmetic in the place of a unit, for tests on any processor.

use super::unit::{LANES, Sums, Tile, Unit, products};

/// The same sums one by one.
#[derive(Clone, Copy)]
pub(super) struct Emulated;

impl Unit for Emulated {
    fn multiply<const PARTS: usize>(self, x: &[Tile], factor: &[Tile], _next: &[Tile], sums: &mut Sums) {
        for (i, sums) in sums.0.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                fn half(tiles: &[Tile], number: usize) -> &[Tile] {
                    tiles.chunks_exact(tiles.len() / 2).nth(number / LANES).unwrap_or_default()
                }
                let (x, factor) = (half(x, i), half(factor, j));
                let mut total = 0.0;
                for (x, factor) in x.chunks_exact(PARTS).zip(factor.chunks_exact(PARTS)) {
                    for [of_x, of_factor] in products(PARTS) {
                        let pairs = factor[*of_factor].0.iter().map(|row| row[j % LANES]);
                        for (x, factor) in x[*of_x].0[i % LANES].into_iter().zip(pairs) {
                            let ([a, b], [c, d]) = (floats(x), floats(factor));
                            total += a * c;
                            total += b * d;
                        }
                    }
                }
                *sum = total;
            }
        }
    }

    fn transpose(self, tile: &mut Tile) {
        let rows = tile.0;
        tile.0 = std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]));
    }

    fn run<T>(self, task: impl FnOnce() -> T) -> T {
        task()
    }
}

/// A bf16 is the upper half of an f32.
fn floats(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xFFFF_0000)]
}
