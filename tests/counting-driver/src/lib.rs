//! A stand-in for NVIDIA's driver (`libcuda.so.1`), for tests on machines without a GPU: it counts what a program asks
//! of a GPU and does none of it. The memory of its device is the machine's own, copies are real, and a launch is noted
//! and forgotten. **What a program computes with it is garbage.** What it shows is real: whether every kernel compiles
//! for an architecture, how many launches, copies and waits a step takes, and how long the host needs to ask for them.
//!
//! Built as `libcounting_driver.so`, named `libcuda.so.1` in a folder of `LD_LIBRARY_PATH`. Three variables rule it:
//! `COUNTING_DRIVER_ARCHITECTURE` (75 or 90), `COUNTING_DRIVER_MEMORY`, the bytes of the GPU's memory where it is to have
//! another size, and `COUNTING_DRIVER_OUTPUT`, the file that gets the counts when the program ends. It has the functions
//! that cubecl calls, by the names and with the arguments of CUDA's driver API
//! (<https://docs.nvidia.com/cuda/cuda-driver-api/>); handles are numbers, and nothing ever fails.

#![allow(unsafe_code)]
#![allow(non_snake_case)]
// Each function is the C function of its name, documented by NVIDIA.
#![allow(missing_docs)]
#![allow(clippy::missing_safety_doc)]

mod counts;
mod device;
mod memory;
mod modules;
mod streams;

/// `CUDA_SUCCESS`, the answer to everything.
pub(crate) const SUCCESS: i32 = 0;
