//! What the program does where the system gives it no more: memory that is refused ends it in one line instead of an
//! abort, and a file that has reached a limit (`ulimit -f`) is a failed write instead of a signal.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

/// mimalloc, and a plain end where it has no memory to give. Files appear whole or not at all, so nothing is lost.
pub(crate) struct Allocator;

// SAFETY: all is mimalloc's, but for refusals, after which nothing is returned.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        given(unsafe { MiMalloc.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { MiMalloc.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { MiMalloc.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

fn given(pointer: *mut u8, size: usize) -> *mut u8 {
    if pointer.is_null() {
        end(size);
    }
    pointer
}

/// Says that memory is out and ends the program. Nothing is allocated, and no lock is taken that may be held.
#[cold]
fn end(size: usize) -> ! {
    let mut message = [0u8; 160];
    let mut length = 0;
    let mut digits = [0u8; 20];
    let mut first = digits.len();
    let mut left = size;
    loop {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let parts: [&[u8]; 3] = [
        b"error: out of memory: the system gave no more than there is, and ",
        &digits[first..],
        b" bytes were needed: lower the batch size or the longest text\n",
    ];
    for part in parts {
        message[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    #[cfg(unix)]
    // SAFETY: the buffer is there, and both calls may be made at any time.
    unsafe {
        libc::write(2, message.as_ptr().cast(), length);
        libc::_exit(1)
    }
    #[cfg(not(unix))]
    std::process::exit(1)
}

/// What must be done before anything is written.
pub(crate) fn prepare() {
    #[cfg(unix)]
    // SAFETY: the signal's action is set before there is another thread; ignored, a write returns its error.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
