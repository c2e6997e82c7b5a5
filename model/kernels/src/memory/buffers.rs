//! Large buffers: clearing one costs as much as some kernels.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// As many values, all of which `write` writes: a large buffer is not cleared first.
///
/// # Safety
///
/// `write` leaves no place unwritten.
#[allow(unsafe_code)]
pub(crate) unsafe fn written<const N: usize>(
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
pub(crate) fn zeros(count: usize) -> Vec<f32> {
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
