//! A tokenizer's files.

#![no_main]

#[path = "../readers/tokenizer_folder.rs"]
mod tokenizer_folder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| tokenizer_folder::read(data));
