//! `model.safetensors.index.json`.

#![no_main]

#[path = "../readers/weights_index.rs"]
mod weights_index;

libfuzzer_sys::fuzz_target!(|data: &[u8]| weights_index::read(data));
