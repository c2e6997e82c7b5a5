//! Files written and read back, laid out by hand once, and damaged in every way a reader must notice.

use std::io::Cursor;

use super::*;

fn metadata() -> Metadata {
    vec![
        ("general.architecture".into(), "gpt2".into()),
        ("gpt2.context_length".into(), 256_u32.into()),
        ("gpt2.attention.layer_norm_epsilon".into(), Value::F32(1e-5)),
        ("tokenizer.ggml.add_bos_token".into(), false.into()),
        ("tokenizer.ggml.tokens".into(), Value::Strings(vec!["a".into(), "Ġé".into(), String::new()])),
        ("tokenizer.ggml.token_type".into(), Value::I32s(vec![1, 3, -5])),
    ]
}

fn tensor(name: &str, shape: &[usize], kind: TensorType) -> TensorInfo {
    TensorInfo { name: name.into(), shape: shape.to_vec(), kind }
}

fn tensors() -> Vec<TensorInfo> {
    vec![
        tensor("token_embd.weight", &[3, 32], TensorType::Q8_0),
        tensor("output_norm.bias", &[5], TensorType::F32),
        tensor("blk.0.attn_qkv.weight", &[3, 7], TensorType::F16),
    ]
}

/// Values of some spread, the same for each call.
fn values(tensor: &TensorInfo) -> Vec<f32> {
    let count = tensor.shape.iter().product::<usize>();
    (0..count).map(|index| ((index * 37 % 101) as f32 - 50.0) / 16.0).collect()
}

fn file() -> Vec<u8> {
    let mut file = Vec::new();
    write(&mut file, &metadata(), &tensors(), |tensor| Ok::<_, GgufError>(values(tensor))).unwrap();
    file
}

fn refused(file: &[u8]) -> String {
    Reader::new(Cursor::new(file)).unwrap_err().to_string()
}

#[test]
fn what_is_written_reads_back() {
    let mut reader = Reader::new(Cursor::new(file())).unwrap();
    assert_eq!(*reader.metadata(), metadata());
    assert_eq!(reader.tensors().cloned().collect::<Vec<_>>(), tensors());
    assert_eq!(reader.value("gpt2.context_length"), Some(&Value::U32(256)));
    let [blocks, exact, half] = &tensors()[..] else { unreachable!() };
    assert_eq!(reader.values(&exact.name).unwrap(), values(exact));
    // Sixteenths up to 50 have six bits: half precision holds them.
    assert_eq!(reader.values(&half.name).unwrap(), values(half));
    for (found, expected) in reader.values(&blocks.name).unwrap().into_iter().zip(values(blocks)) {
        // Half a step of 1/127 of the largest value, and the scale's own rounding, 2^-11 of the value.
        assert!((found - expected).abs() <= 3.2 / 127.0 / 2.0 + 3.2 / 2048.0, "{found} {expected}");
    }
    assert!(reader.values("absent").unwrap_err().to_string().contains("no tensor absent"));
}

/// The layout of the specification, counted out by hand.
#[test]
fn the_bytes_are_those_of_the_specification() {
    let metadata: Metadata = vec![("a.b".into(), 7_u32.into())];
    let tensors = [tensor("t", &[2, 3], TensorType::F16), tensor("u", &[1], TensorType::F32)];
    let mut file = Vec::new();
    write(&mut file, &metadata, &tensors, |tensor| {
        Ok::<_, GgufError>(vec![1.0; tensor.shape.iter().product()])
    })
    .unwrap();
    let mut expected = b"GGUF".to_vec();
    expected.extend([3, 0, 0, 0]);
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([3, 0, 0, 0, 0, 0, 0, 0, b'a', b'.', b'b', 4, 0, 0, 0, 7, 0, 0, 0]);
    // The columns come before the rows.
    expected
        .extend([1, 0, 0, 0, 0, 0, 0, 0, b't', 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 0, 0, 0, 0, 0, 0, 0, b'u', 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0]);
    expected.resize(expected.len().next_multiple_of(32), 0);
    expected.extend([0x00, 0x3c].repeat(6));
    expected.resize(expected.len().next_multiple_of(32), 0);
    expected.extend(1.0_f32.to_le_bytes());
    expected.resize(expected.len().next_multiple_of(32), 0);
    assert_eq!(file, expected);
}

