//! Sums over rows, always in the same order: of a matrix' columns, and of parts that several cubes left.
//!
//! A cube adds up a block of rows of some columns and leaves a part; a second launch adds up the parts. All sums are f32.

use cubecl::ir::StorageType;
use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::reduce::{UNITS, cube_per_row};

/// Columns of a cube, side by side, and units that share each of them.
const COLUMNS: usize = 32;
const GROUPS: usize = UNITS as usize / COLUMNS;

/// Rows of a cube.
const ROWS: usize = 256;

#[cube(launch)]
fn parts_of_columns<F: Float>(
    x: &Array<F>,
    parts: &mut Array<f32>,
    rows: usize,
    columns: usize,
    #[define(F)] _dtype: StorageType,
) {
    let unit = UNIT_POS as usize;
    let (lane, group) = (unit % COLUMNS, unit / COLUMNS);
    let column = CUBE_POS_X as usize * COLUMNS + lane;
    let first = CUBE_POS_Y as usize * ROWS;
    let end = min(first + ROWS, rows);
    let mut sum = f32::new(0.0);
    let mut row = first + group;
    while row < end {
        if column < columns {
            sum += f32::cast_from(x[row * columns + column]);
        }
        row += GROUPS;
    }
    let mut sums = SharedMemory::<f32>::new(UNITS as usize);
    sums[unit] = sum;
    sync_cube();
    if group == 0 && column < columns {
        let mut total = f32::new(0.0);
        #[unroll]
        for other in 0..GROUPS {
            total += sums[other * COLUMNS + lane];
        }
        parts[CUBE_POS_Y as usize * columns + column] = total;
    }
}

#[cube(launch)]
fn total_of_parts<F: Float>(
    parts: &Array<f32>,
    result: &mut Array<F>,
    count: usize,
    #[define(F)] _dtype: StorageType,
) {
    let at = ABSOLUTE_POS;
    if at < result.len() {
        let mut sum = f32::new(0.0);
        for part in 0..count {
            sum += parts[part * result.len() + at];
        }
        result[at] = F::cast_from(sum);
    }
}

/// Parts that a launch leaves and another adds up, each as long as the result.
pub(crate) struct Parts {
    /// The numbers of the first part, then those of the second, and so on.
    pub(crate) numbers: Handle,
    count: usize,
    length: usize,
}

impl Parts {
    /// Room for them.
    pub(crate) fn new<R: Runtime>(client: &ComputeClient<R>, count: usize, length: usize) -> Self {
        Self { numbers: client.empty(count * length * size_of::<f32>()), count, length }
    }

    /// All of them, as a kernel takes them.
    pub(crate) fn array<R: Runtime>(&self) -> ArrayArg<R> {
        // SAFETY: made with room for so many numbers.
        #[allow(unsafe_code)]
        unsafe {
            ArrayArg::from_raw_parts(self.numbers.clone(), self.count * self.length)
        }
    }

    /// Writes their sum to `result`, of the type `number`.
    pub(crate) fn sum<R: Runtime>(
        self,
        client: &ComputeClient<R>,
        result: TensorBinding<R>,
        number: StorageType,
    ) {
        let cubes = cube_per_row(self.length.div_ceil(UNITS as usize));
        let (dim, parts) = (CubeDim::new_1d(UNITS), self.array());
        let result = result.into_tensor_arg().into_array_arg();
        total_of_parts::launch::<R>(client, cubes, dim, parts, result, self.count, number);
    }
}

/// The sum of each column of `x` `[rows, columns]`, of the type `number`, `[columns]` of f32.
pub fn column_sums<R: Runtime>(
    client: &ComputeClient<R>,
    x: TensorBinding<R>,
    number: StorageType,
    result: TensorBinding<R>,
) {
    let (rows, columns) = (x.shape[0], x.shape[1]);
    let blocks = rows.div_ceil(ROWS).max(1);
    let parts = Parts::new(client, blocks, columns);
    let cubes = CubeCount::Static(columns.div_ceil(COLUMNS) as u32, blocks as u32, 1);
    let (dim, x) = (CubeDim::new_1d(UNITS), x.into_tensor_arg().into_array_arg());
    parts_of_columns::launch::<R>(client, cubes, dim, x, parts.array(), rows, columns, number);
    parts.sum(client, result, f32::as_type_native_unchecked().storage_type());
}
