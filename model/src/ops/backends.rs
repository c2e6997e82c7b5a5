//! The backends that take part without kernels of their own.

#[cfg(feature = "ndarray")]
use super::NeoBackend;

#[cfg(feature = "ndarray")]
impl NeoBackend for burn_ndarray::NdArray {}
