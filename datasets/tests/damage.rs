//! Every reader on the files of the fuzzers' corpus, whole and damaged in a few thousand ways: there is data or one
//! message that a person can read, never a panic.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use gptneo_datasets::{DataOptions, DataSize, OnBadRecord, read_data};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How often each file is damaged.
const TIMES: usize = 100;
/// What syntax turns on.
const PIECES: [&[u8]; 12] =
    [b"\"", b"{", b"}", b"[", b"]", b",", b"\n", b"\\", b"\0", b"\x1b", b"\xff", b"<|endoftext|>"];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn damaged(bytes: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let place = random.random_range(0..bytes.len());
        let end = random.random_range(place..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[place] ^= 1 << random.random_range(0..8),
            1 => bytes[place] = random.random(),
            2 => bytes.truncate(place),
            3 => _ = bytes.drain(place..end),
            4 => {
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                bytes.splice(place..place, piece.iter().copied());
            }
        }
    }
    bytes
}

/// What a message of the file `name` in `folder` may be.
fn check(message: &str, folder: &Path, name: &str) {
    // The folder's name is drawn at random: it may have any word in it.
    let message = &message.replace(&*folder.to_string_lossy(), "");
    assert!(message.contains(name) && message.len() < 1 << 13, "{message}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!message.contains(control), "{message:?}");
    for word in ["usize", "Some(", "Shape", "u8", "invalid type"] {
        assert!(!message.contains(word), "{word}: {message}");
    }
}

fn read_damaged(target: &str, ending: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let name = format!("file.{ending}");
    let path = folder.path().join(&name);
    let options = |bad_records| DataOptions {
        bad_records,
        max_data_size: DataSize::of_bytes(1 << 22),
        ..DataOptions::default()
    };
    for (seed, whole) in corpus(target) {
        for time in 0..TIMES {
            let bytes = if time == 0 { whole.clone() } else { damaged(&whole, &mut random) };
            std::fs::write(&path, &bytes).unwrap();
            for on_bad in OnBadRecord::ALL {
                match read_data(std::slice::from_ref(&path), &options(on_bad)) {
                    Ok(data) => assert!(data.records.len() + data.documents.len() > 0),
                    Err(error) => check(&error.to_string(), folder.path(), &name),
                }
            }
        }
        assert!(seed.exists());
    }
}

#[test]
fn json() {
    read_damaged("data_json", "json");
    read_damaged("data_json", "jsonl");
}

#[test]
fn tables() {
    read_damaged("data_csv", "csv");
    read_damaged("data_csv", "tsv");
}

#[test]
fn parquet() {
    read_damaged("data_parquet", "parquet");
}

#[test]
fn text() {
    read_damaged("data_text", "txt");
}

/// What each file of the corpus holds as it is.
#[test]
fn the_corpus_is_read_whole() {
    let records = |target: &str, ending: &str| -> Vec<usize> {
        let folder = tempfile::tempdir().unwrap();
        let read = |(_, bytes): (PathBuf, Vec<u8>)| {
            let path = folder.path().join(format!("file.{ending}"));
            std::fs::write(&path, bytes).unwrap();
            read_data(&[path], &DataOptions::default())
                .map_or(0, |data| data.records.len() + data.documents.len())
        };
        corpus(target).into_iter().map(read).collect()
    };
    // In the order of their names; the pointer of Git LFS holds none, and tabs are no commas. A dictionary that says it has
    // a thousand million values is refused before room is made for them.
    assert_eq!(records("data_json", "json"), [2, 2, 2, 2, 2, 0, 2]);
    assert_eq!(records("data_csv", "csv"), [1, 2, 2, 0]);
    assert_eq!(records("data_parquet", "parquet"), [6, 0, 6, 6, 1, 2, 6, 1, 6, 6, 6]);
    assert_eq!(records("data_text", "txt"), [2, 2, 2]);
}
