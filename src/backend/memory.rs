//! The allocator. A training step frees and takes the same large buffers over and over; given back to the system in
//! between, as is usual, each comes back as pages that the kernel must clear first: a third of a step's time.
//!
//! Only a program can choose its allocator; this is the setting beside that choice.

use std::ffi::c_long;

use gptneo_model::Activations;
use libmimalloc_sys::{mi_option_set, mi_option_t};

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h: milliseconds until freed memory goes back to the system; -1 for never.
const PURGE_DELAY: mi_option_t = 15;
/// Its value in mimalloc, where nothing is set.
const MIMALLOC_DELAY: c_long = 10;

/// Lets the program keep what it frees, for the next training step: two thirds of the time that one takes otherwise.
///
/// It works on mimalloc, which the program makes its allocator. The first call in `main` is the place for it; threads
/// need nothing, the CPU backend takes every core. Both lines a program needs:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
///
/// fn main() {
///     gptneo_lora::use_whole_machine();
/// }
/// ```
pub fn use_whole_machine() {
    delay_purges(-1);
}

/// Lets what is freed go back to the system where a step keeps little: kept, it lies in pieces of the wrong size between
/// what is in use, a tenth of the whole. The activations that are computed again take longer than the kernel's clearing.
pub(crate) fn suit_allocator(activations: Activations) {
    if activations == Activations::Recomputed {
        delay_purges(MIMALLOC_DELAY);
    }
}

fn delay_purges(milliseconds: c_long) {
    // SAFETY: the function sets a number that the allocator reads, and may be called at any time.
    #[allow(unsafe_code)]
    unsafe {
        mi_option_set(PURGE_DELAY, milliseconds);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing;

    const TEST: &str = "backend::memory::tests::a_large_block_comes_back_without_new_pages";

    /// Pages that the kernel had to provide so far.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        // The name, in parentheses, may hold anything; seven fields on, proc(5) has `minflt`.
        stat.rsplit(") ").next().unwrap().split(' ').nth(7).unwrap().parse().unwrap()
    }

    /// In a process of its own: other tests take memory too.
    #[test]
    fn a_large_block_comes_back_without_new_pages() {
        if testing::passed_to_a_process_of_its_own(TEST) {
            return;
        }
        use_whole_machine();
        let touch = |megabytes: usize| drop(std::hint::black_box(vec![1u8; megabytes << 20]));
        touch(200);
        // What is overdue is given back when other memory is taken or freed.
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            touch(10);
        }
        let before = faults();
        touch(200);
        // Fresh, it would take 51,200 pages of 4 KiB, or 100 of 2 MiB.
        assert!(faults() - before < 50, "{}", faults() - before);
    }
}
