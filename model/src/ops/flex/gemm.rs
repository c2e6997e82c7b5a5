//! Matrix products on slices, through the `gemm` crate that Flex itself uses: strided views, no copies.

use gemm::Parallelism;

/// A matrix inside a slice: element (row, column) is at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that stand `stride` apart.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The transposed view.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Who works on a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The calling thread: the caller is one of many tasks already.
    One,
    /// All threads, if the product is large enough for them.
    All,
}

/// Multiplications and additions from which on more threads are worth waking.
const WORTH_SHARING: usize = 1 << 22;

/// `out = factor * a b`, or `out += factor * a b` with `add`; the rows of `out` stand `stride` apart.
///
/// # Panics
///
/// Where the shapes do not fit together or a slice is too short for its matrix.
pub(super) fn gemm(
    out: &mut [f32],
    stride: usize,
    add: bool,
    factor: f32,
    [a, b]: [Matrix<'_>; 2],
    threads: Threads,
) {
    let (rows, inner, columns) = (a.rows, a.columns, b.columns);
    assert_eq!(inner, b.rows, "inner sizes of a matrix product");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * stride + columns <= out.len(), "the product's place is too short");
    assert!(columns <= stride || rows == 1, "rows of the product overlap");
    for matrix in [a, b] {
        let last =
            (matrix.rows.max(1) - 1) * matrix.row_stride + (matrix.columns.max(1) - 1) * matrix.column_stride;
        assert!(inner == 0 || last < matrix.data.len(), "a factor of a matrix product is too short");
    }
    let work = rows.saturating_mul(inner).saturating_mul(columns);
    let parallelism = match threads {
        Threads::All if work >= WORTH_SHARING => Parallelism::Rayon(0),
        Threads::All | Threads::One => Parallelism::None,
    };
    // SAFETY: the assertions above put the last element of each matrix inside its slice, strides are not
    // negative, and `out` is borrowed exclusively, so it overlaps neither factor nor itself.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_views_are_right_and_can_add() {
        // 2 x 3 inside rows of 4, times 3 x 2 given transposed.
        let a = [1.0, 2.0, 3.0, 99.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, -1.0, 1.0, 0.0];
        let factors = [Matrix::new(&a, 2, 3, 4), Matrix::new(&b, 2, 3, 3).t()];
        let mut out = [10.0; 5];
        gemm(&mut out, 3, false, 1.0, factors, Threads::One);
        assert_eq!(out, [7.0, 1.0, 10.0, 16.0, 1.0]);
        gemm(&mut out, 3, true, 2.0, factors, Threads::All);
        assert_eq!(out, [21.0, 3.0, 10.0, 48.0, 3.0]);
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_slice_too_short_is_refused() {
        let a = [0.0; 5];
        let mut out = [0.0; 4];
        let matrix = Matrix::new(&a, 2, 2, 4);
        gemm(&mut out, 2, false, 1.0, [matrix, matrix], Threads::One);
    }
}
