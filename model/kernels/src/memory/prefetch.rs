//! Cache lines asked for ahead of time, where a processor does not foresee them by itself.

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks for a cache line before it is needed.
#[inline(always)]
pub(crate) fn prefetch<T>(line: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is that of a live number, and a prefetch changes nothing that the program sees.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
