//! An adapter's folder, as PEFT writes and reads it.
//!
//! PEFT's key of an adapter matrix is `base_model.model.{path of the linear layer}.lora_A.weight` (`lora_B`).
//! Older versions of PEFT wrote the matrices as `adapter_model.bin`, which is read too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_store::TensorSnapshot;
use gptneo_files::{FileError, write_folder};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype as FileDtype;
use serde_json::{Map, Value};

use super::attach;
use super::config_file::{config_from_json, config_to_json};
use crate::checkpoint::{Dtype, read_tensors, write_tensors};
use crate::error::list_problems;
use crate::{GptNeo, LoraConfig, ModelError};

/// The adapter's settings file.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The adapter's weights.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// The weights as older versions of PEFT wrote them.
const PICKLED_FILE: &str = "adapter_model.bin";
/// Problems shown before the rest is only counted.
const PROBLEMS_SHOWN: usize = 30;

/// The adapter's matrices by PEFT's keys, A before B, layer by layer.
pub fn adapter_tensors<B: Backend>(model: &GptNeo<B>) -> Vec<(String, Param<Tensor<B, 2>>)> {
    model
        .linears()
        .filter_map(|(path, _, linear)| linear.lora.as_ref().map(|lora| (path, lora)))
        .flat_map(|(path, lora)| [(key(&path, 'A'), lora.a.clone()), (key(&path, 'B'), lora.b.clone())])
        .collect()
}

fn key(path: &str, matrix: char) -> String {
    format!("base_model.model.{path}.lora_{matrix}.weight")
}

/// Writes the adapter as PEFT does, `adapter_config.json` and `adapter_model.safetensors`, with the extra files (the
/// prompt template's); the folder appears whole or not at all. `base` is the base model's name or path, which PEFT
/// loads it onto.
///
/// # Errors
///
/// No adapter is attached, or a file cannot be written.
pub fn save_adapter<B: Backend>(
    model: &GptNeo<B>,
    config: &LoraConfig,
    base: &str,
    folder: &Path,
    extra_files: &[(String, Vec<u8>)],
) -> Result<(), ModelError> {
    write_folder(folder, |path| {
        for (name, bytes) in extra_files {
            let file = path.join(name);
            std::fs::write(&file, bytes).map_err(FileError::on("write", file))?;
        }
        write_adapter(model, config, base, path)
    })
}

/// Writes the two files of [`save_adapter`] into a folder that exists.
///
/// # Errors
///
/// As [`save_adapter`].
pub fn write_adapter<B: Backend>(
    model: &GptNeo<B>,
    config: &LoraConfig,
    base: &str,
    folder: &Path,
) -> Result<(), ModelError> {
    let tensors = adapter_tensors(model);
    if tensors.is_empty() {
        return Err(ModelError::Lora("the model carries no adapter to save".into()));
    }
    let snapshots: Vec<(String, TensorSnapshot)> = tensors
        .into_iter()
        .map(|(name, param)| {
            let snapshot = TensorSnapshot::from_float(&param.val(), vec![name.clone()], vec![], param.id);
            (name, snapshot)
        })
        .collect();
    let path = folder.join(CONFIG_FILE);
    let text = format!("{:#}\n", config_to_json(config, base));
    std::fs::write(&path, text).map_err(FileError::on("write", path))?;
    let views = snapshots.iter().map(|(name, snapshot)| (name.clone(), snapshot));
    write_tensors(&folder.join(WEIGHTS_FILE), views, Dtype::F32)
}

/// The files of an adapter's folder: the settings, and the matrices, whether or not they exist.
pub fn adapter_files(folder: &Path) -> [PathBuf; 2] {
    let (weights, pickled) = (folder.join(WEIGHTS_FILE), folder.join(PICKLED_FILE));
    let old = !weights.exists() && pickled.exists();
    [folder.join(CONFIG_FILE), if old { pickled } else { weights }]
}

/// Freezes the base and attaches the adapter of a PEFT folder.
///
/// # Errors
///
/// A missing or unreadable file, a PEFT feature that this program does not implement (named), or tensors that
/// do not fit the base: every missing, unexpected and misshapen one is named in one error.
pub fn load_adapter<B: Backend>(
    model: GptNeo<B>,
    folder: &Path,
    device: &B::Device,
) -> Result<(GptNeo<B>, LoraConfig), ModelError> {
    let paths: Vec<String> = model.linears().map(|(path, ..)| path).collect();
    let config = read_config(folder, &paths)?;
    let [_, path] = adapter_files(folder);
    let (mut found, mut problems) = read_matrices(&path)?;
    let mut model = attach(model, &config, device)?;
    for (path, _, linear) in model.linears_mut() {
        let Some(lora) = &mut linear.lora else { continue };
        for (matrix, param) in [('A', &mut lora.a), ('B', &mut lora.b)] {
            let name = key(&path, matrix);
            let expected: [usize; 2] = param.lazy_shape().dims();
            match found.remove(&name) {
                None => problems.push(format!("{name}: missing")),
                Some(data) if data.shape.to_vec() != expected => problems
                    .push(format!("{name}: expected shape {expected:?}, found {:?}", data.shape.to_vec())),
                Some(data) => {
                    let value = Tensor::from_data(data, (device, DType::F32));
                    *param = Param::initialized(param.id, value.require_grad());
                }
            }
        }
    }
    problems.extend(found.into_keys().map(|name| format!("{name}: unexpected")));
    if problems.is_empty() {
        return Ok((model, config));
    }
    problems.sort();
    Err(ModelError::Weights { path, problems: list_problems(&problems, PROBLEMS_SHOWN) })
}

/// The matrices of a file as float32, and what is wrong with those that are not numbers.
fn read_matrices(path: &Path) -> Result<(BTreeMap<String, TensorData>, Vec<String>), ModelError> {
    let mut found: BTreeMap<String, TensorData> = BTreeMap::new();
    let mut problems = Vec::new();
    if path.extension().is_some_and(|extension| extension == "bin") {
        for (name, tensor) in read_tensors(path)? {
            match tensor.to_data() {
                Ok(data) => drop(found.insert(name, data)),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        return Ok((found, problems));
    }
    let bytes = std::fs::read(path).map_err(FileError::on("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| ModelError::Format {
        path: path.into(),
        reason: format!("{error}; the file may be cut short: fetch it again"),
    })?;
    for (name, view) in file.iter() {
        match to_float32(view.dtype(), view.data(), view.shape()) {
            Some(data) => drop(found.insert(name.to_string(), data)),
            None => problems.push(format!("{name}: {:?} is not a floating-point type", view.dtype())),
        }
    }
    Ok((found, problems))
}

fn to_float32(dtype: FileDtype, bytes: &[u8], shape: &[usize]) -> Option<TensorData> {
    let values: Vec<f32> = match dtype {
        FileDtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        FileDtype::F16 => {
            bytes.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect()
        }
        FileDtype::BF16 => {
            bytes.as_chunks().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect()
        }
        _ => return None,
    };
    Some(TensorData::new(values, shape))
}

fn read_config(folder: &Path, paths: &[String]) -> Result<LoraConfig, ModelError> {
    let path = folder.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(FileError::on("read", &path))?;
    let map: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| ModelError::Format { path: path.clone(), reason: error.to_string() })?;
    config_from_json(&map, paths)
        .map_err(|problems| ModelError::Adapter { path: folder.into(), reason: problems.join("; ") })
}
