//! How a kernel is run: its input cut into tasks of a fixed size, on all threads, in code compiled for what the
//! processor can do.
//!
//! A kernel is plain Rust over slices. Where its [`Kernel::run`] and all that it calls in its loops are
//! `#[inline(always)]`, the compiler makes a copy of it for each instruction set that `pulp` knows (AVX-512, AVX2
//! and the build's own) and vectorises each; the processor is asked at run time.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::registers::arch;

/// Elements of a task: few enough to share the work out, enough to pay for it. The size depends on nothing else, so
/// neither do sums that are made task by task.
const ELEMENTS: usize = 16 * 1024;

/// What is done to one task.
pub(crate) trait Kernel<T>: Sync {
    /// What a task gives.
    type Output: Send;

    /// Implementations say `#[inline(always)]`.
    fn run(&self, task: T) -> Self::Output;
}

/// Elements of a task that takes whole rows.
pub(crate) fn task_size(columns: usize) -> usize {
    (ELEMENTS / columns).max(1) * columns
}

/// Runs the kernel on each task; the outputs in the tasks' order.
pub(crate) fn run<T: Send, K: Kernel<T>>(kernel: &K, tasks: impl Iterator<Item = T>) -> Vec<K::Output> {
    let arch = arch();
    let run = |task| arch.dispatch(Call { kernel, task });
    let tasks: Vec<T> = tasks.collect();
    // A single task is not worth waking a thread for.
    if tasks.len() <= 1 {
        tasks.into_iter().map(run).collect()
    } else {
        tasks.into_par_iter().map(run).collect()
    }
}

struct Call<'a, K, T> {
    kernel: &'a K,
    task: T,
}

impl<T, K: Kernel<T>> WithSimd for Call<'_, K, T> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> K::Output {
        self.kernel.run(self.task)
    }
}
