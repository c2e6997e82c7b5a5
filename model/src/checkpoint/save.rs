//! Writing a model folder, as safetensors, with what else transformers asks for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use burn_store::TensorSnapshot;
use gptneo_files::{FileError, write_folder};
use safetensors::tensor::TensorView;

use super::shards::{self, INDEX_FILE};
use super::{Dtype, SaveFormat, parameters};
use crate::config::CONFIG_FILE;
use crate::device::failure;
use crate::{GptNeo, ModelError};

/// Writes a model folder that transformers loads as it is: `config.json`, `generation_config.json`,
/// `model.safetensors` (or its shards and their index) and the extra files (the tokenizer's). The folder appears
/// whole or not at all.
///
/// # Errors
///
/// The model still carries an adapter (merge it first), or a file cannot be written.
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
    let mut generation = serde_json::Map::new();
    if let Some(id) = config.eos_token_id {
        generation.insert("bos_token_id".into(), id.into());
        generation.insert("eos_token_id".into(), id.into());
    }
    write_json(&path.join("generation_config.json"), &generation.into())?;
    let tensors = parameters(model);
    let size = |tensor: &TensorSnapshot| (tensor.shape.num_elements() * dtype.bytes()) as u64;
    let sizes: Vec<u64> = tensors.iter().map(size).collect();
    let files = shards::split(&sizes, max_shard_size);
    let mut places = BTreeMap::new();
    for (number, indices) in files.iter().enumerate() {
        let file = shards::name(number + 1, files.len());
        let named = indices.iter().map(|&index| (tensors[index].full_path(), &tensors[index]));
        write_tensors(&path.join(&file), named, dtype)?;
        places.extend(indices.iter().map(|&index| (tensors[index].full_path(), file.clone())));
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
    tensors: impl Iterator<Item = (String, &'a TensorSnapshot)>,
    dtype: Dtype,
) -> Result<(), ModelError> {
    let format = |reason: String| ModelError::Format { path: path.into(), reason };
    let mut data: Vec<(String, Vec<usize>, TensorData)> = Vec::new();
    for (name, tensor) in tensors {
        let values = tensor.to_data().map_err(|error| format(format!("{name}: {error}")))?;
        data.push((name, tensor.shape.to_vec(), values.convert_dtype(dtype.burn())));
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
