//! Streams and events. Everything is done before it returns, so a wait is only counted: whether a device would have had
//! launches to work on meanwhile, behind what is waited for, or would have stood idle.

use std::ffi::{c_int, c_uint};
use std::sync::{Mutex, PoisonError};

use crate::SUCCESS;
use crate::counts::counts;

/// The launches before each event, by its number from 1; an event may be recorded again.
static LAUNCHES_BEFORE: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// What may be done with the events.
fn events<T>(work: impl FnOnce(&mut Vec<u64>) -> T) -> T {
    work(&mut LAUNCHES_BEFORE.lock().unwrap_or_else(PoisonError::into_inner))
}

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
    let mut counts = counts();
    counts.host_waits += 1;
    counts.idle_waits += 1;
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(event: *mut usize, _flags: c_uint) -> c_int {
    let number = events(|events| {
        events.push(0);
        events.len()
    });
    unsafe { event.write(number) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: usize, _stream: usize) -> c_int {
    let launches = counts().launches;
    events(|events| events[event - 1] = launches);
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: usize) -> c_int {
    let before = events(|events| events[event - 1]);
    let mut counts = counts();
    counts.host_waits += 1;
    counts.idle_waits += u64::from(before == counts.launches);
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(_event: usize) -> c_int {
    SUCCESS
}
