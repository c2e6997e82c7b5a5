//! Plain text; packed or not.

#![no_main]

#[path = "../readers/data_file.rs"]
mod data_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    data_file::read("a.txt", data);
});
