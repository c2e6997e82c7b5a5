//! `config.json`.

#![no_main]

#[path = "../readers/model_config.rs"]
mod model_config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| model_config::read(data));
