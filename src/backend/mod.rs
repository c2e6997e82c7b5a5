//! What computes: the backends of this build, their devices, and what the machine has. No other room names a backend.
//!
//! Work that any backend can do is a [`Job`], which is generic over the backend, and [`dispatch`] runs it at the
//! [`Place`] that was asked for. The rooms around run their jobs inside the library, so that a program is compiled
//! without any of a backend's code.

mod auto;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod devices;
pub mod machine;
mod memory;
mod place;
mod registers;
mod room;
#[cfg(any(feature = "wgpu", feature = "cuda", test))]
mod self_check;
#[cfg(feature = "flex")]
mod threads;
#[cfg(feature = "wgpu")]
mod wgpu;

use std::fmt;
use std::str::FromStr;

use burn::backend::Autodiff;
use burn::tensor::backend::{Backend, Device as _, DeviceId};
use gptneo_model::NeoBackend;
use serde::{Deserialize, Serialize};

pub use self::auto::on_choice;
pub use self::device::Device;
pub(crate) use self::memory::suit_allocator;
pub use self::memory::use_whole_machine;
pub use self::place::Place;
pub use self::registers::hold_registers;
pub(crate) use self::room::smaller_batches;
pub use self::room::{Load, Work};
use crate::{Error, Remedy, Result};

/// A backend that also computes gradients.
pub(crate) type Training<B> = Autodiff<B>;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// A GPU that this build can use and that computes a known model as it should, else the fastest CPU backend
    #[default]
    Auto,
    /// NVIDIA GPUs
    Cuda,
    /// Any GPU, through Vulkan or Metal
    Wgpu,
    /// The fast CPU backend
    Flex,
    /// A second CPU backend, to compare with
    Ndarray,
}

/// The CPU backend of this build: the fast one where it is compiled in.
#[cfg(feature = "flex")]
pub type Cpu = burn_flex::Flex;
/// The CPU backend of this build: the fast one where it is compiled in.
#[cfg(all(feature = "ndarray", not(feature = "flex")))]
pub type Cpu = burn_ndarray::NdArray;

impl BackendKind {
    /// All of them, those that are not in this build too.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Cuda, Self::Wgpu, Self::Flex, Self::Ndarray];

    /// The backend that `auto` stands for in this build on this machine; the others stand for themselves.
    pub fn resolved(self) -> Self {
        match self {
            Self::Auto => auto::choice(),
            named => named,
        }
    }

    /// What `auto` will stand for if the GPU passes its check, which this does not make.
    pub fn likely_auto() -> Self {
        auto::likely()
    }

    /// The fastest CPU backend of this build.
    pub fn cpu() -> Self {
        if cfg!(feature = "flex") { Self::Flex } else { Self::Ndarray }
    }

    /// Whether it computes on the machine's processor, in the machine's memory.
    pub fn is_cpu(self) -> bool {
        matches!(self.resolved(), Self::Flex | Self::Ndarray)
    }

    /// The backends of this build, GPUs last.
    pub fn in_build() -> Vec<Self> {
        let all = [
            (Self::Flex, cfg!(feature = "flex")),
            (Self::Ndarray, cfg!(feature = "ndarray")),
            (Self::Wgpu, cfg!(feature = "wgpu")),
            (Self::Cuda, cfg!(feature = "cuda")),
        ];
        all.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind).collect()
    }

    /// Its name, in the settings file too; of all but `auto` also the cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What must be done before the program starts a thread, or works on several.
pub fn prepare() {
    #[cfg(feature = "cuda")]
    cuda::prepare();
    #[cfg(feature = "flex")]
    threads::prepare();
}

impl FromStr for BackendKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::settings(format!("there is no backend {name:?}, expected one of: {names}"), Remedy::None)
        })
    }
}

/// Work that any backend can do.
pub trait Job: Send {
    /// What comes out.
    type Output: Send;

    /// Does the work on `device`.
    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output>;
}

/// Runs `job` at a place. On a GPU a known small model is computed first, and a failure of the device ends the job.
///
/// # Errors
/// The backend is not in this build, the device cannot be used or computes wrongly, or the job fails.
pub fn dispatch<J: Job>(place: Place, job: J) -> Result<J::Output> {
    place.check()?;
    match place.kind.resolved() {
        #[cfg(feature = "flex")]
        BackendKind::Flex => on_compute_thread(|| job.run::<burn_flex::Flex>(Default::default())),
        #[cfg(feature = "ndarray")]
        BackendKind::Ndarray => job.run::<burn_ndarray::NdArray>(Default::default()),
        #[cfg(feature = "wgpu")]
        BackendKind::Wgpu => {
            let device = wgpu::adapters()?.swap_remove(place.device).device;
            on_gpu::<burn_wgpu::Wgpu, J>(job, device, &place.found()?)
        }
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => {
            on_gpu::<burn_cuda::Cuda, J>(job, burn_cuda::CudaDevice::new(place.device), &place.found()?)
        }
        #[allow(unreachable_patterns)]
        absent => Err(not_compiled_in(absent)),
    }
}

/// Runs `work` on one of the threads that compute on the CPU: they start on an operation without waking each other
/// first.
pub fn on_compute_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "flex")]
    {
        threads::prepare();
        rayon::scope(|_| work())
    }
    #[cfg(not(feature = "flex"))]
    {
        work()
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
pub fn check_device(place: Place) -> Result<()> {
    place.check()?;
    match place.kind.resolved() {
        #[cfg(feature = "wgpu")]
        BackendKind::Wgpu => {
            let found = place.found()?;
            let device = wgpu::adapters()?.swap_remove(place.device).device;
            gptneo_model::device_failure::watch(|| self_check::run::<burn_wgpu::Wgpu>(&device, &found))
        }
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => {
            let found = place.found()?;
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

/// The error of devices that cannot be used, in words that say what to do.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn unusable(what: impl Into<String>) -> Error {
    Error::device(what, Remedy::None)
}

/// The error for a backend that this build lacks.
fn not_compiled_in(kind: BackendKind) -> Error {
    let present: Vec<&str> = BackendKind::in_build().into_iter().map(BackendKind::name).collect();
    let what = format!("the backend \"{kind}\" is not in this build, which has: {}", present.join(", "));
    Error::settings(what, Remedy::Feature(kind.name()))
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
    fn a_backend_is_found_by_its_name() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.name().parse::<BackendKind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert!("metal".parse::<BackendKind>().unwrap_err().to_string().contains("wgpu"));
    }

    #[test]
    fn a_backend_of_the_build_runs_and_another_names_its_feature() {
        dispatch(Place { kind: BackendKind::cpu(), device: 0 }, Nothing).unwrap();
        if cfg!(not(feature = "cuda")) {
            let place = Place { kind: BackendKind::Cuda, device: 0 };
            let message = dispatch(place, Nothing).unwrap_err().to_string();
            assert!(message.contains("feature cuda"), "{message}");
        }
    }
}
