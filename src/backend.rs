//! The backends that the program was built with. No other file names one.
//!
//! A command puts its work into a [`Job`], which is generic over the backend, and [`dispatch`] runs it at the [`Place`]
//! that was asked for.

mod auto;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod place;
#[cfg(any(feature = "wgpu", feature = "cuda", test))]
mod self_check;
#[cfg(feature = "wgpu")]
mod wgpu;

use anyhow::Result;
use burn::backend::Autodiff;
use burn::tensor::backend::{Backend, Device as _, DeviceId};
use clap::ValueEnum;
use gptneo_model::NeoBackend;
use serde::{Deserialize, Serialize};

pub(crate) use self::device::Device;
pub(crate) use self::place::Place;
use crate::failure::Misuse;

/// Whether Burn fuses the operations of GPUs in this build.
pub(crate) const FUSION: bool = cfg!(feature = "fusion");

/// A backend that also computes gradients.
pub(crate) type Training<B> = Autodiff<B>;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendKind {
    /// A GPU that this build can use and that computes a known model as it should, else the fastest CPU backend
    #[default]
    Auto,
    /// NVIDIA GPUs
    Cuda,
    /// Any GPU, through Vulkan, Metal or DirectX
    Wgpu,
    /// The fast CPU backend
    Flex,
    /// A second CPU backend, to compare with
    Ndarray,
}

/// The numbers that matrix products are made in while training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Precision {
    /// 32-bit floats throughout
    #[default]
    F32,
    /// 16-bit floats with the range of f32
    Bf16,
    /// 16-bit floats, with a scaled loss
    F16,
}

impl Precision {
    /// The name of the flag's value.
    pub(crate) fn name(self) -> &'static str {
        gptneo_training::Precision::from(self).name()
    }
}

impl From<Precision> for gptneo_training::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
            Precision::F16 => Self::F16,
        }
    }
}

impl BackendKind {
    /// The backend that `auto` stands for in this build on this machine; the others stand for themselves.
    pub(crate) fn resolved(self) -> Self {
        match self {
            Self::Auto => auto::choice(),
            named => named,
        }
    }

    /// What `auto` will stand for if the GPU passes its check, which this does not make.
    pub(crate) fn likely_auto() -> Self {
        auto::likely()
    }

    /// The fastest CPU backend of this build.
    pub(crate) fn cpu() -> Self {
        if cfg!(feature = "flex") { Self::Flex } else { Self::Ndarray }
    }

    /// Whether it computes on the machine's processor, in the machine's memory.
    pub(crate) fn is_cpu(self) -> bool {
        matches!(self.resolved(), Self::Flex | Self::Ndarray)
    }

    /// The backends of this build, GPUs last.
    pub(crate) fn in_build() -> Vec<Self> {
        let all = [
            (Self::Flex, cfg!(feature = "flex")),
            (Self::Ndarray, cfg!(feature = "ndarray")),
            (Self::Wgpu, cfg!(feature = "wgpu")),
            (Self::Cuda, cfg!(feature = "cuda")),
        ];
        all.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind).collect()
    }

    /// The name of the flag's value and of the cargo feature.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
        }
    }
}

/// What must be done before the program starts a thread.
pub(crate) fn prepare() {
    #[cfg(feature = "cuda")]
    cuda::prepare();
}

/// Work that any backend can do.
pub(crate) trait Job: Send {
    /// What comes out.
    type Output: Send;

    /// Does the work on `device`.
    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output>;
}

