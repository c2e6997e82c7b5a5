//! Settings files.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/hostile/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::settings(data));
