//! A JSON array, or an object a line; packed or not.
#![no_main]

mod data_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    data_file::read("a.json", bytes);
    data_file::read("a.jsonl", bytes);
});
