//! The tensors of a file that PyTorch's `torch.save` wrote: weights as `pytorch_model.bin` and `adapter_model.bin` hold
//! them.
//!
//! Such a file is a pickle, a small program that builds Python objects, with the numbers beside it. The program is read
//! by a machine that can build plain values and tensors and nothing else: whatever else it asks for becomes a name.
//! Everything is checked and nothing is made up: a storage that is missing, short or altered (by the archive's checksum)
//! is an error, a tensor's offset and strides are followed, and what a file may ask for in memory is bounded.
//!
//! | written by | form |
//! |---|---|
//! | PyTorch 1.6 and later | a zip archive: `NAME/data.pkl`, and a record `NAME/data/KEY` for each storage |
//! | before, or with `_use_new_zipfile_serialization=False` | pickles one after the other, then the storages; no checksums |
//!
//! ```no_run
//! let mut file = gptneo_pickle::TorchFile::open("pytorch_model.bin".as_ref())?;
//! for (name, tensor) in file.tensors() {
//!     println!("{name}: {:?}", tensor.shape());
//! }
//! let numbers: Vec<u8> = file.read("lm_head.weight")?;
//! # Ok::<(), gptneo_pickle::PickleError>(())
//! ```

mod archive;
mod error;
mod file;
mod legacy;
mod machine;
mod rebuild;
mod value;
mod view;

pub use error::PickleError;
pub use file::{Entry, TorchFile};
pub use view::{Number, TensorView};
