//! Matrix products on slices, through the `gemm` crate that Flex itself uses: strided views, no copies.

use gemm::Parallelism;
use rayon::prelude::*;

use super::tensors::written;

/// A matrix inside a slice: element (row, column) is at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that stand `stride` apart.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// As many rows as there are from `first` on, `count` at most.
    fn rows_from(self, first: usize, count: usize) -> Self {
        Self {
            data: self.data.get(first * self.row_stride..).unwrap_or_default(),
            rows: count.min(self.rows - first),
            ..self
        }
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

/// Columns of a task. `gemm` shares a product out among threads by itself as well; tasks of a thread each, cut by columns,
/// are up to a fifth faster. Their number of columns is always the same, and they are not cut to a few rows: `gemm` sums
/// small products in another order, and results would depend on the number of threads.
const COLUMNS: usize = 192;
/// The fewest rows of a task, where rows are cut as well.
const ROWS: usize = 64;
/// Tasks for each thread: the last of them keep few waiting.
const TASKS: usize = 2;
/// Multiplications and additions from which on more threads are worth waking.
const WORTH_SHARING: usize = 1 << 22;

/// `out = factor * a b`, or `out += factor * a b` with `add`, by the calling thread; the rows of `out` stand `stride`
/// apart.
///
/// # Panics
///
/// Where the shapes do not fit together or a slice is too short for its matrix.
pub(super) fn gemm(out: &mut [f32], stride: usize, add: bool, factor: f32, factors: [Matrix<'_>; 2]) {
    let shape = shape_of(factors);
    assert_place(out.len(), stride, shape);
    // SAFETY: the place is large enough, has values, and is borrowed exclusively.
    #[allow(unsafe_code)]
    unsafe {
        multiply(Place(out.as_mut_ptr()), stride, add, factor, factors);
    }
}

/// `out += a b` by all threads; the rows of `out` stand `stride` apart.
///
/// # Panics
///
/// As [`gemm`].
pub(super) fn add_product(out: &mut [f32], stride: usize, factors: [Matrix<'_>; 2]) {
    assert_place(out.len(), stride, shape_of(factors));
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe {
        share(Place(out.as_mut_ptr()), stride, Start::There, factors);
    }
}

/// `a b` by all threads, `[rows, columns]`, with the bias `[columns]` added to each row.
///
/// # Panics
///
/// As [`gemm`], where there is no term to sum, and where the bias is too short.
pub(super) fn product(factors: [Matrix<'_>; 2], bias: Option<&[f32]>) -> Vec<f32> {
    let [rows, columns] = shape_of(factors);
    assert!(factors[0].columns > 0, "a matrix product without a term");
    let start = bias.map_or(Start::Nothing, Start::Bias);
    // SAFETY: the place is as large as the product, which is written to all of it.
    #[allow(unsafe_code)]
    unsafe {
        let [out] =
            written([rows * columns], |[out]| share(Place(out.as_mut_ptr().cast()), columns, start, factors));
        out
    }
}

/// Rows and columns of a product.
fn shape_of([a, b]: [Matrix<'_>; 2]) -> [usize; 2] {
    assert_eq!(a.columns, b.rows, "inner sizes of a matrix product");
    [a.rows, b.columns]
}

fn assert_place(length: usize, stride: usize, [rows, columns]: [usize; 2]) {
    if rows > 0 && columns > 0 {
        assert!((rows - 1) * stride + columns <= length, "the product's place is too short");
        assert!(columns <= stride || rows == 1, "rows of the product overlap");
    }
}

/// Where a product goes; tasks write to parts of it side by side.
#[derive(Clone, Copy)]
struct Place(*mut f32);

// SAFETY: what is done with the pointer is up to those who hold it, and they are unsafe functions.
#[allow(unsafe_code)]
unsafe impl Send for Place {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

impl Place {
    /// The place of an element so many further on.
    ///
    /// # Safety
    ///
    /// It is inside the same slice.
    #[allow(unsafe_code)]
    unsafe fn at(self, offset: usize) -> Self {
        // SAFETY: that is what the caller promises.
        unsafe { Self(self.0.add(offset)) }
    }
}

/// What a product is added to.
#[derive(Clone, Copy)]
enum Start<'a> {
    /// What is in its place.
    There,
    /// A row, for each of its rows.
    Bias(&'a [f32]),
    Nothing,
}

/// Cuts a product into tasks for all threads, if it is large enough for that.
///
/// # Safety
///
/// `out` is valid for writes of a product of this shape and stride, which do not overlap a factor, and has values if they
/// are to be added to.
#[allow(unsafe_code)]
unsafe fn share(out: Place, stride: usize, start: Start<'_>, [a, b]: [Matrix<'_>; 2]) {
    let [rows, columns] = shape_of([a, b]);
    let large = rows.saturating_mul(a.columns).saturating_mul(columns) >= WORTH_SHARING;
    let wide = if large { COLUMNS } else { columns.max(1) };
    let across = columns.div_ceil(wide);
    let wanted = if large { (TASKS * rayon::current_num_threads()).div_ceil(across) } else { 1 };
    let down = wanted.min(rows / ROWS).max(1);
    let run = |task: usize| {
        let (cut, column) = (task / across, task % across * wide);
        let (row, end) = (cut * rows / down, (cut + 1) * rows / down);
        let (a, b) = (a.rows_from(row, end - row), b.t().rows_from(column, wide).t());
        // SAFETY: it is the place of row and column, and no other task has these.
        unsafe {
            let out = out.at(row * stride + column);
            if let Start::Bias(bias) = start {
                let bias = &bias[column..column + b.columns];
                for row in 0..a.rows {
                    bias.as_ptr().copy_to_nonoverlapping(out.at(row * stride).0, bias.len());
                }
            }
            multiply(out, stride, !matches!(start, Start::Nothing), 1.0, [a, b]);
        }
    };
    let tasks = down * across;
    if tasks > 1 { (0..tasks).into_par_iter().for_each(run) } else { (0..tasks).for_each(run) }
}

/// [`gemm`], wherever its result goes.
///
/// # Safety
///
/// As [`share`].
#[allow(unsafe_code)]
unsafe fn multiply(out: Place, stride: usize, add: bool, factor: f32, [a, b]: [Matrix<'_>; 2]) {
    let ([rows, columns], inner) = (shape_of([a, b]), a.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    for matrix in [a, b] {
        let last =
            (matrix.rows.max(1) - 1) * matrix.row_stride + (matrix.columns.max(1) - 1) * matrix.column_stride;
        assert!(inner == 0 || last < matrix.data.len(), "a factor of a matrix product is too short");
    }
    // SAFETY: the assertion puts the last element of each factor inside its slice, and strides are not negative; the
    // caller answers for the place.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.0,
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
            Parallelism::None,
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
        gemm(&mut out, 3, false, 1.0, factors);
        assert_eq!(out, [7.0, 1.0, 10.0, 16.0, 1.0]);
        gemm(&mut out, 3, true, 2.0, factors);
        assert_eq!(out, [21.0, 3.0, 10.0, 48.0, 3.0]);
        add_product(&mut out, 3, factors);
        assert_eq!(out, [28.0, 4.0, 10.0, 64.0, 4.0]);
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_slice_too_short_is_refused() {
        let a = [0.0; 5];
        let mut out = [0.0; 4];
        let matrix = Matrix::new(&a, 2, 2, 4);
        gemm(&mut out, 2, false, 1.0, [matrix, matrix]);
    }
}
