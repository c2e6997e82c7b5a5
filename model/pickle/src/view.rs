//! A tensor as a view of a storage: its shape, the step of each dimension, and where it begins; and the way from there
//! to its numbers in order.

use crate::PickleError;

/// A view that repeats its numbers (a step of zero) may have as many; a few bytes could ask for all memory otherwise.
const MOST_REPEATED: u64 = 1 << 22;
/// The most dimensions.
const MOST_DIMENSIONS: usize = 16;

/// The type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// IEEE, 64 bits.
    F64,
    /// IEEE, 32 bits.
    F32,
    /// IEEE, 16 bits.
    F16,
    /// The upper half of an IEEE number of 32 bits.
    Bf16,
    /// Anything that is no plain floating-point number: integers, truth values, complex and quantised numbers.
    Other {
        /// Its bytes.
        bytes: usize,
    },
}

impl Number {
    /// Bytes of one.
    pub fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other { bytes } => bytes,
        }
    }

    /// The type of PyTorch's storage class.
    pub(crate) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "ByteStorage" | "CharStorage" | "BoolStorage" | "QInt8Storage" | "QUInt8Storage" => {
                Self::Other { bytes: 1 }
            }
            "ShortStorage" => Self::Other { bytes: 2 },
            "IntStorage" | "QInt32Storage" => Self::Other { bytes: 4 },
            "LongStorage" | "ComplexFloatStorage" => Self::Other { bytes: 8 },
            "ComplexDoubleStorage" => Self::Other { bytes: 16 },
            _ => return None,
        })
    }

    /// The type of PyTorch's `torch.dtype`.
    pub(crate) fn of_dtype(name: &str) -> Option<Self> {
        Some(match name {
            "torch.float64" | "torch.double" => Self::F64,
            "torch.float32" | "torch.float" => Self::F32,
            "torch.float16" | "torch.half" => Self::F16,
            "torch.bfloat16" => Self::Bf16,
            "torch.uint16" => Self::Other { bytes: 2 },
            "torch.uint32" => Self::Other { bytes: 4 },
            "torch.uint64" => Self::Other { bytes: 8 },
            other if other.starts_with("torch.float8") => Self::Other { bytes: 1 },
            _ => return None,
        })
    }
}

/// A tensor of the file. Sizes, steps and the offset count numbers, not bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorView {
    number: Number,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
    /// The storage's record.
    pub(crate) key: String,
    /// The storage's bytes.
    pub(crate) storage_bytes: u64,
}

