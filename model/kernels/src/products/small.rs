//! Products of matrices that are in the cache already, in whatever layout they stand: the first factor is read a number
//! at a time, the second a register at a time.
//!
//! An element is summed term by term, each with one rounding: the result is the same in any registers.

use std::ops::Range;

use pulp::Simd;

use super::matrix::Matrix;

/// Registers of columns whose sums are made at a time.
const WIDE: usize = 2;

/// Rows that stand `stride` apart, to be written or, with `add`, added to.
struct Strided<'a> {
    out: &'a mut [f32],
    stride: usize,
    add: bool,
}

impl Strided<'_> {
    /// Takes the sums of a row, of so many columns from a column on.
    #[inline(always)]
    fn put<S: Simd, const W: usize>(
        &mut self,
        simd: S,
        [row, column]: [usize; 2],
        columns: usize,
        mut sums: [S::f32s; W],
    ) {
        let place = &mut self.out[row * self.stride + column..][..columns];
        if self.add {
            for (sum, before) in sums.iter_mut().zip(registers::<S, W>(simd, place)) {
                *sum = simd.add_f32s(before, *sum);
            }
        }
        if W == 1 {
            simd.partial_store_f32s(place, sums[0]);
        } else {
            let (place, _) = S::as_mut_simd_f32s(place);
            place.copy_from_slice(&sums);
        }
    }
}

/// `out = a b`; the rows of `out` stand `stride` apart. The columns of b stand together, and so do the rows or the
/// columns of a.
///
/// # Panics
///
/// Where the shapes or layouts do not fit, or a slice is too short for its matrix.
#[inline(always)]
pub(crate) fn small_product<S: Simd>(simd: S, out: &mut [f32], stride: usize, factors: [Matrix<'_>; 2]) {
    product(simd, &mut Strided { out, stride, add: false }, factors);
}

/// `out += a b`, as [`small_product`].
///
/// # Panics
///
/// As [`small_product`].
#[inline(always)]
pub(crate) fn add_small_product<S: Simd>(simd: S, out: &mut [f32], stride: usize, factors: [Matrix<'_>; 2]) {
    product(simd, &mut Strided { out, stride, add: true }, factors);
}

#[inline(always)]
fn product<S: Simd>(simd: S, place: &mut Strided<'_>, [a, b]: [Matrix<'_>; 2]) {
    assert_eq!(a.columns, b.rows, "inner sizes of a matrix product");
    assert_eq!(b.column_stride, 1, "the second factor has gaps");
    assert!(a.column_stride == 1 || a.row_stride == 1, "the first factor has gaps");
    let whole = WIDE * S::F32_LANES;
    let mut column = 0;
    while column < b.columns {
        let columns = whole.min(b.columns - column);
        // Of what fills no two registers one at a time.
        let columns = if columns < whole { columns.min(S::F32_LANES) } else { columns };
        let b = Matrix { data: &b.data[column..], columns, ..b };
        match (columns == whole, a.column_stride == 1) {
            (true, true) => strip::<S, WIDE, true>(simd, place, column, a, b),
            (true, false) => strip::<S, WIDE, false>(simd, place, column, a, b),
            (false, true) => strip::<S, 1, true>(simd, place, column, a, b),
            (false, false) => strip::<S, 1, false>(simd, place, column, a, b),
        }
        column += columns;
    }
}

/// All rows of so many registers of columns; a single one need not be full. `TOGETHER` says that the columns of a stand
/// together, else its rows do.
#[inline(always)]
fn strip<S: Simd, const W: usize, const TOGETHER: bool>(
    simd: S,
    place: &mut Strided<'_>,
    column: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    // As many rows at a time as leave registers for the factors.
    let row = if S::REGISTER_COUNT >= 32 {
        let row = tiles::<S, 8, W, TOGETHER>(simd, place, 0..a.rows, column, a, b);
        tiles::<S, 4, W, TOGETHER>(simd, place, row..a.rows, column, a, b)
    } else {
        // One, two or five that are left take six more with them, as fours and threes: a row alone mostly waits for itself.
        let sixes = a.rows / 6 - usize::from(a.rows > 6 && matches!(a.rows % 6, 1 | 2 | 5));
        let row = tiles::<S, 6, W, TOGETHER>(simd, place, 0..6 * sixes, column, a, b);
        let row = tiles::<S, 4, W, TOGETHER>(simd, place, row..a.rows, column, a, b);
        tiles::<S, 3, W, TOGETHER>(simd, place, row..a.rows, column, a, b)
    };
    tiles::<S, 1, W, TOGETHER>(simd, place, row..a.rows, column, a, b);
}

/// These rows, `T` at a time; returns the first that is left.
#[inline(always)]
fn tiles<S: Simd, const T: usize, const W: usize, const TOGETHER: bool>(
    simd: S,
    place: &mut Strided<'_>,
    rows: Range<usize>,
    column: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
) -> usize {
    let mut row = rows.start;
    while row + T <= rows.end {
        let part = Matrix { data: &a.data[row * a.row_stride..], ..a };
        for (i, sums) in tile::<S, T, W, TOGETHER>(simd, part, b).into_iter().enumerate() {
            place.put(simd, [row + i, column], b.columns, sums);
        }
        row += T;
    }
    row
}

/// The sums of the first `T` rows. Plain loops over arrays: they are unrolled, and the sums stay in registers.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn tile<S: Simd, const T: usize, const W: usize, const TOGETHER: bool>(
    simd: S,
    a: Matrix<'_>,
    b: Matrix<'_>,
) -> [[S::f32s; W]; T] {
    let inner = a.columns;
    let mut rows: [&[f32]; T] = [&[]; T];
    if TOGETHER {
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &a.data[i * a.row_stride..][..inner];
        }
    }
    let mut sums = [[simd.splat_f32s(0.0); W]; T];
    for k in 0..inner {
        let line = registers::<S, W>(simd, &b.data[k * b.row_stride..][..b.columns]);
        let column = if TOGETHER { &[] } else { &a.data[k * a.column_stride..][..T] };
        for i in 0..T {
            let factor = simd.splat_f32s(if TOGETHER { rows[i][k] } else { column[i] });
            for j in 0..W {
                sums[i][j] = simd.mul_add_f32s(factor, line[j], sums[i][j]);
            }
        }
    }
    sums
}

