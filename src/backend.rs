//! The backends that the program was built with. No other file names one.
//!
//! A command puts its work into a [`Job`], which is generic over the backend, and [`dispatch`] runs it on the one
//! that was asked for.

use anyhow::Result;
use burn::backend::Autodiff;
use clap::ValueEnum;
use gptneo_model::{NeoBackend, WeightFormat};
use serde::{Deserialize, Serialize};

use crate::failure::Misuse;

/// A backend that also computes gradients.
pub(crate) type Training<B> = Autodiff<B>;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendKind {
    /// The fastest CPU backend of this build
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
    /// The backend that `auto` stands for in this build; the others stand for themselves.
    pub(crate) fn resolved(self) -> Self {
        match self {
            Self::Auto if cfg!(feature = "flex") => Self::Flex,
            Self::Auto => Self::Ndarray,
            named => named,
        }
    }

    /// Refuses a format of weights that only the CPU backend flex computes with.
    ///
    /// # Errors
    /// The backend is another one.
    pub(crate) fn check_weights(self, format: WeightFormat) -> Result<()> {
        if format == WeightFormat::F32 || self.resolved() == Self::Flex {
            return Ok(());
        }
        let name = self.resolved().name();
        Err(Misuse::error(format!(
            "--weights other than f32 are for the backend flex, but {name} was asked for: leave one of them out"
        )))
    }

    /// Says on standard error where half precision costs time instead of saving it.
    pub(crate) fn warn_of_slow(self, precision: Precision) {
        if precision != Precision::F32 && self.resolved() == Self::Flex {
            eprintln!(
                "the CPU backend flex computes half precision slowly, with f32 instructions: --precision f32 is the \
                 faster choice here"
            );
        }
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

/// Work that any backend can do.
pub(crate) trait Job: Send {
    /// What comes out.
    type Output: Send;

    /// Does the work on `device`.
    fn run<B: NeoBackend>(self, device: B::Device) -> Result<Self::Output>;
}

/// Runs `job` on the default device of a backend.
///
/// # Errors
/// The backend is not in this build, or the job fails.
pub(crate) fn dispatch<J: Job>(kind: BackendKind, job: J) -> Result<J::Output> {
    match kind.resolved() {
        #[cfg(feature = "flex")]
        // On one of the threads that compute: they start on an operation without waking each other first.
        BackendKind::Flex => rayon::scope(|_| on_default_device::<burn_flex::Flex, J>(job)),
        #[cfg(feature = "ndarray")]
        BackendKind::Ndarray => on_default_device::<burn_ndarray::NdArray, J>(job),
        #[cfg(feature = "wgpu")]
        BackendKind::Wgpu => on_default_device::<burn_wgpu::Wgpu, J>(job),
        #[cfg(feature = "cuda")]
        BackendKind::Cuda => on_default_device::<burn_cuda::Cuda, J>(job),
        #[allow(unreachable_patterns)]
        absent => Err(not_compiled_in(absent)),
    }
}

fn on_default_device<B: NeoBackend, J: Job>(job: J) -> Result<J::Output> {
    job.run::<B>(B::Device::default())
}

/// The error for a backend that this build lacks.
fn not_compiled_in(kind: BackendKind) -> anyhow::Error {
    let present = [
        ("flex", cfg!(feature = "flex")),
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
    ];
    let present: Vec<&str> = present.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
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
        dispatch(BackendKind::Auto, Nothing).unwrap();
        if cfg!(not(feature = "cuda")) {
            let message = dispatch(BackendKind::Cuda, Nothing).unwrap_err().to_string();
            assert!(message.contains("--features cuda"), "{message}");
        }
    }
}
