//! Files of `torch.save`.

#![no_main]

#[path = "../readers/pickle.rs"]
mod pickle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| pickle::read(data));
