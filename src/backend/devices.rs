//! The devices of each backend.

#[cfg(any(feature = "flex", feature = "ndarray"))]
use gptneo_model::{NeoBackend, Precision};

use super::device::Device;
use super::{BackendKind, machine, not_compiled_in};
use crate::Result;

impl BackendKind {
    /// The devices of the backend, in the order of their numbers; at least one.
    ///
    /// # Errors
    /// The backend is not in this build, or none of its devices can be used; the message says why.
    pub fn devices(self) -> Result<Vec<Device>> {
        let kind = self.resolved();
        match kind {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(vec![cpu::<burn_flex::Flex>()]),
            #[cfg(feature = "ndarray")]
            Self::Ndarray => Ok(vec![cpu::<burn_ndarray::NdArray>()]),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(super::wgpu::adapters()?.into_iter().map(|adapter| adapter.described).collect()),
            #[cfg(feature = "cuda")]
            Self::Cuda => super::cuda::devices(),
            #[allow(unreachable_patterns)]
            absent => Err(not_compiled_in(absent)),
        }
    }
}

/// The machine's own processor. A half type counts where the processor multiplies it: by way of f32 it would be slow.
#[cfg(any(feature = "flex", feature = "ndarray"))]
fn cpu<B: NeoBackend>() -> Device {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Device {
        name: machine::processor().unwrap_or_else(|| "the processor".into()),
        kind: format!("CPU, {cores} threads"),
        memory_bytes: machine::total_memory(),
        largest_tensor_bytes: None,
        software: false,
        f16: B::rounds_factors(Precision::F16),
        bf16: B::rounds_factors(Precision::Bf16),
    }
}