/// As many registers as are full; a single one may not be.
#[inline(always)]
fn registers<S: Simd, const W: usize>(simd: S, values: &[f32]) -> [S::f32s; W] {
    let mut registers = [simd.splat_f32s(0.0); W];
    if W == 1 {
        registers[0] = simd.partial_load_f32s(values);
    } else {
        registers.copy_from_slice(S::as_simd_f32s(values).0);
    }
    registers
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::registers::each_arch;
    use crate::testing::{assert_near, numbers};

    struct Product<'a> {
        factors: [Matrix<'a>; 2],
        out: &'a mut [f32],
        stride: usize,
        add: bool,
    }

    impl WithSimd for Product<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self { factors, out, stride, add } = self;
            match add {
                true => add_small_product(simd, out, stride, factors),
                false => small_product(simd, out, stride, factors),
            }
        }
    }

    /// Sizes that fill registers and tiles and sizes that do not, both layouts of the first factor, gaps between rows.
    #[test]
    fn equals_the_sums_one_by_one() {
        for (rows, inner, columns) in
            [(1, 1, 1), (6, 3, 16), (7, 5, 32), (13, 64, 71), (5, 9, 40), (12, 2, 0)]
        {
            let (a, b) = (numbers(1, rows * (inner + 2)), numbers(2, inner * (columns + 3)));
            let start = numbers(3, rows * (columns + 1));
            for (transposed, add) in [(false, false), (false, true), (true, false), (true, true)] {
                let matrix = match transposed {
                    false => Matrix::new(&a, rows, inner, inner + 2),
                    true => Matrix::new(&a, inner, rows, rows).t(),
                };
                let mut expected = start.clone();
                for i in 0..rows {
                    for j in 0..columns {
                        let at = |k| if transposed { k * rows + i } else { i * (inner + 2) + k };
                        let sum: f32 = (0..inner).map(|k| a[at(k)] * b[k * (columns + 3) + j]).sum();
                        let place = &mut expected[i * (columns + 1) + j];
                        *place = if add { *place + sum } else { sum };
                    }
                }
                let factors = [matrix, Matrix::new(&b, inner, columns, columns + 3)];
                let what = format!("{rows} x {inner} x {columns}, {transposed}, {add}");
                let mut first = None;
                // With each set of registers that this processor has: they take different numbers of rows at a time.
                for arch in each_arch() {
                    let mut out = start.clone();
                    arch.dispatch(Product { factors, out: &mut out, stride: columns + 1, add });
                    assert_near(&out, &expected, 1e-5, &what);
                    assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "other registers, {what}");
                }
            }
        }
    }
}
