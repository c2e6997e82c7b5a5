//! Cache lines asked for ahead of time, where a processor does not foresee them by itself.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as FIRST, _MM_HINT_T1 as SECOND, _mm_prefetch};

#[cfg(not(target_arch = "x86_64"))]
const FIRST: i32 = 1;
#[cfg(not(target_arch = "x86_64"))]
const SECOND: i32 = 2;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks for a cache line before it is needed.
#[inline(always)]
pub(crate) fn prefetch<T>(line: &T) {
    ask_for::<FIRST, T>(line);
}

/// Asks for a cache line long before it is needed: for the second cache.
#[inline(always)]
pub(crate) fn prefetch_early<T>(line: &T) {
    ask_for::<SECOND, T>(line);
}

#[inline(always)]
fn ask_for<const CACHE: i32, T>(line: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the address is that of a live number, and a prefetch changes nothing that the program sees.
    #[allow(unsafe_code)]
    unsafe {
        _mm_prefetch::<CACHE>(std::ptr::from_ref(line).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