impl TensorView {
    /// A view of a storage of `storage_bytes` bytes.
    ///
    /// # Errors
    ///
    /// It reaches beyond the storage, or repeats its numbers too often.
    pub(crate) fn new(
        number: Number,
        (shape, strides, offset): (Vec<u64>, Vec<u64>, u64),
        key: String,
        storage_bytes: u64,
    ) -> Result<Self, PickleError> {
        let beyond =
            || PickleError::damaged(format!("a tensor of shape {shape:?} reaches beyond its storage"));
        if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
            let (sizes, steps) = (shape.len(), strides.len());
            return Err(PickleError::damaged(format!("a tensor has {sizes} sizes and {steps} steps")));
        }
        let held = storage_bytes / number.bytes() as u64;
        let count = shape.iter().try_fold(1u64, |count, size| count.checked_mul(*size)).ok_or_else(beyond)?;
        if count > 0 {
            let last = shape.iter().zip(&strides).try_fold(offset, |last, (size, stride)| {
                (size - 1).checked_mul(*stride).and_then(|step| last.checked_add(step))
            });
            if last.is_none_or(|last| last >= held) {
                return Err(beyond());
            }
            if count > held.max(MOST_REPEATED) {
                let what = format!("a tensor of shape {shape:?} repeats the {held} numbers that it has");
                return Err(PickleError::Limit(what));
            }
        }
        let whole = |sizes: Vec<u64>| sizes.into_iter().map(|size| usize::try_from(size).ok()).collect();
        let (Some(sizes), Some(steps), Ok(offset)) =
            (whole(shape.clone()), whole(strides), usize::try_from(offset))
        else {
            return Err(beyond());
        };
        Ok(Self { number, shape: sizes, strides: steps, offset, key, storage_bytes })
    }

    /// The type of its numbers.
    pub fn number(&self) -> Number {
        self.number
    }

    /// Its sizes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether its numbers stand in the storage in its own order, without gaps.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        })
    }

    /// Its numbers in order, the last dimension first, as little-endian bytes. `storage` has the length that the view
    /// was made for.
    pub(crate) fn gather(&self, storage: &[u8]) -> Result<Vec<u8>, PickleError> {
        let (width, count) = (self.number.bytes(), self.shape.iter().product::<usize>());
        let beyond = || PickleError::damaged("a tensor reaches beyond its storage");
        let mut bytes = Vec::new();
        let size = count.checked_mul(width).ok_or_else(beyond)?;
        bytes.try_reserve_exact(size).map_err(|_| {
            PickleError::Limit(format!("a tensor of shape {:?} takes {size} bytes of memory", self.shape))
        })?;
        if count == 0 {
            return Ok(bytes);
        }
        if self.is_contiguous() {
            let begin = self.offset.checked_mul(width).ok_or_else(beyond)?;
            bytes.extend_from_slice(storage.get(begin..begin + size).ok_or_else(beyond)?);
            return Ok(bytes);
        }
        let (inner, step) = match (self.shape.last(), self.strides.last()) {
            (Some(inner), Some(step)) => (*inner, *step),
            _ => (1, 0),
        };
        let outer = self.shape.len().saturating_sub(1);
        let mut index = vec![0; outer];
        let mut begin = self.offset;
        for _ in 0..count / inner {
            for column in 0..inner {
                let place = (begin + column * step) * width;
                bytes.extend_from_slice(storage.get(place..place + width).ok_or_else(beyond)?);
            }
            // The next row: count up the last of the outer dimensions, carry to those before it.
            for dimension in (0..outer).rev() {
                index[dimension] += 1;
                begin += self.strides[dimension];
                if index[dimension] < self.shape[dimension] {
                    break;
                }
                begin -= self.strides[dimension] * self.shape[dimension];
                index[dimension] = 0;
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn view(shape: &[u64], strides: &[u64], offset: u64, held: u64) -> Result<TensorView, PickleError> {
        let number = Number::Other { bytes: 1 };
        TensorView::new(number, (shape.to_vec(), strides.to_vec(), offset), "0".into(), held)
    }

    #[test]
    fn strides_and_offsets_are_followed() {
        let storage: Vec<u8> = (0..24).collect();
        let read = |shape: &[u64], strides: &[u64], offset| {
            view(shape, strides, offset, 24).unwrap().gather(&storage).unwrap()
        };
        assert_eq!(read(&[2, 3], &[3, 1], 6), [6, 7, 8, 9, 10, 11]);
        // A transposed view, one with gaps, one that repeats, and three dimensions out of order.
        assert_eq!(read(&[3, 2], &[1, 3], 0), [0, 3, 1, 4, 2, 5]);
        assert_eq!(read(&[2, 2], &[10, 2], 1), [1, 3, 11, 13]);
        assert_eq!(read(&[3, 2], &[0, 1], 4), [4, 5, 4, 5, 4, 5]);
        assert_eq!(read(&[2, 2, 3], &[1, 12, 2], 0), [0, 2, 4, 12, 14, 16, 1, 3, 5, 13, 15, 17]);
        assert_eq!(read(&[], &[], 5), [5]);
        assert_eq!(read(&[0, 4], &[4, 1], 99), []);
        // The step of a dimension of one number means nothing.
        assert_eq!(read(&[1, 3], &[77, 1], 2), [2, 3, 4]);
    }

    #[test]
    fn what_reaches_beyond_the_storage_is_refused() {
        view(&[2, 3], &[3, 1], 18, 24).unwrap();
        for (shape, strides, offset) in [
            (&[2, 3][..], &[3, 1][..], 19),
            (&[2, 3], &[u64::MAX, 1], 0),
            (&[u64::MAX, u64::MAX], &[1, 1], 0),
            (&[2], &[1, 1], 0),
            (&[1 << 40], &[0], 0),
            (&[1], &[1], u64::MAX),
        ] {
            assert!(view(shape, strides, offset, 24).is_err(), "{shape:?} {strides:?} {offset}");
        }
    }
}
