//! The files of sweeps.

#![no_main]

#[path = "../readers/sweep_file.rs"]
mod sweep_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sweep_file::read(data));