/// By hand: the scale is 127/127 = 1 (0x3c00), a half is rounded away from zero, and zeros have no scale.
#[test]
fn q8_0_rounds_halves_away_from_zero() {
    let mut block = vec![0.0; 64];
    block[..6].copy_from_slice(&[127.0, -127.0, 0.5, -0.5, 2.4, -2.6]);
    let bytes = TensorType::Q8_0.encode(&block);
    assert_eq!(bytes.len(), 68);
    assert_eq!(bytes[..8], [0x00, 0x3c, 127, 129, 1, 255, 2, 253]);
    assert!(bytes[8..].iter().all(|&byte| byte == 0));
    assert_eq!(TensorType::Q8_0.decode(&bytes)[..6], [127.0, -127.0, 1.0, -1.0, 2.0, -3.0]);
}

#[test]
fn a_file_that_is_not_whole_is_refused_wherever_it_ends() {
    let whole = file();
    for length in 0..whole.len() {
        Reader::new(Cursor::new(&whole[..length])).unwrap_err();
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(refused(&longer).contains("expected"));
    assert!(refused(b"PK\x03\x04").contains("does not begin with GGUF"));
    let mut old = whole.clone();
    old[4] = 2;
    assert!(refused(&old).contains("version is 2"));
}

#[test]
fn damaged_tables_and_unknown_kinds_are_refused_without_a_huge_allocation() {
    let whole = file();
    let at = |text: &[u8]| whole.windows(text.len()).position(|found| found == text).unwrap();
    // The kind of the first value, the length of its text, and the count of sizes, a size, the type and the offset of the
    // first tensor.
    let kind = at(b"general.architecture") + "general.architecture".len();
    let table = at(b"token_embd.weight") + "token_embd.weight".len() + 4 + 16;
    for (place, byte, word) in [
        (kind, 10, "kind 10"),
        (kind + 10, 0x7f, "ends before"),
        (table - 20, 0, "token_embd.weight has 0 sizes, expected 1 to 4"),
        (table - 20, 5, "token_embd.weight has 5 sizes"),
        (table - 16, 0, "the shape [3, 0]"),
        (table, 2, "type 2"),
        (table + 4, 32, "lies at 32"),
    ] {
        let mut damaged = whole.clone();
        damaged[place] = byte;
        let said = refused(&damaged);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn what_breaks_the_rules_is_refused_before_anything_is_written() {
    let refuse = |metadata: &Metadata, tensors: &[TensorInfo]| {
        let mut file = Vec::new();
        let none = |_: &TensorInfo| -> Result<Vec<f32>, GgufError> { unreachable!() };
        let said = write(&mut file, metadata, tensors, none).unwrap_err().to_string();
        assert!(file.is_empty());
        said
    };
    let long = "x".repeat(64);
    let said = refuse(
        &vec![("Bad Name".into(), true.into()), ("general.alignment".into(), 64_u32.into())],
        &[
            tensor("odd", &[2, 33], TensorType::Q8_0),
            tensor("none", &[0, 32], TensorType::F32),
            tensor("odd", &[1], TensorType::F32),
            tensor(&long, &[1], TensorType::F32),
        ],
    );
    for word in ["Bad Name", "general.alignment", "rows of 33", "[0, 32]", "two tensors odd", &long] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let mut file = Vec::new();
    let few = [tensor("few", &[3], TensorType::F32)];
    let said = write(&mut file, &Metadata::new(), &few, |_| Ok::<_, GgufError>(vec![1.0])).unwrap_err();
    assert!(said.to_string().contains("few has 1 values"), "{said}");
}
