//! Writing a model folder, as safetensors, with what else transformers asks for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use gptneo_files::{FileError, write_folder};
use safetensors::tensor::TensorView;

use super::parameters::{Parameter, parameters};
use super::round::to_dtype;
use super::shards::{self, INDEX_FILE};
use super::{Dtype, SaveFormat};
use crate::config::CONFIG_FILE;
use crate::device::failure;
use crate::{GptNeo, ModelError};

/// The file of a model's own settings for generation.
pub const GENERATION_FILE: &str = "generation_config.json";

/// Writes a model folder that transformers loads as it is: `config.json`, `generation_config.json`,
/// `model.safetensors` (or its shards and their index) and the extra files (the tokenizer's). The folder appears
/// whole or not at all. A `generation_config.json` among the extra files is kept as it is.
///
/// # Errors
///
/// The model still carries an adapter (merge it first), a number is too large for the type, or a file cannot be
/// written.
pub fn save_model<B: Backend>(
    model: &GptNeo<B>,
    folder: &Path,
    format: impl Into<SaveFormat>,
    extra_files: &[(String, Vec<u8>)],
) -> Result<(), ModelError> {
    write_folder(folder, |path| {
        for (name, bytes) in extra_files {
            let file = path.join(name);
            std::fs::write(&file, bytes).map_err(FileError::on("write", file))?;
        }
        write_model(model, path, format)
    })
}

/// Writes the configuration and the weights of [`save_model`] into a folder that exists.
///
/// # Errors
///
/// As [`save_model`].
pub fn write_model<B: Backend>(
    model: &GptNeo<B>,
    path: &Path,
    format: impl Into<SaveFormat>,
) -> Result<(), ModelError> {
    let SaveFormat { dtype, max_shard_size } = format.into();
    if model.linears().any(|(_, _, linear)| linear.lora.is_some()) {
        return Err(ModelError::Lora(
            "the model still carries an adapter: merge it before it is saved whole".into(),
        ));
    }
    let config = model.config();
    write_json(&path.join(CONFIG_FILE), &config.to_json(dtype.torch_name()))?;
    let generation = path.join(GENERATION_FILE);
    if !generation.exists() {
        write_json(&generation, &config.generation_settings().into())?;
    }
    let tensors = parameters(model);
    let size = |tensor: &Parameter| (tensor.shape.iter().product::<usize>() * dtype.bytes()) as u64;
    let sizes: Vec<u64> = tensors.iter().map(size).collect();
    let files = shards::split(&sizes, max_shard_size);
    let mut places = BTreeMap::new();
    for (number, indices) in files.iter().enumerate() {
        let file = shards::name(number + 1, files.len());
        let named = indices.iter().map(|&index| (tensors[index].path.clone(), &tensors[index]));
        write_tensors(&path.join(&file), named, dtype)?;
        places.extend(indices.iter().map(|&index| (tensors[index].path.clone(), file.clone())));
    }
    if files.len() > 1 {
        write_json(&path.join(INDEX_FILE), &shards::index(sizes.iter().sum(), places))?;
    }
    Ok(())
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), ModelError> {
    let text = format!("{value:#}\n");
    Ok(std::fs::write(path, text).map_err(FileError::on("write", path))?)
}

/// Writes named tensors as one safetensors file that transformers and PEFT accept (`format: pt`).
pub(crate) fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (String, &'a Parameter)>,
    dtype: Dtype,
) -> Result<(), ModelError> {
    let format = |reason: String| ModelError::Format { path: path.into(), reason };
    let mut data: Vec<(String, Vec<usize>, TensorData)> = Vec::new();
    for (name, tensor) in tensors {
        let values = to_dtype(tensor.data(), dtype, &name)?;
        data.push((name, tensor.shape.clone(), values));
    }
    // Numbers of a failed device must not become a file.
    failure::check()?;
    let views = data
        .iter()
        .map(|(name, shape, values)| {
            let view = TensorView::new(dtype.file(), shape.clone(), values.as_bytes())
                .map_err(|error| format(format!("{name}: {error}")))?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, ModelError>>()?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => FileError::on("write", path)(source).into(),
        other => format(other.to_string()),
    })
}
