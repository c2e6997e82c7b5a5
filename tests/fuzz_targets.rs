//! The readers' fuzz targets (`fuzz/readers`) on their corpus and on changes of it that come from fixed seeds: what the
//! nightly compiler searches by hand for hours, every build asks for some seconds.
#![allow(clippy::unwrap_used)]

use std::panic::catch_unwind;
use std::path::Path;

#[path = "../fuzz/readers/adapter_config.rs"]
mod adapter_config;
#[path = "../fuzz/readers/exam.rs"]
mod exam;
#[path = "../fuzz/readers/gguf.rs"]
mod gguf;
#[path = "../fuzz/readers/model_config.rs"]
mod model_config;
#[path = "../fuzz/readers/pickle.rs"]
mod pickle;
#[path = "../fuzz/readers/sweep_file.rs"]
mod sweep_file;
#[path = "../fuzz/readers/tokenizer_folder.rs"]
mod tokenizer_folder;
#[path = "../fuzz/readers/weights_header.rs"]
mod weights_header;
#[path = "../fuzz/readers/weights_index.rs"]
mod weights_index;

/// Changes of each file of a corpus; `GPTNEO_FUZZ_CHANGES` asks for others.
const CHANGES: u64 = 150;

/// Numbers from a seed (Steele, Lea and Flood 2014, SplitMix).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// What bytes are replaced by: the ends of ranges, and what opens and closes things.
const PIECES: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"1e999",
    b"null",
    b"{}",
    b"[]",
    b"\"",
    b"\\u0000",
    b"(",
    b".",
    b"true",
];

fn changed(file: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + numbers.below(4) {
        let (place, length) = (numbers.below(bytes.len()), numbers.below(12));
        let end = (place + length).min(bytes.len());
        match numbers.below(6) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << numbers.below(8),
            1 => bytes.truncate(place),
            2 => drop(bytes.drain(place..end)),
            3 => drop(bytes.splice(place..end, PIECES[numbers.below(PIECES.len())].iter().copied())),
            4 => drop(bytes.splice(
                place..place,
                file[numbers.below(file.len())..].iter().copied().take(40).collect::<Vec<_>>(),
            )),
            _ => {
                let digit = bytes.iter().skip(place).position(u8::is_ascii_digit).map(|found| place + found);
                if let Some(place) = digit {
                    bytes.splice(place..=place, PIECES[4 + numbers.below(4)].iter().copied());
                }
            }
        }
    }
    bytes
}

/// Runs a target on its corpus and on changes of it.
fn run(target: &str, read: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let changes =
        std::env::var("GPTNEO_FUZZ_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(CHANGES);
    let mut files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let file = std::fs::read(&path).unwrap();
        read(&file);
        for seed in 0..changes {
            let bytes = changed(&file, &mut Numbers(seed));
            let begun = std::time::Instant::now();
            let done = catch_unwind(|| read(&bytes));
            assert!(done.is_ok(), "change {seed} of {}", path.display());
            assert!(begun.elapsed().as_secs() < 10, "change {seed} of {} takes long", path.display());
        }
    }
}

#[test]
fn adapter_configs_are_read_or_refused() {
    run("adapter_config", adapter_config::read);
}

#[test]
fn model_configs_are_read_or_refused() {
    run("model_config", model_config::read);
}

#[test]
fn exams_are_read_or_refused() {
    run("exam", exam::read);
}

#[test]
fn gguf_files_are_read_or_refused() {
    run("gguf", gguf::read);
}

#[test]
fn files_of_sweeps_are_read_or_refused() {
    run("sweep_file", sweep_file::read);
}

#[test]
fn pickles_are_read_or_refused() {
    run("pickle", pickle::read);
}

#[test]
fn tokenizer_folders_are_read_or_refused() {
    run("tokenizer_folder", tokenizer_folder::read);
}

#[test]
fn headers_of_weights_are_read_or_refused() {
    run("weights_header", weights_header::read);
}

#[test]
fn indexes_of_weights_are_read_or_refused() {
    run("weights_index", weights_index::read);
}
