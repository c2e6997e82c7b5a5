//! Which backends take part, and with which kernels of their own: none yet.

#[cfg(any(feature = "flex", feature = "ndarray", feature = "wgpu", feature = "cuda"))]
use super::NeoBackend;

#[cfg(feature = "flex")]
impl NeoBackend for burn_flex::Flex {}

#[cfg(feature = "ndarray")]
impl NeoBackend for burn_ndarray::NdArray {}

#[cfg(feature = "wgpu")]
impl NeoBackend for burn_wgpu::Wgpu {}

#[cfg(feature = "cuda")]
impl NeoBackend for burn_cuda::Cuda {}
