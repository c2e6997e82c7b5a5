//! Streams and events. Everything is done before it returns, so a wait is only counted.

use std::ffi::{c_int, c_uint};

use crate::SUCCESS;
use crate::counts::counts;

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(stream: *mut usize, _flags: c_uint) -> c_int {
    unsafe { stream.write(1) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(_stream: usize) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(_stream: usize, _event: usize, _flags: c_uint) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(_stream: usize) -> c_int {
    counts().host_waits += 1;
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> c_int {
    unsafe { event.write(1) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(_event: usize, _stream: usize) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(_event: usize) -> c_int {
    counts().host_waits += 1;
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(_event: usize) -> c_int {
    SUCCESS
}
