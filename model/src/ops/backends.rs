//! The backends that take part without kernels of their own.

#[cfg(any(feature = "ndarray", feature = "wgpu", feature = "cuda"))]
use super::NeoBackend;

#[cfg(feature = "ndarray")]
impl NeoBackend for burn_ndarray::NdArray {}

#[cfg(feature = "wgpu")]
impl NeoBackend for burn_wgpu::Wgpu {}

#[cfg(feature = "cuda")]
impl NeoBackend for burn_cuda::Cuda {}
