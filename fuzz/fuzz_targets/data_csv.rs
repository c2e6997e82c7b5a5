//! A table, its fields apart by commas or tabs; packed or not.
#![no_main]

mod data_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    data_file::read("a.csv", bytes);
    data_file::read("a.tsv", bytes);
});
