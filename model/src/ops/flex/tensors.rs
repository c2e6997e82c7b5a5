//! Between Flex's tensors and slices.

use std::mem::MaybeUninit;

use burn::tensor::{DType, Int, Shape, Tensor, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

pub(super) fn is_f32(tensor: &FlexTensor) -> bool {
    tensor.dtype() == DType::F32
}

pub(super) fn all_f32(tensors: &[&FlexTensor]) -> bool {
    tensors.iter().all(|tensor| is_f32(tensor))
}

/// Copies a tensor unless it is one block already.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// Copies a tensor unless its last dimension is contiguous and its strides are not negative.
pub(super) fn with_dense_rows(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    match layout.strides().last() {
        Some(1) if layout.has_positive_strides() => tensor,
        _ => tensor.to_contiguous(),
    }
}

/// The tensor in row-major order, to be written over: it is copied then if it is shared, and only then.
pub(super) fn owned(tensor: FlexTensor) -> FlexTensor {
    // `to_contiguous` borrows: its clone would count as a second owner while the first one lives.
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    contiguous
}

/// The values of a contiguous f32 tensor.
pub(super) fn floats(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage()[start..start + tensor.shape().num_elements()]
}

/// Values in row-major order as a tensor.
pub(super) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// As many values, all of which `write` writes: a large buffer is not cleared first.
///
/// # Safety
///
/// `write` leaves no place unwritten.
#[allow(unsafe_code)]
pub(super) unsafe fn written<const N: usize>(
    counts: [usize; N],
    write: impl FnOnce([&mut [MaybeUninit<f32>]; N]),
) -> [Vec<f32>; N] {
    let mut places = counts.map(|count| (count, Vec::with_capacity(count)));
    write(places.each_mut().map(|(count, values)| &mut values.spare_capacity_mut()[..*count]));
    places.map(|(count, mut values)| {
        // SAFETY: there is room for as many, and the caller answers for their values.
        unsafe { values.set_len(count) };
        values
    })
}

/// As many zeros, written by all threads: a single one takes longer to clear a large buffer than some kernels to fill it.
pub(super) fn zeros(count: usize) -> Vec<f32> {
    /// Floats of a page, and pages from which on more threads are worth waking.
    const PAGE: usize = 1024;
    const WORTH_SHARING: usize = 256;
    let pages = count.div_ceil(PAGE);
    if pages < WORTH_SHARING {
        return vec![0.0; count];
    }
    let pages: Vec<[f32; PAGE]> = rayon::iter::repeat_n([0.0; PAGE], pages).collect();
    let mut zeros = pages.into_flattened();
    zeros.truncate(count);
    zeros
}

/// The indices; a negative one becomes one past every end.
pub(super) fn indices(tensor: Tensor<Flex, 1, Int>) -> Vec<usize> {
    tensor.into_data().iter::<i64>().map(|index| usize::try_from(index).unwrap_or(usize::MAX)).collect()
}
