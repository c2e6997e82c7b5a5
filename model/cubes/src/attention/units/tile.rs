//! Rows of a head in shared memory and in tiles, and what planes make of them.

use cubecl::cmma::{self, Matrix, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::super::tile::place;
use super::{EDGE, PLANE, PLANES, ROWS, TILE, UNITS, VECTOR};

/// Numbers from one row of scores to the next: four more than a row has, so that units do not wait for one another's
/// memory.
pub(super) const SCORES: usize = TILE + 4;

/// The same for rows of a half type, whose tiles are read eight numbers at a time.
const WEIGHTS: usize = TILE + VECTOR;

/// Bytes at whose multiples tiles begin.
const ALIGNMENT: usize = 32;

/// Which of the cube's planes the unit is of.
#[cube]
fn plane() -> usize {
    UNIT_POS as usize / PLANE
}

/// The unit's row among those of its cube, and which half of its columns is the unit's: every second.
#[cube]
pub(super) fn own_row() -> (usize, usize) {
    let unit = UNIT_POS as usize % PLANE;
    (plane() * EDGE + unit / 2, unit % 2)
}

/// Vectors from one row of a head of `size` numbers to the next.
fn pitch(size: usize) -> usize {
    size / VECTOR + 1
}

/// Room for the rows of a cube.
#[cube]
pub(super) fn room_for_rows<F: Float, N: Size>(#[comptime] size: usize) -> SharedMemory<Vector<F, N>> {
    SharedMemory::new_aligned(comptime!(ROWS * pitch(size)), ALIGNMENT)
}

/// Room for what each row of the cube has to do with each that is brought.
#[cube]
pub(super) fn room_for_scores() -> SharedMemory<f32> {
    SharedMemory::new_aligned(comptime!(ROWS * SCORES), ALIGNMENT)
}

/// The same in the half type.
#[cube]
pub(super) fn room_for_weights<F: Float>() -> SharedMemory<F> {
    SharedMemory::new_aligned(comptime!(ROWS * WEIGHTS), ALIGNMENT)
}

/// Brings `count` rows from `first` on of the cube's head into `to`, behind the `before` that are there; zeros beyond the
/// last of its `rows`. All units together, once no unit needs what was there.
#[cube]
pub(super) fn bring<F: Float, N: Size>(
    from: &Array<Vector<F, N>>,
    to: &mut SharedMemory<Vector<F, N>>,
    first: usize,
    rows: usize,
    #[comptime] before: usize,
    #[comptime] count: usize,
    #[comptime] size: usize,
) {
    let vectors = comptime!(size / VECTOR);
    let pitch = comptime!(pitch(size));
    let mut at = UNIT_POS as usize;
    while at < count * vectors {
        let (row, part) = (at / vectors, at % vectors);
        let mut value = Vector::new(F::new(0.0));
        if first + row < rows {
            value = from[place(first + row, rows, vectors) + part];
        }
        to[(before + row) * pitch + part] = value;
        at += UNITS;
    }
}

/// The plane's rows of those in `rows`, in tiles.
#[cube]
pub(super) fn held<F: Float, N: Size>(
    rows: &SharedMemory<Vector<F, N>>,
    #[comptime] size: usize,
) -> Sequence<Matrix<F>> {
    let pitch = comptime!(pitch(size));
    let mut tiles = Sequence::<Matrix<F>>::new();
    #[unroll]
    for part in 0..comptime!(size / EDGE) {
        let tile = tile::<F>(MatrixIdent::A, MatrixLayout::RowMajor);
        let first = plane() * comptime!(EDGE * pitch) + comptime!(part * EDGE / VECTOR);
        cmma::load(&tile, &rows.slice(first, rows.len()), comptime!((pitch * VECTOR) as u32));
        tiles.push(tile);
    }
    tiles
}

/// A tile whose numbers are to come.
#[cube]
fn tile<F: Float>(#[comptime] ident: MatrixIdent, #[comptime] layout: MatrixLayout) -> Matrix<F> {
    // SAFETY: who asks for it loads it next.
    #[allow(unsafe_code)]
    unsafe {
        Matrix::<F>::uninitialized(ident, EDGE, EDGE, EDGE, layout)
    }
}

/// A tile of zeros to add to.
#[cube]
fn sum() -> Matrix<f32> {
    Matrix::<f32>::from_value(MatrixIdent::Accumulator, EDGE, EDGE, EDGE, MatrixLayout::Undefined, 0.0)
}

/// The sums of the plane's rows, zeros.
#[cube]
pub(super) fn sums(#[comptime] size: usize) -> Sequence<Matrix<f32>> {
    let mut tiles = Sequence::<Matrix<f32>>::new();
    #[unroll]
    for _ in 0..comptime!(size / EDGE) {
        tiles.push(sum());
    }
    tiles
}

/// The inner products of the plane's rows with the [`TILE`] of `rows` behind the first `before`. The plane's units see them
/// after [`sync_plane`].
#[cube]
pub(super) fn score<F: Float, N: Size>(
    held: &Sequence<Matrix<F>>,
    rows: &SharedMemory<Vector<F, N>>,
    scores: &mut SharedMemory<f32>,
    #[comptime] before: usize,
    #[comptime] size: usize,
) {
    let pitch = comptime!(pitch(size));
    #[unroll]
    for block in 0..comptime!(TILE / EDGE) {
        let found = sum();
        #[unroll]
        for part in 0..comptime!(size / EDGE) {
            let other = tile::<F>(MatrixIdent::B, MatrixLayout::ColMajor);
            let first = comptime!((before + block * EDGE) * pitch + part * EDGE / VECTOR);
            cmma::load(&other, &rows.slice(first, rows.len()), comptime!((pitch * VECTOR) as u32));
            cmma::execute::<F, F, f32, f32>(held.index(part), &other, &found, &found);
        }
        let first = plane() * comptime!(EDGE * SCORES) + comptime!(block * EDGE);
        let end = scores.len();
        let mut to = scores.slice_mut(first, end);
        cmma::store(&mut to, &found, comptime!(SCORES as u32), MatrixLayout::RowMajor);
    }
}

/// Adds the [`TILE`] of `rows` behind the first `before`, each times its weight, to the sums of the plane's rows.
#[cube]
pub(super) fn mix<F: Float, N: Size>(
    weights: &SharedMemory<F>,
    rows: &SharedMemory<Vector<F, N>>,
    sums: &Sequence<Matrix<f32>>,
    #[comptime] before: usize,
    #[comptime] size: usize,
) {
    let pitch = comptime!(pitch(size));
    #[unroll]
    for block in 0..comptime!(TILE / EDGE) {
        let weight = tile::<F>(MatrixIdent::A, MatrixLayout::RowMajor);
        let first = plane() * comptime!(EDGE * WEIGHTS) + comptime!(block * EDGE);
        cmma::load(&weight, &weights.slice(first, weights.len()), comptime!(WEIGHTS as u32));
        #[unroll]
        for part in 0..comptime!(size / EDGE) {
            let other = tile::<F>(MatrixIdent::B, MatrixLayout::RowMajor);
            let first = comptime!((before + block * EDGE) * pitch + part * EDGE / VECTOR);
            cmma::load(&other, &rows.slice(first, rows.len()), comptime!((pitch * VECTOR) as u32));
            let sum = sums.index(part);
            cmma::execute::<F, F, f32, f32>(&weight, &other, sum, sum);
        }
    }
}

/// Where the score of the cube's row `row` and column `column` is.
#[cube]
pub(super) fn score_at(row: usize, column: usize) -> usize {
    row * SCORES + column
}

/// Where their weight is.
#[cube]
pub(super) fn weight_at(row: usize, column: usize) -> usize {
    row * WEIGHTS + column
}

/// What the other unit of the row has of a number, by way of the plane's scores.
#[cube]
pub(super) fn of_neighbour(value: f32, scores: &mut SharedMemory<f32>) -> f32 {
    let (row, half) = own_row();
    sync_plane();
    scores[score_at(row, half)] = value;
    sync_plane();
    scores[score_at(row, 1 - half)]
}

/// Writes the sums of the plane's rows, the cube's first being row `first` of its head, by way of the plane's scores.
#[cube]
pub(super) fn write<F: Float, N: Size>(
    sums: &Sequence<Matrix<f32>>,
    to: &mut Array<Vector<F, N>>,
    scores: &mut SharedMemory<f32>,
    first: usize,
    rows: usize,
    #[comptime] size: usize,
) {
    let (row, half) = own_row();
    #[unroll]
    for part in 0..comptime!(size / EDGE) {
        sync_plane();
        let begin = plane() * comptime!(EDGE * SCORES);
        let end = scores.len();
        let mut of_plane = scores.slice_mut(begin, end);
        cmma::store(&mut of_plane, sums.index(part), comptime!(SCORES as u32), MatrixLayout::RowMajor);
        sync_plane();
        if first + row < rows {
            let mut found = Vector::<F, N>::new(F::new(0.0));
            #[unroll]
            for lane in 0..VECTOR {
                found[lane] = F::cast_from(scores[score_at(row, half * VECTOR + lane)]);
            }
            to[place(first + row, rows, comptime!(size / VECTOR)) + comptime!(part * EDGE / VECTOR) + half] =
                found;
        }
    }
}

const _: () = assert!(EDGE == 2 * VECTOR && PLANE == 2 * EDGE && PLANES * EDGE == 2 * TILE);
