//! Plain text; packed or not.
#![no_main]

mod data_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| data_file::read("a.txt", bytes));
