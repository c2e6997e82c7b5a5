//! GGUF, the one-file format of llama.cpp and its kin: written, and read back to see that it is whole.
//!
//! A file is a header, metadata (names and values), a table of tensors and their data, each tensor at a multiple of
//! [`ALIGNMENT`] bytes; all numbers are little-endian. [`write`](write()) writes version 3 of the format from a list of
//! tensors whose values it asks for one at a time, so that no more than one is held. [`Reader`] checks the whole
//! structure when it opens a file and reads tensors as float32, one at a time as well. It knows the kinds of metadata
//! and of tensors that are written here, and refuses others by name.
//!
//! The crate knows no model and no backend: what the names mean is their owner's business.
//! Source of the format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.
//!
//! ```
//! use gptneo_gguf::{Metadata, Reader, TensorInfo, TensorType, Value, write};
//! use std::io::Cursor;
//!
//! let metadata: Metadata = vec![("general.architecture".into(), Value::String("gpt2".into()))];
//! // A matrix of 2 rows and 32 columns.
//! let tensors = [TensorInfo { name: "output.weight".into(), shape: vec![2, 32], kind: TensorType::Q8_0 }];
//! let mut file = Vec::new();
//! write(&mut file, &metadata, &tensors, |_| Ok::<_, gptneo_gguf::GgufError>(vec![127.0; 64]))?;
//!
//! let mut reader = Reader::new(Cursor::new(file))?;
//! assert_eq!(*reader.metadata(), metadata);
//! assert_eq!(reader.values("output.weight")?, vec![127.0; 64]);
//! # Ok::<(), gptneo_gguf::GgufError>(())
//! ```

mod error;
mod q8_0;
mod reader;
mod tensor;
mod value;
mod writer;

pub use error::GgufError;
pub use reader::Reader;
pub use tensor::{TensorInfo, TensorType};
pub use value::{Metadata, Value};
pub use writer::write;

/// What a file begins with.
const MAGIC: [u8; 4] = *b"GGUF";
/// The version of the format.
const VERSION: u32 = 3;
/// A tensor's data begin at a multiple of so many bytes, the format's default.
pub const ALIGNMENT: u64 = 32;

/// The next multiple of [`ALIGNMENT`].
fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
