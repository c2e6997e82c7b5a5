//! A table, its fields apart by commas or tabs; packed or not.

#![no_main]

#[path = "../readers/data_file.rs"]
mod data_file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    data_file::read("a.csv", data);
    data_file::read("a.tsv", data);
});
