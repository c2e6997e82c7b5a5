//! GGUF files.

#![no_main]

#[path = "../readers/gguf.rs"]
mod gguf;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gguf::read(data));
