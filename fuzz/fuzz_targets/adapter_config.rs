//! `adapter_config.json`.

#![no_main]

#[path = "../readers/adapter_config.rs"]
mod adapter_config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| adapter_config::read(data));
