//! Tensors: their place in the table, and their values as bytes.

use std::fmt;

use half::f16;

use crate::q8_0;

/// The number type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// Blocks of 32 signed bytes with a scale in half precision: 8.5 bits a value.
    Q8_0,
}

impl TensorType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8_0];

    /// The number by which a file names it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 8,
        }
    }

    /// Values that are stored together; a row is a multiple of it.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q8_0 => q8_0::BLOCK,
        }
    }

    /// Bytes of so many values, a multiple of [`TensorType::block`].
    pub fn bytes(self, values: u64) -> u64 {
        match self {
            Self::F32 => 4 * values,
            Self::F16 => 2 * values,
            Self::Q8_0 => values / q8_0::BLOCK as u64 * q8_0::BYTES as u64,
        }
    }

    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes(values.len() as u64) as usize);
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => bytes.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes())),
            Self::Q8_0 => q8_0::encode(values, &mut bytes),
        }
        bytes
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = Vec::new();
        match self {
            Self::F32 => {
                let numbers = bytes.chunks_exact(4);
                values.extend(numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
            Self::F16 => {
                values.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            Self::Q8_0 => q8_0::decode(bytes, &mut values),
        }
        values
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        })
    }
}

/// A tensor of a file, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, at most 64 bytes.
    pub name: String,
    /// Its sizes, the rows first and the columns last, as everywhere outside ggml; the file has them the other way.
    pub shape: Vec<usize>,
    /// Its number type.
    pub kind: TensorType,
}

impl TensorInfo {
    /// How many values it holds; none where the product leaves the range.
    pub(crate) fn values(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size as u64))
    }

    /// The bytes of its data. Its sizes are checked before.
    pub(crate) fn bytes(&self) -> u64 {
        self.kind.bytes(self.values().unwrap_or_default())
    }
}
