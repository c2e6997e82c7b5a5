//! The one device: a T4 or an H100, by the attributes that a program asks for.

use std::ffi::{c_char, c_int};
use std::sync::OnceLock;

use crate::SUCCESS;
use crate::counts::write_at_exit;

/// `CUresult`s that a program may ask the name of; none but success is ever given.
const NAME: &[u8] = b"CUDA_SUCCESS\0";
/// CUDA 13.0, as `cuDriverGetVersion` writes it.
const VERSION: c_int = 13_000;

/// What differs between the two devices.
struct Device {
    name: &'static str,
    capability: (c_int, c_int),
    memory: usize,
    multiprocessors: c_int,
    /// The most shared memory of a block, where it asks for it.
    shared_memory: c_int,
}

const T4: Device = Device {
    name: "counting driver as Tesla T4",
    capability: (7, 5),
    memory: 15_828_320_256,
    multiprocessors: 40,
    shared_memory: 65_536,
};
const H100: Device = Device {
    name: "counting driver as H100",
    capability: (9, 0),
    memory: 85_029_158_912,
    multiprocessors: 132,
    shared_memory: 232_448,
};

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let usual = match std::env::var("COUNTING_DRIVER_ARCHITECTURE").as_deref() {
            Ok("90") => H100,
            _ => T4,
        };
        let memory = std::env::var("COUNTING_DRIVER_MEMORY").ok().and_then(|bytes| bytes.parse().ok());
        Device { memory: memory.unwrap_or(usual.memory), ..usual }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: u32) -> c_int {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(write_at_exit);
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> c_int {
    unsafe { version.write(VERSION) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> c_int {
    unsafe { count.write(1) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_int {
    unsafe { device.write(ordinal) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) -> c_int {
    let text = device().name.as_bytes();
    let count = text.len().min((length.max(1) - 1) as usize);
    unsafe {
        name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), count);
        name.add(count).write(0);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> c_int {
    unsafe { bytes.write(device().memory) };
    SUCCESS
}

/// The numbers are those of `CUdevice_attribute`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) -> c_int {
    let found = match attribute {
        // The most threads of a block, and its extent.
        1..=3 => 1024,
        4 => 64,
        // The grid's extent.
        5 => c_int::MAX,
        6 | 7 => 65_535,
        // Threads of a warp.
        10 => 32,
        16 => device().multiprocessors,
        75 => device().capability.0,
        76 => device().capability.1,
        97 => device().shared_memory,
        // Memory pools are there, and whatever else is asked.
        _ => 1,
    };
    unsafe { value.write(found) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, _device: c_int) -> c_int {
    unsafe { context.write(1) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(_context: usize) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(_error: c_int, name: *mut *const u8) -> c_int {
    unsafe { name.write(NAME.as_ptr()) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(_error: c_int, text: *mut *const u8) -> c_int {
    unsafe { text.write(NAME.as_ptr()) };
    SUCCESS
}

/// NVRTC asks the driver for tables of its own; there are none.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetExportTable(table: *mut usize, _id: *const u8) -> c_int {
    /// `CUDA_ERROR_NOT_FOUND`.
    const NOT_FOUND: c_int = 500;
    unsafe { table.write(0) };
    NOT_FOUND
}
