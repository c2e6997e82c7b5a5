//! What CUDA needs at run time, looked for before Burn does: it loads everything on a device thread and panics there.
//!
//! Kernels are compiled when they are first used, by NVRTC from sources that include CUDA's headers; so the driver
//! alone is not enough.

use std::path::Path;

use anyhow::{Result, anyhow};
use cubecl_cuda::install::cuda_path;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::CUdevice_attribute::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
};
use cudarc::{driver, nvrtc};

use super::device::Device;

/// The headers that every kernel or every kernel in half precision includes.
const HEADERS: [&str; 3] = ["cuda_runtime.h", "cuda_fp16.h", "cuda_bf16.h"];
/// Where the toolkit comes from.
const TOOLKIT: &str = "install the CUDA toolkit (https://developer.nvidia.com/cuda-downloads), of a version that the \
                       driver supports: the upper right corner of nvidia-smi names it";

/// The NVIDIA GPUs, by CUDA's numbers; at least one.
///
/// # Errors
/// The driver, a GPU, NVRTC or the headers are missing: the first of these that is.
pub(super) fn devices() -> Result<Vec<Device>> {
    let (has_driver, has_nvrtc) = libraries();
    if !has_driver {
        return Err(anyhow!(
            "--backend cuda needs NVIDIA's driver, but its library libcuda is not found: install the driver, so that \
             nvidia-smi shows the GPU; in a container, start it with the GPU (docker run --gpus all)"
        ));
    }
    let failed =
        |error: DriverError| anyhow!("NVIDIA's driver does not answer ({error:?}): see what nvidia-smi says");
    let count = match result::init().and_then(|()| result::device::get_count()) {
        Ok(count) if count > 0 => count,
        Ok(_) | Err(DriverError(driver::sys::CUresult::CUDA_ERROR_NO_DEVICE)) => {
            return Err(anyhow!(
                "NVIDIA's driver is there, but it shows no GPU: see what nvidia-smi says, and whether \
                 CUDA_VISIBLE_DEVICES hides it"
            ));
        }
        Err(error) => return Err(failed(error)),
    };
    if !has_nvrtc {
        return Err(anyhow!(
            "--backend cuda compiles its kernels with NVRTC, but the library libnvrtc is not found: {TOOLKIT}, and add \
             its library folder to LD_LIBRARY_PATH"
        ));
    }
    check_headers(cuda_path().as_deref())?;
    (0..count).map(|number| describe(number).map_err(failed)).collect()
}

/// Whether the libraries of the driver and of NVRTC load.
#[allow(unsafe_code)]
fn libraries() -> (bool, bool) {
    // SAFETY: loading a library runs its initialisers; these are NVIDIA's own, which Burn loads later in any case.
    unsafe { (driver::sys::is_culib_present(), nvrtc::sys::is_culib_present()) }
}

/// Looks for the headers where the kernels' compiler will: in the toolkit at `root`.
fn check_headers(root: Option<&Path>) -> Result<()> {
    let Some(root) = root else {
        return Err(anyhow!(
            "--backend cuda compiles its kernels with CUDA's headers, but no toolkit is found: {TOOLKIT}, and set \
             CUDA_PATH to its folder"
        ));
    };
    let include = root.join("include");
    match HEADERS.iter().find(|header| !include.join(header).is_file()) {
        None => Ok(()),
        Some(header) => Err(anyhow!(
            "--backend cuda compiles its kernels with CUDA's headers, but {} is not there: {TOOLKIT}, and set CUDA_PATH \
             to the folder that has include/{header}",
            include.join(header).display()
        )),
    }
}

#[allow(unsafe_code)]
fn describe(number: i32) -> Result<Device, DriverError> {
    let device = result::device::get(number)?;
    // SAFETY: `device` is what the driver gave for this number.
    let (memory, major, minor) = unsafe {
        (
            result::device::total_mem(device)? as u64,
            result::device::get_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            result::device::get_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        )
    };
    Ok(Device {
        name: result::device::get_name(device)?,
        kind: format!("CUDA, compute capability {major}.{minor}"),
        memory_bytes: Some(memory),
        // cubecl's memory management takes no larger page.
        largest_tensor_bytes: Some(memory / 4),
        f16: (major, minor) >= (5, 3),
        bf16: major >= 8,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_header_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let none = check_headers(None).unwrap_err().to_string();
        assert!(none.contains("CUDA_PATH") && none.contains("toolkit"), "{none}");
        std::fs::create_dir(folder.path().join("include")).unwrap();
        for header in HEADERS {
            let message = check_headers(Some(folder.path())).unwrap_err().to_string();
            assert!(message.contains(&format!("include/{header}")), "{message}");
            std::fs::write(folder.path().join("include").join(header), "").unwrap();
        }
        check_headers(Some(folder.path())).unwrap();
    }
}