/// Runs `job` at a place. On a GPU a known small model is computed first, and a failure of the device ends the job.
///
/// # Errors
/// The backend is not in this build, the device cannot be used or computes wrongly, or the job fails.
pub(crate) fn dispatch<J: Job>(place: Place, job: J) -> Result<J::Output> {
    let found = place.found()?;
    match place.kind.resolved() {
        #[cfg(feature = "flex")]
        // On one of the threads that compute: they start on an operation without waking each other first.
        BackendKind::Flex => rayon::scope(|_| job.run::<burn_flex::Flex>(Default::default())),
        #[cfg(feature = "ndarray")]
        BackendKind::Ndarray => job.run::<burn_ndarray::NdArray>(Default::default()),
        #[cfg(feature = "wgpu")]
        BackendKind::Wgpu => {
            on_gpu::<burn_wgpu::Wgpu, J>(job, wgpu::adapters()?.swap_remove(place.device).device, &found)
        }
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => {
            on_gpu::<burn_cuda::Cuda, J>(job, burn_cuda::CudaDevice::new(place.device), &found)
        }
        #[allow(unreachable_patterns)]
        absent => Err(not_compiled_in(absent)),
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn on_gpu<B: NeoBackend, J: Job>(job: J, device: B::Device, found: &Device) -> Result<J::Output> {
    gptneo_model::device_failure::watch(|| {
        self_check::run::<B>(&device, found)?;
        job.run::<B>(device)
    })
}

/// Computes the known small model on a GPU; a CPU backend is not checked.
///
/// # Errors
/// As [`dispatch`].
pub(crate) fn check_device(place: Place) -> Result<()> {
    let found = place.found()?;
    match place.kind.resolved() {
        #[cfg(feature = "wgpu")]
        BackendKind::Wgpu => {
            let device = wgpu::adapters()?.swap_remove(place.device).device;
            gptneo_model::device_failure::watch(|| self_check::run::<burn_wgpu::Wgpu>(&device, &found))
        }
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => {
            let device = burn_cuda::CudaDevice::new(place.device);
            gptneo_model::device_failure::watch(|| self_check::run::<burn_cuda::Cuda>(&device, &found))
        }
        _ => Ok(()),
    }
}

/// The devices of these numbers beside `first`, of its kind, each checked as that one was.
///
/// # Errors
/// One of them computes wrongly, or nothing can move numbers between them.
pub(crate) fn further_devices<B: NeoBackend>(first: &B::Device, numbers: &[usize]) -> Result<Vec<B::Device>> {
    let kind = first.to_id().type_id;
    let name = |number: &usize| B::Device::from_id(DeviceId { type_id: kind, index_id: *number as u16 });
    let devices: Vec<B::Device> = numbers.iter().map(name).collect();
    // Several train together on CUDA alone.
    #[cfg(feature = "cuda")]
    if !numbers.is_empty() {
        cuda::check_nccl()?;
        let found = cuda::devices()?;
        devices
            .iter()
            .zip(numbers)
            .try_for_each(|(device, number)| self_check::run::<B>(device, &found[*number]))?;
    }
    Ok(devices)
}

/// Whether the backend's memory is not the program's own, so that what was written there is worth reading back.
pub(crate) fn is_gpu<B: Backend>(device: &B::Device) -> bool {
    B::name(device).contains("cubecl")
}

/// The error for a backend that this build lacks.
fn not_compiled_in(kind: BackendKind) -> anyhow::Error {
    let present: Vec<&str> = BackendKind::in_build().into_iter().map(BackendKind::name).collect();
    let name = kind.name();
    Misuse::error(format!(
        "the backend \"{name}\" is not in this build, which has: {}. Build with `cargo build --release --features \
         {name}` to add it",
        present.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Nothing;

    impl Job for Nothing {
        type Output = ();
        fn run<B: NeoBackend>(self, _: B::Device) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn names_are_those_of_the_flag() {
        for kind in BackendKind::value_variants() {
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
    }

    #[test]
    fn a_backend_of_the_build_runs_and_another_names_its_feature() {
        dispatch(Place { kind: BackendKind::cpu(), device: 0 }, Nothing).unwrap();
        if cfg!(not(feature = "cuda")) {
            let place = Place { kind: BackendKind::Cuda, device: 0 };
            let message = dispatch(place, Nothing).unwrap_err().to_string();
            assert!(message.contains("--features cuda"), "{message}");
        }
    }
}
