//! The device's memory, which is the machine's, and the copies to and from it.
//!
//! Pages are the system's and cost nothing before they are written: a program takes gigabytes at a time.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Mutex, PoisonError};

use crate::SUCCESS;
use crate::counts::counts;

/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: c_int = 2;
/// What is read back in pieces up to this size is the result of a computation, which is never made: losses, whether
/// gradients are finite, likeliest tokens. It reads as ones, so that a program goes the way it usually goes.
const RESULT: usize = 32;
/// A byte of such a result: a `true`, a small f32, a nonzero integer.
const ONE: u8 = 1;

/// Sizes of what is taken, by address.
static TAKEN: Mutex<Option<HashMap<u64, usize>>> = Mutex::new(None);

fn take(size: usize) -> Option<u64> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address of the system's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), size.max(1), protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return None;
    }
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    taken.get_or_insert_default().insert(address as u64, size.max(1));
    Some(address as u64)
}

/// Gives back what `take` gave; its size.
fn give_back(address: u64) -> usize {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(size) = taken.get_or_insert_default().remove(&address) else { return 0 };
    // SAFETY: the mapping was made by `take` with this size.
    unsafe { libc::munmap(address as *mut c_void, size) };
    size
}

unsafe fn allocate(pointer: *mut u64, size: usize) -> c_int {
    let Some(address) = take(size) else { return OUT_OF_MEMORY };
    unsafe { pointer.write(address) };
    let mut counts = counts();
    counts.allocations += 1;
    counts.bytes_in_use += size as u64;
    counts.most_bytes_in_use = counts.most_bytes_in_use.max(counts.bytes_in_use);
    SUCCESS
}

fn free(pointer: u64) -> c_int {
    let size = give_back(pointer) as u64;
    let mut counts = counts();
    counts.bytes_in_use = counts.bytes_in_use.saturating_sub(size);
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocAsync(pointer: *mut u64, size: usize, _stream: usize) -> c_int {
    unsafe { allocate(pointer, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(pointer: *mut u64, size: usize) -> c_int {
    unsafe { allocate(pointer, size) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(pointer: u64, _stream: usize) -> c_int {
    free(pointer)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(pointer: u64) -> c_int {
    free(pointer)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocHost_v2(pointer: *mut u64, size: usize) -> c_int {
    let Some(address) = take(size) else { return OUT_OF_MEMORY };
    unsafe { pointer.write(address) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(pointer: u64) -> c_int {
    give_back(pointer);
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, _stream: usize) -> c_int {
    unsafe { (to as *mut u8).copy_from(from, bytes) };
    to_device(bytes);
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, _stream: usize) -> c_int {
    unsafe { read(to, from as *const u8, bytes, bytes) };
    to_host(bytes);
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: usize) -> c_int {
    unsafe { (to as *mut u8).copy_from(from as *const u8, bytes) };
    SUCCESS
}

/// A side of a copy of rows: `CUDA_MEMCPY2D` has two of these.
#[repr(C)]
struct Side {
    x_bytes: usize,
    y: usize,
    kind: c_uint,
    host: u64,
    device: u64,
    array: usize,
    pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
struct Rows {
    from: Side,
    to: Side,
    width: usize,
    height: usize,
}

/// `CU_MEMORYTYPE_HOST`.
const HOST: c_uint = 1;

impl Side {
    fn start(&self) -> u64 {
        let base = if self.kind == HOST { self.host } else { self.device };
        base + (self.y * self.pitch + self.x_bytes) as u64
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpy2DAsync_v2(rows: *const Rows, _stream: usize) -> c_int {
    let Rows { from, to, width, height } = unsafe { &*rows };
    let bytes = width * height;
    for row in 0..*height {
        let (source, target) =
            (from.start() + (row * from.pitch) as u64, to.start() + (row * to.pitch) as u64);
        match to.kind {
            HOST => unsafe { read(target as *mut u8, source as *const u8, *width, bytes) },
            _ => unsafe { (target as *mut u8).copy_from(source as *const u8, *width) },
        }
    }
    if to.kind == HOST {
        to_host(bytes)
    } else {
        to_device(bytes)
    }
    SUCCESS
}

/// Copies a part of what is read back, of `whole` bytes in all.
unsafe fn read(to: *mut u8, from: *const u8, bytes: usize, whole: usize) {
    if whole <= RESULT {
        unsafe { to.write_bytes(ONE, bytes) };
    } else {
        unsafe { to.copy_from(from, bytes) };
    }
}

fn to_device(bytes: usize) {
    let mut counts = counts();
    counts.copies_to_device += 1;
    counts.bytes_to_device += bytes as u64;
}

fn to_host(bytes: usize) {
    let mut counts = counts();
    counts.copies_to_host += 1;
    counts.bytes_to_host += bytes as u64;
}
