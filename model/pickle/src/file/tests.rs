//! Files made here, byte for byte as PyTorch makes them, and with the damage that files meet.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use super::*;

/// A storage of float32 numbers.
fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The opcodes of a text.
fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn numbers(pickle: &mut Vec<u8>, numbers: &[i32]) {
    pickle.push(b'(');
    for number in numbers {
        pickle.push(b'J');
        pickle.extend(number.to_le_bytes());
    }
    pickle.push(b't');
}

/// A tensor as PyTorch's pickles rebuild it.
struct Made {
    name: &'static str,
    key: &'static str,
    held: i32,
    offset: i32,
    shape: &'static [i32],
    strides: &'static [i32],
}

const TRANSPOSED: Made =
    Made { name: "a.weight", key: "0", held: 6, offset: 0, shape: &[3, 2], strides: &[1, 3] };
const WITHIN: Made = Made { name: "b", key: "0", held: 6, offset: 4, shape: &[2], strides: &[1] };

fn pickle(tensors: &[Made]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    for Made { name, key, held, offset, shape, strides } in tensors {
        text(&mut pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(&mut pickle, key);
        text(&mut pickle, "cpu");
        pickle.push(b'J');
        pickle.extend(held.to_le_bytes());
        pickle.extend(b"tQJ");
        pickle.extend(offset.to_le_bytes());
        numbers(&mut pickle, shape);
        numbers(&mut pickle, strides);
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    pickle
}

/// A zip archive of stored records.
fn archive(records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in records {
        let header = file.len() as u32;
        let mut common = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc32fast::hash(content).to_le_bytes());
        common.extend([content.len() as u32, content.len() as u32].map(u32::to_le_bytes).as_flattened());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(content);
        directory.extend(b"PK\x01\x02\0\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (begin, count) = (file.len() as u32, records.len() as u16);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].map(u16::to_le_bytes).as_flattened());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(begin.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn whole() -> Vec<u8> {
    let storage = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let pickle = pickle(&[TRANSPOSED, WITHIN]);
    archive(&[("m/data.pkl", pickle), ("m/byteorder", b"little".to_vec()), ("m/data/0", storage)])
}

fn open(bytes: Vec<u8>) -> Result<TorchFile<Cursor<Vec<u8>>>, PickleError> {
    TorchFile::new(Cursor::new(bytes))
}

/// Why a file cannot be read, be it when it is opened or when a tensor is read.
fn refused(bytes: Vec<u8>) -> String {
    let read = open(bytes).and_then(|mut file| {
        let names: Vec<String> = file.entries().map(|(name, _)| name.to_string()).collect();
        names.iter().try_for_each(|name| file.read(name).map(drop))
    });
    read.unwrap_err().to_string()
}

#[test]
fn a_transposed_view_and_one_within_a_storage_are_read_as_they_are_seen() {
    let mut file = open(whole()).unwrap();
    let shapes: Vec<_> =
        file.tensors().map(|(name, tensor)| (name.to_string(), tensor.shape().to_vec())).collect();
    assert_eq!(shapes, [("a.weight".to_string(), vec![3, 2]), ("b".to_string(), vec![2])]);
    assert_eq!(file.read("a.weight").unwrap(), floats(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    assert_eq!(file.read("b").unwrap(), floats(&[4.0, 5.0]));
    assert!(file.read("c").unwrap_err().to_string().contains("no tensor c"));
}

#[test]
fn a_file_in_the_old_form_is_read() {
    let mut bytes =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    bytes.extend(pickle(&[TRANSPOSED, WITHIN]));
    bytes.extend(b"\x80\x02]X\x01\0\0\x000a.");
    bytes.extend(6u64.to_le_bytes());
    bytes.extend(floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    let mut file = open(bytes.clone()).unwrap();
    assert_eq!(file.read("a.weight").unwrap(), floats(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    bytes.pop();
    assert!(refused(bytes).contains("ends within a storage"));
}

#[test]
fn no_cut_file_is_read() {
    let whole = whole();
    for length in 0..whole.len() {
        refused(whole[..length].to_vec());
    }
}

#[test]
fn what_is_missing_short_or_altered_is_named() {
    let (storage, tensors) = (floats(&[0.0; 6]), pickle(&[TRANSPOSED]));
    let of = |records: &[(&str, Vec<u8>)]| refused(archive(records));
    assert!(of(&[("m/data.pkl", tensors.clone())]).contains("m/data/0 is missing"));
    let short = of(&[("m/data.pkl", tensors.clone()), ("m/data/0", storage[..20].to_vec())]);
    assert!(short.contains("20 bytes, expected 24"), "{short}");
    let big = of(&[("m/data.pkl", tensors.clone()), ("m/byteorder", b"big".to_vec())]);
    assert!(big.contains("big-endian"), "{big}");
    let beyond = Made { held: 5, ..TRANSPOSED };
    assert!(of(&[("m/data.pkl", pickle(&[beyond]))]).contains("beyond its storage"));
    let mut altered = whole();
    let place = altered.windows(4).position(|bytes| bytes == 3f32.to_le_bytes()).unwrap();
    altered[place] ^= 1;
    assert!(refused(altered).contains("checksum"));
    let twice = archive(&[("m/data.pkl", tensors.clone()), ("m/data.pkl", tensors)]);
    assert!(refused(twice).contains("twice"));
}

#[test]
fn other_kinds_of_files_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    for (bytes, word) in [
        (pointer.into(), "Git LFS"),
        (Vec::new(), "empty"),
        (b"<!DOCTYPE html>".to_vec(), "web page"),
        (b"\x80\x02N.".to_vec(), "a pickle"),
        (archive(&[("a.npy", Vec::new())]), "without a data.pkl"),
        (archive(&[("m/data.pkl", b"\x80\x02].".to_vec())]), "holds a list"),
        (archive(&[("m/data.pkl", Vec::new()), ("m/constants.pkl", Vec::new())]), "TorchScript"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(word), "{word}: {message}");
    }
    let mut state = b"\x80\x02}".to_vec();
    text(&mut state, "state_dict");
    state.extend(&pickle(&[TRANSPOSED])[2..]);
    state.pop();
    state.extend(b"s.");
    let message = refused(archive(&[("m/data.pkl", state)]));
    assert!(message.contains("under \"state_dict\""), "{message}");
}
