//! What CUDA needs at run time, looked for before Burn does: it loads everything on a device thread and panics there.
//!
//! Kernels are compiled when they are first used, by NVRTC from sources that include CUDA's headers; so the driver
//! alone is not enough.

mod kernel_cache;
mod toolkit;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::CUdevice_attribute::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
};
use cudarc::{driver, nccl, nvrtc};

use self::toolkit::TOOLKIT;
use super::device::Device;
use super::unusable;
use crate::{Error, Result};

/// What must be done before the program starts a thread.
pub(super) fn prepare() {
    toolkit::settle_path();
}

/// The NVIDIA GPUs, by CUDA's numbers; at least one.
///
/// # Errors
/// The driver, a GPU, NVRTC or the headers are missing: the first of these that is. Or NVRTC is too new for the driver.
pub(super) fn devices() -> Result<Vec<Device>> {
    if !has_driver() {
        return Err(unusable(
            "the backend cuda needs NVIDIA's driver, but its library libcuda is not found: install the driver, so that \
             nvidia-smi shows the GPU; in a container, start it with the GPU (for Docker: the option gpus)",
        ));
    }
    let failed = |error: DriverError| {
        unusable(format!("NVIDIA's driver does not answer ({error:?}): see what nvidia-smi says"))
    };
    let count = match result::init().and_then(|()| result::device::get_count()) {
        Ok(count) if count > 0 => count,
        Ok(_) | Err(DriverError(driver::sys::CUresult::CUDA_ERROR_NO_DEVICE)) => {
            return Err(unusable(
                "NVIDIA's driver is there, but it shows no GPU: see what nvidia-smi says, and whether \
                 CUDA_VISIBLE_DEVICES hides it",
            ));
        }
        Err(error) => return Err(failed(error)),
    };
    if !toolkit::has_nvrtc() {
        return Err(unusable(format!(
            "the backend cuda compiles its kernels with NVRTC, but the library libnvrtc is not found: {TOOLKIT}, and add \
             its library folder to LD_LIBRARY_PATH"
        )));
    }
    toolkit::check_headers()?;
    let compiler = compiler_version();
    check_compiler(compiler, driver_version())?;
    let found = (0..count).map(describe).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let (devices, architectures): (Vec<Device>, Vec<(i32, i32)>) = found.into_iter().unzip();
    kernel_cache::keep(&architectures, compiler);
    Ok(devices)
}

/// Refuses several devices without what moves numbers between them.
///
/// # Errors
/// NCCL is not found under the one name that is looked for.
pub(super) fn check_nccl() -> Result<()> {
    // SAFETY: loading a library runs its initialisers; this is NVIDIA's own, which Burn loads later in any case.
    #[allow(unsafe_code)]
    let found = unsafe { nccl::sys::is_culib_present() };
    if found { Ok(()) } else { Err(no_nccl()) }
}

fn no_nccl() -> Error {
    unusable(
        "several devices exchange gradients through NCCL, but the library libnccl.so is not found. NVIDIA's packages \
         install it as libnccl.so.2: make a link to that one named libnccl.so (on Debian and Ubuntu the package \
         libnccl-dev has it), in a folder that LD_LIBRARY_PATH names; or give one device",
    )
}

/// Whether the driver's library loads.
#[allow(unsafe_code)]
fn has_driver() -> bool {
    // SAFETY: as in `check_nccl`.
    unsafe { driver::sys::is_culib_present() }
}

/// The version of CUDA that the driver supports; 0.0 where it does not tell.
#[allow(unsafe_code)]
fn driver_version() -> (i32, i32) {
    let mut version = 0;
    // SAFETY: the driver writes one integer.
    unsafe { driver::sys::cuDriverGetVersion(&mut version) };
    (version / 1000, version % 1000 / 10)
}

/// NVRTC's version; 0.0 where it does not tell.
#[allow(unsafe_code)]
fn compiler_version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: NVRTC writes two integers.
    unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) };
    (major, minor)
}

/// Refuses a compiler whose kernels the driver does not load.
fn check_compiler(compiler: (i32, i32), driver: (i32, i32)) -> Result<()> {
    if driver == (0, 0) || compiler <= driver {
        return Ok(());
    }
    Err(unusable(format!(
        "NVRTC {}.{} compiles kernels that NVIDIA's driver, which supports CUDA up to {}.{}, does not load: update the \
         driver, or {TOOLKIT}",
        compiler.0, compiler.1, driver.0, driver.1
    )))
}

/// A device and its compute capability.
#[allow(unsafe_code)]
fn describe(number: i32) -> Result<(Device, (i32, i32)), DriverError> {
    let device = result::device::get(number)?;
    // SAFETY: `device` is what the driver gave for this number.
    let (memory, major, minor) = unsafe {
        (
            result::device::total_mem(device)? as u64,
            result::device::get_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            result::device::get_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        )
    };
    let device = Device {
        name: result::device::get_name(device)?,
        kind: format!("CUDA, compute capability {major}.{minor}"),
        memory_bytes: Some(memory),
        // cubecl's memory management takes no larger page.
        largest_tensor_bytes: Some(memory / 4),
        software: false,
        f16: has_f16((major, minor)),
        bf16: has_bf16((major, minor)),
    };
    Ok((device, (major, minor)))
}

/// Whether a GPU of this compute capability computes in f16.
fn has_f16(capability: (i32, i32)) -> bool {
    capability >= (5, 3)
}

/// Whether a GPU of this compute capability computes in bf16. Older ones have the type, but no products in it: such a
/// kernel fails to compile when it is first used.
fn has_bf16(capability: (i32, i32)) -> bool {
    capability >= (8, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_compiler_newer_than_the_driver_is_refused() {
        for (compiler, driver) in [((13, 0), (13, 0)), ((12, 9), (13, 0)), ((13, 1), (0, 0))] {
            check_compiler(compiler, driver).unwrap();
        }
        let message = check_compiler((13, 1), (13, 0)).unwrap_err().to_string();
        assert!(message.contains("NVRTC 13.1") && message.contains("up to 13.0"), "{message}");
        assert!(check_compiler((13, 0), (12, 8)).is_err());
    }

    #[test]
    fn a_t4_computes_in_f16_and_not_in_bf16() {
        assert!(has_f16((7, 5)) && !has_bf16((7, 5)));
        assert!(has_f16((8, 0)) && has_bf16((8, 0)));
        assert!(!has_f16((5, 2)));
    }

    #[test]
    fn several_devices_without_nccl_are_told_which_file_is_looked_for() {
        match check_nccl() {
            Ok(()) => (), // it is installed here, under that name
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("libnccl.so is not found") && said.contains("libnccl.so.2"), "{said}");
            }
        }
    }
}
