//! A JSON array, or an object a line; packed or not.

#![no_main]

#[path = "../readers/data_file.rs"]
mod data_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    data_file::read("a.json", data);
    data_file::read("a.jsonl", data);
});
