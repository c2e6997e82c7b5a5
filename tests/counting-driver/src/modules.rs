//! Compiled kernels and their launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, PoisonError};

use crate::SUCCESS;
use crate::counts::counts;

/// The names of the kernels; a kernel's handle is its place here, counted from 1.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(module: *mut usize, _image: *const c_void) -> c_int {
    unsafe { module.write(1) };
    counts().kernels += 1;
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(function: *mut usize, _module: usize, name: *const c_char) -> c_int {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.push(name);
    unsafe { function.write(names.len()) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(_function: usize, _attribute: c_int, _value: c_int) -> c_int {
    SUCCESS
}

/// The grid, the block, the shared memory, the stream and the arguments are what a GPU would need.
#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernel(
    function: usize,
    _grid_x: c_uint,
    _grid_y: c_uint,
    _grid_z: c_uint,
    _block_x: c_uint,
    _block_y: c_uint,
    _block_z: c_uint,
    _shared_memory: c_uint,
    _stream: usize,
    _arguments: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> c_int {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts = counts();
    counts.launches += 1;
    if let Some(name) = names.get(function.wrapping_sub(1)) {
        match counts.by_name.get_mut(name) {
            Some(launches) => *launches += 1,
            None => {
                counts.by_name.insert(name.clone(), 1);
            }
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuTensorMapEncodeTiled(map: *mut [u64; 16]) -> c_int {
    unsafe { map.write([0; 16]) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuTensorMapEncodeIm2col(map: *mut [u64; 16]) -> c_int {
    unsafe { map.write([0; 16]) };
    SUCCESS
}
