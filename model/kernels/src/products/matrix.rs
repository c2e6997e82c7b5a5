//! Matrices inside slices.

use std::ops::Range;

use crate::memory::LINE;

/// A matrix inside a slice: element (row, column) is at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows that stand `stride` apart.
    #[inline(always)]
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// Rows without gaps between them.
    #[inline(always)]
    pub(crate) fn dense(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::new(data, rows, columns, columns)
    }

    /// Whether the elements of a row stand together; else those of a column do.
    #[inline(always)]
    pub(crate) fn has_rows_together(self) -> bool {
        self.column_stride == 1
    }

    /// The transposed view.
    #[inline(always)]
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The same, row after row in `scratch` where its rows collide: lines so many powers of two apart share few sets of the
    /// first cache, and evict each other before they are read again.
    #[inline(always)]
    pub(crate) fn gathered<'s>(self, scratch: &'s mut Vec<f32>) -> Matrix<'s>
    where
        'a: 's,
    {
        /// Of all sets of a first cache, 64 as a rule, two are left.
        const COLLIDING: usize = 32 * LINE / size_of::<f32>();
        if !self.row_stride.is_multiple_of(COLLIDING) {
            return self;
        }
        scratch.clear();
        for row in 0..self.rows {
            scratch.extend_from_slice(&self.data[row * self.row_stride..][..self.columns]);
        }
        Matrix::dense(scratch, self.rows, self.columns)
    }

    /// Some of its rows.
    #[inline(always)]
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        Self { data: &self.data[rows.start * self.row_stride..], rows: rows.len(), ..self }
    }

    /// The elements column by column.
    #[inline(always)]
    pub(crate) fn by_columns(self) -> Vec<f32> {
        /// Rows at a time, whose cache lines stay.
        const ROWS: usize = 16;
        let Self { data, rows, columns, row_stride, column_stride } = self;
        let mut out = vec![0.0; rows * columns];
        for first in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - first);
            for (column, out) in out.chunks_exact_mut(rows).enumerate() {
                for (row, out) in out[first..first + count].iter_mut().enumerate() {
                    *out = data[(first + row) * row_stride + column * column_stride];
                }
            }
        }
        out
    }
}
