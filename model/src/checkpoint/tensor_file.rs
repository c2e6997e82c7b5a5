//! A file of tensors of either kind, safetensors or PyTorch's pickles, read as float32.

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use gptneo_files::{FileError, excerpt};
use gptneo_pickle::{Entry, Number, PickleError, TorchFile};
use half::{bf16, f16};

use super::safetensors_file::SafetensorsFile;
use crate::ModelError;

#[derive(Debug)]
enum Kind {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

/// An open file of tensors.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    kind: Kind,
}

/// What stands under a name.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// A tensor of floating-point numbers, by its shape.
    Tensor(Vec<usize>),
    /// Something that is no weight, by what it is.
    Other(String),
}

impl TensorFile {
    /// Opens a file; whether it is a safetensors file goes by its name, as it does in transformers.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is damaged or of another kind.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        std::fs::File::open(path).map_err(FileError::on("read", path))?;
        let refuse = |reason: String| ModelError::Format { path: path.into(), reason };
        let kind = if path.extension().is_some_and(|extension| extension == "safetensors") {
            Kind::Safetensors(SafetensorsFile::open(path).map_err(refuse)?)
        } else {
            Kind::Torch(TorchFile::open(path).map_err(|error| torch(path, error))?)
        };
        Ok(Self { path: path.into(), kind })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything in it, by name.
    pub(crate) fn entries(&self) -> Vec<(String, Found)> {
        let tensor = |number: Number, shape: &[usize]| match number {
            Number::Other { bytes } => {
                Found::Other(format!("a tensor of {bytes}-byte numbers that are no floats"))
            }
            _ => Found::Tensor(shape.to_vec()),
        };
        match &self.kind {
            Kind::Safetensors(file) => {
                let tensors = file.tensors.iter();
                tensors.map(|(name, found)| (name.clone(), tensor(found.number, &found.shape))).collect()
            }
            Kind::Torch(file) => {
                let found = |entry: &Entry| match entry {
                    Entry::Tensor(view) => tensor(view.number(), view.shape()),
                    Entry::Other(kind) => Found::Other(kind.clone()),
                };
                file.entries().map(|(name, entry)| (name.to_string(), found(entry))).collect()
            }
        }
    }

    /// A tensor's numbers as float32.
    ///
    /// # Errors
    ///
    /// There is none of that name, the file is damaged, or a number is too large for float32.
    pub(crate) fn read(&mut self, name: &str) -> Result<TensorData, ModelError> {
        let path = self.path.as_path();
        let refuse = |reason: String| ModelError::Format { path: path.into(), reason };
        let (number, shape, bytes) = match &mut self.kind {
            Kind::Safetensors(file) => {
                let bytes = file.read(name).map_err(refuse)?;
                let found = &file.tensors[name];
                (found.number, found.shape.clone(), bytes)
            }
            Kind::Torch(file) => {
                let bytes = file.read(name).map_err(|error| torch(path, error))?;
                let view = file.tensors().find(|(found, _)| *found == name).map(|(_, view)| view);
                let view = view.ok_or_else(|| refuse(format!("it has no tensor {}", excerpt(name))))?;
                (view.number(), view.shape().to_vec(), bytes)
            }
        };
        let values =
            to_float32(number, &bytes).map_err(|reason| refuse(format!("{}: {reason}", excerpt(name))))?;
        Ok(TensorData::new(values, shape))
    }
}

fn torch(path: &Path, error: PickleError) -> ModelError {
    match error {
        PickleError::Io(error) => FileError::on("read", path)(error).into(),
        other => ModelError::Format { path: path.into(), reason: other.to_string() },
    }
}

/// Little-endian numbers as float32.
fn to_float32(number: Number, bytes: &[u8]) -> Result<Vec<f32>, String> {
    match number {
        Number::F32 => Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Number::F16 => {
            Ok(bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect())
        }
        Number::Bf16 => {
            Ok(bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect())
        }
        Number::F64 => {
            let narrow = |bytes: &[u8; 8]| {
                let (wide, narrow) = (f64::from_le_bytes(*bytes), f64::from_le_bytes(*bytes) as f32);
                let lost = wide.is_finite() && !narrow.is_finite();
                if lost { Err(format!("{wide:e} is too large for float32")) } else { Ok(narrow) }
            };
            bytes.as_chunks().0.iter().map(narrow).collect()
        }
        Number::Other { bytes } => Err(format!("its {bytes}-byte numbers are no floats")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_becomes_the_nearest_float32_and_a_larger_one_is_refused() {
        assert_eq!(to_float32(Number::F16, &[0x00, 0x3c, 0x00, 0xc0]), Ok(vec![1.0, -2.0]));
        assert_eq!(to_float32(Number::Bf16, &[0x80, 0x3f]), Ok(vec![1.0]));
        assert_eq!(to_float32(Number::F64, &0.1f64.to_le_bytes()), Ok(vec![0.1]));
        assert!(to_float32(Number::F64, &1e300f64.to_le_bytes()).is_err_and(|error| error.contains("1e300")));
        assert_eq!(to_float32(Number::F64, &f64::INFINITY.to_le_bytes()), Ok(vec![f32::INFINITY]));
    }
}
