//! Reading a model folder, in any of the formats that its weights may be in, as float32.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_store::pytorch::PytorchStore;
use burn_store::{ApplyError, ModuleSnapshot, ModuleStore, SafetensorsStore, TensorSnapshot};
use gptneo_files::FileError;
use serde::Deserialize;

use super::parameters;
use super::shards::{INDEX_FILE, WHOLE_FILE};
use crate::error::list_problems;
use crate::{GptNeo, GptNeoConfig, ModelError, WeightFormat};

/// Problems shown before the rest is only counted.
const PROBLEMS_SHOWN: usize = 30;

/// The weight files of a folder, the best format first.
///
/// # Errors
///
/// None of the known files is there, or an index names no shard.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let whole = folder.join(WHOLE_FILE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    for index in [INDEX_FILE, "pytorch_model.bin.index.json"] {
        let index = folder.join(index);
        if index.is_file() {
            return shards(&index);
        }
    }
    let pickle = folder.join("pytorch_model.bin");
    if pickle.is_file() { Ok(vec![pickle]) } else { Err(ModelError::NoWeights { path: folder.into() }) }
}

fn shards(index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(FileError::on("read", index))?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|error| ModelError::Format { path: index.into(), reason: error.to_string() })?;
    let mut files: Vec<String> = parsed.weight_map.into_values().collect();
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Err(ModelError::Format { path: index.into(), reason: "weight_map is empty".into() });
    }
    Ok(files.into_iter().map(|file| index.with_file_name(file)).collect())
}

/// Reads a model folder onto a device, as float32.
///
/// # Errors
///
/// A missing or unreadable file, a configuration that is not supported, or weights that do not fit: every
/// missing, unexpected and misshapen tensor is named in one error.
pub fn load_model<B: Backend>(folder: &Path, device: &B::Device) -> Result<GptNeo<B>, ModelError> {
    load_model_for(WeightFormat::F32, folder, device)
}

/// As [`load_model`], for [`GptNeo::with_weights`] of this format: token embedding and head come onto the device in the
/// type that they will be kept in, where it holds no larger one.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_model_for<B: Backend>(
    format: WeightFormat,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    load_model_of(&GptNeoConfig::from_folder(folder)?, format, folder, device)
}

/// As [`load_model_for`], of a folder whose configuration was read already.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_model_of<B: Backend>(
    config: &GptNeoConfig,
    format: WeightFormat,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    load_into(GptNeo::init(config, device), folder, format.of_table())
}

/// Replaces all weights of a model without an adapter by those of a folder.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_weights<B: Backend>(model: GptNeo<B>, folder: &Path) -> Result<GptNeo<B>, ModelError> {
    load_into(model, folder, DType::F32)
}

/// Replaces all weights; token embedding and head are of type `table`.
fn load_into<B: Backend>(mut model: GptNeo<B>, folder: &Path, table: DType) -> Result<GptNeo<B>, ModelError> {
    let tied = model.config().tie_word_embeddings;
    let mut snapshots = BTreeMap::new();
    for file in weight_files(folder)? {
        snapshots.extend(read_tensors(&file)?);
    }
    snapshots.retain(|name, _| !is_ignored(name, tied));
    for name in ["transformer.wte.weight", "lm_head.weight"] {
        snapshots.entry(name.to_string()).and_modify(|tensor| *tensor = converted(tensor, table));
    }
    if !tied && !snapshots.contains_key("lm_head.weight") {
        return Err(ModelError::Config(
            "tie_word_embeddings is false, but the weights hold no lm_head.weight; \
             set tie_word_embeddings to true or add the head"
                .into(),
        ));
    }
    let (every_tensor, unchanged, skip_enum_variants) = (None, None, true);
    let result = model.apply(snapshots.into_values().collect(), every_tensor, unchanged, skip_enum_variants);
    let mut problems: Vec<String> =
        result.missing.iter().map(|(path, _)| format!("{path}: missing")).collect();
    problems.extend(result.unused.iter().map(|path| format!("{path}: unexpected")));
    problems.extend(result.errors.iter().map(|error| match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            format!("{path}: expected shape {expected:?}, found {found:?}")
        }
        other => other.to_string(),
    }));
    if problems.is_empty() {
        return Ok(model);
    }
    problems.sort();
    problems.dedup();
    Err(ModelError::Weights { path: folder.into(), problems: list_problems(&problems, PROBLEMS_SHOWN) })
}

/// Reads every weight back from the device and compares it with the folder that the model was loaded from.
///
/// # Errors
///
/// [`ModelError::Damaged`] with the first tensor that is not the file's in the type it is held in, bit for bit; or a
/// file cannot be read.
pub fn check_loaded<B: Backend>(model: &GptNeo<B>, folder: &Path) -> Result<(), ModelError> {
    let held: HashMap<String, TensorSnapshot> =
        parameters(model).into_iter().map(|tensor| (tensor.full_path(), tensor)).collect();
    for file in weight_files(folder)? {
        for (name, tensor) in read_tensors(&file)? {
            // What the file holds beyond the network is not loaded.
            let Some(held) = held.get(&name) else { continue };
            let read = |tensor: &TensorSnapshot| {
                tensor.to_data().map_err(|error| ModelError::Format {
                    path: file.clone(),
                    reason: format!("{name}: {error}"),
                })
            };
            if read(held)?.as_bytes() != read(&converted(&tensor, held.dtype))?.as_bytes() {
                return Err(ModelError::Damaged { tensor: name, path: folder.into() });
            }
        }
    }
    Ok(())
}

/// Whether a key of the checkpoint holds nothing that the network reads; see the table in this folder's front.
fn is_ignored(name: &str, tied: bool) -> bool {
    let buffer = [".attn.attention.bias", ".attn.attention.masked_bias"];
    buffer.iter().any(|suffix| name.ends_with(suffix)) || (tied && name == "lm_head.weight")
}

/// The tensors of one file, read when they are used and turned into float32.
pub(crate) fn read_tensors(file: &Path) -> Result<Vec<(String, TensorSnapshot)>, ModelError> {
    let format = |reason: String| ModelError::Format {
        path: file.into(),
        reason: format!("{reason}; the file may be cut short or of another kind: fetch it again"),
    };
    std::fs::File::open(file).map_err(FileError::on("read", file))?;
    let snapshots = if file.extension().is_some_and(|extension| extension == "safetensors") {
        let mut store = SafetensorsStore::from_file(file);
        store.get_all_snapshots().map_err(|error| format(error.to_string()))?.clone()
    } else {
        // A shard, and an adapter of some layers, holds few of them: their numbers must stay as they are.
        let mut store = PytorchStore::from_file(file).map_indices_contiguous(false);
        store.get_all_snapshots().map_err(|error| format(error.to_string()))?.clone()
    };
    Ok(snapshots.into_iter().map(|(name, tensor)| (name, converted(&tensor, DType::F32))).collect())
}

/// The tensor in another type, converted when it is read.
fn converted(tensor: &TensorSnapshot, dtype: DType) -> TensorSnapshot {
    let read = tensor.clone_data_fn();
    TensorSnapshot::from_closure(
        Rc::new(move || Ok(read()?.convert_dtype(dtype))),
        dtype,
        tensor.shape.clone(),
        tensor.path_stack.clone().unwrap_or_default(),
        tensor.container_stack.clone().unwrap_or_default(),
        tensor.tensor_id.unwrap_or_default(),
    )
}
