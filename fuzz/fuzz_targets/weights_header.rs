//! `model.safetensors`.

#![no_main]

#[path = "../readers/weights_header.rs"]
mod weights_header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| weights_header::read(data));
