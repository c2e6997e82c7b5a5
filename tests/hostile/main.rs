//! The fuzz targets' corpus, and cheap mutations of it, through the readers: a quick look at what `cargo fuzz` looks at
//! for longer.

#![allow(clippy::unwrap_used)]

mod readers;

use std::path::Path;

/// Mutations of each file of the corpus.
const MUTATIONS: u64 = 250;

/// Numbers that differ from each other: SplitMix64.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33) as usize % bound.max(1)
    }
}

/// The bytes with a fault or a few.
fn mutated(bytes: &[u8], seed: u64) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"null",
        b"\"",
        b"[[[[[[[[",
        b"{}",
        b"\x1b[2J",
        b"nan",
        b"\n",
        b"=",
        b",",
    ];
    let (mut bytes, mut random) = (bytes.to_vec(), random(seed));
    for _ in 0..=random(3) {
        let at = random(bytes.len());
        match random(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random(8),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, PIECES[random(PIECES.len())].iter().copied())),
            3 => {
                let end = (at + random(12)).min(bytes.len());
                drop(bytes.splice(at..end, PIECES[random(PIECES.len())].iter().copied()));
            }
            4 => drop(bytes.splice(at..at, std::iter::repeat_n(b'x', random(2000)))),
            _ => {
                let end = (at + random(60)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
    bytes
}

fn through(target: &str, reader: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        reader(&bytes);
        (0..MUTATIONS).for_each(|seed| reader(&mutated(&bytes, seed)));
        files += 1;
    }
    assert!(files > 3, "{target} has a corpus");
}

#[test]
fn settings_are_read_or_refused_in_plain_words() {
    through("settings", readers::settings);
}

#[test]
fn a_runs_files_are_read_or_refused_in_plain_words() {
    through("run_folder", readers::run_folder);
}
