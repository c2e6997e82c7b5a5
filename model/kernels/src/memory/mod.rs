//! Memory as the kernels want it: buffers that are not cleared before they are filled, or cleared by all threads, and
//! cache lines asked for ahead of time.

mod buffers;
mod prefetch;

pub(crate) use self::buffers::{written, zeros};
pub(crate) use self::prefetch::{LINE, prefetch, prefetch_early};
