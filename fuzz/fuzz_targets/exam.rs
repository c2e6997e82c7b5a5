//! Multiple-choice questions.

#![no_main]

#[path = "../readers/exam.rs"]
mod exam;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exam::read(data));
