//! Writing a file, front to back.

use std::collections::HashSet;
use std::io::Write;

use crate::value::kind;
use crate::{ALIGNMENT, GgufError, MAGIC, Metadata, TensorInfo, VERSION, Value, aligned};

/// The longest name of a tensor, in bytes; ggml's own buffer for it has 64, one of which ends it.
const LONGEST_NAME: usize = 63;
/// The most sizes of a tensor.
const MOST_SIZES: usize = 4;

/// Writes a whole file: `values` gives each tensor's values, row by row, in the order of `tensors`.
///
/// # Errors
/// A name or a shape that the format does not allow, before anything is written; values that are not as many as their
/// tensor has; what `values` says, or a failed write.
pub fn write<E: From<GgufError>>(
    out: &mut impl Write,
    metadata: &Metadata,
    tensors: &[TensorInfo],
    mut values: impl FnMut(&TensorInfo) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    check(metadata, tensors)?;
    let front = front(metadata, tensors);
    put(out, &front)?;
    for tensor in tensors {
        let values = values(tensor)?;
        if Some(values.len() as u64) != tensor.values() {
            let TensorInfo { name, shape, .. } = tensor;
            let found = values.len();
            return Err(
                GgufError::Unfit(format!("{name} has {found} values, expected shape {shape:?}")).into()
            );
        }
        let mut bytes = tensor.kind.encode(&values);
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
        put(out, &bytes)?;
    }
    Ok(())
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<(), GgufError> {
    Ok(out.write_all(bytes)?)
}

/// All that comes before the data, padded to where they begin.
fn front(metadata: &Metadata, tensors: &[TensorInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (name, value) in metadata {
        string(&mut out, name);
        self::value(&mut out, value);
    }
    let mut offset = 0;
    for tensor in tensors {
        string(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        // The size along which values are neighbours comes first.
        tensor.shape.iter().rev().for_each(|size| out.extend((*size as u64).to_le_bytes()));
        out.extend(tensor.kind.number().to_le_bytes());
        out.extend(u64::to_le_bytes(offset));
        offset += aligned(tensor.bytes());
    }
    out.resize(aligned(out.len() as u64) as usize, 0);
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn value(out: &mut Vec<u8>, value: &Value) {
    let array = |out: &mut Vec<u8>, element: u32, length: usize| {
        out.extend(kind::ARRAY.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend((length as u64).to_le_bytes());
    };
    match value {
        Value::U32(number) => {
            out.extend(kind::U32.to_le_bytes());
            out.extend(number.to_le_bytes());
        }
        Value::F32(number) => {
            out.extend(kind::F32.to_le_bytes());
            out.extend(number.to_le_bytes());
        }
        Value::Bool(switch) => {
            out.extend(kind::BOOL.to_le_bytes());
            out.push(u8::from(*switch));
        }
        Value::String(text) => {
            out.extend(kind::STRING.to_le_bytes());
            string(out, text);
        }
        Value::Strings(texts) => {
            array(out, kind::STRING, texts.len());
            texts.iter().for_each(|text| string(out, text));
        }
        Value::I32s(numbers) => {
            array(out, kind::I32, numbers.len());
            numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
        }
    }
}

/// Refuses all that breaks the format's rules, at once.
fn check(metadata: &Metadata, tensors: &[TensorInfo]) -> Result<(), GgufError> {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for (name, value) in metadata {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
        if name.is_empty() || name.len() > usize::from(u16::MAX) || !name.chars().all(plain) {
            problems
                .push(format!("the name {name:?} in the metadata is not of small letters, digits, _ and ."));
        }
        if !names.insert(name) {
            problems.push(format!("the metadata have {name} twice"));
        }
        // Readers take the alignment from here, and the offsets are of the default.
        if name == "general.alignment" && *value != Value::U32(ALIGNMENT as u32) {
            problems.push(format!("general.alignment is not {ALIGNMENT}"));
        }
    }
    names.clear();
    for tensor in tensors {
        let TensorInfo { name, shape, kind } = tensor;
        if name.is_empty() || name.len() > LONGEST_NAME {
            problems.push(format!("the name {name:?} of a tensor is not of 1 to {LONGEST_NAME} bytes"));
        }
        if !names.insert(name) {
            problems.push(format!("there are two tensors {name}"));
        }
        let columns = shape.last().copied().unwrap_or_default();
        if shape.is_empty() || shape.len() > MOST_SIZES || tensor.values().is_none_or(|values| values == 0) {
            problems
                .push(format!("{name} has the shape {shape:?}, expected 1 to {MOST_SIZES} sizes above zero"));
        } else if !columns.is_multiple_of(kind.block()) {
            let block = kind.block();
            problems.push(format!("{name} has rows of {columns}, but {kind} needs multiples of {block}"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(GgufError::Unfit(problems.join("; "))) }
}
