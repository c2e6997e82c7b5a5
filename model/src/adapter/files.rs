//! An adapter's folder, as PEFT writes and reads it.
//!
//! PEFT's key of an adapter matrix is `base_model.model.{path of the linear layer}.lora_A.weight` (`lora_B`); that of DoRA's
//! lengths ends in `lora_magnitude_vector`.
//! Older versions of PEFT wrote the matrices as `adapter_model.bin`, which is read too, and so are the keys of a model's
//! own state: with the adapter's name (`lora_A.default.weight`), without `base_model.model.`, or of a backbone alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use gptneo_files::{FileError, excerpt, read_small, write_folder};

use super::attach;
use super::config_file::{config_from_json, config_to_json};
use super::layers::MERGE;
use crate::checkpoint::{Dtype, Found, Parameter, TensorFile, write_tensors};
use crate::error::{PROBLEMS_SHOWN, json_object, list_problems};
use crate::{GptNeo, LoraConfig, ModelError, WeightFormat};

/// The adapter's settings file.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The adapter's weights.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// The weights as older versions of PEFT wrote them.
const PICKLED_FILE: &str = "adapter_model.bin";
/// The format that the base was kept in while the adapter was trained, where that was not f32.
const BASE_WEIGHTS_FILE: &str = "base_weights.json";
/// Where a run keeps its adapter, in its folder.
const OF_A_RUN: &str = "adapter";

/// The adapter's matrices by PEFT's keys, A before B, layer by layer.
pub fn adapter_tensors<B: Backend>(model: &GptNeo<B>) -> Vec<(String, Param<Tensor<B, 2>>)> {
    model
        .linears()
        .filter_map(|(path, _, linear)| linear.lora.as_ref().map(|lora| (path, lora)))
        .flat_map(|(path, lora)| {
            [(key(&path, Part::A), lora.a.clone()), (key(&path, Part::B), lora.b.clone())]
        })
        .collect()
}

/// What an adapter's tensor is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    A,
    B,
    /// DoRA's lengths.
    Magnitude,
}

fn key(path: &str, part: Part) -> String {
    let part = match part {
        Part::A => "lora_A.weight",
        Part::B => "lora_B.weight",
        Part::Magnitude => "lora_magnitude_vector",
    };
    format!("base_model.model.{path}.{part}")
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

/// Writes the files of [`save_adapter`] but the extra ones into a folder that exists.
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
    let mut parameters: Vec<Parameter> =
        tensors.into_iter().map(|(name, param)| Parameter::of(name, param.val())).collect();
    for (path, _, linear) in model.linears() {
        let magnitude = linear.lora.as_ref().and_then(|lora| lora.magnitude.as_ref());
        parameters.extend(magnitude.map(|lengths| Parameter::of(key(&path, Part::Magnitude), lengths.val())));
    }
    let path = folder.join(CONFIG_FILE);
    let text = format!("{:#}\n", config_to_json(config, base));
    std::fs::write(&path, text).map_err(FileError::on("write", path))?;
    let views = parameters.iter().map(|parameter| (parameter.path.clone(), parameter));
    write_tensors(&folder.join(WEIGHTS_FILE), views, Dtype::F32)?;
    let format = model.base_weights();
    if format != WeightFormat::F32 {
        let path = folder.join(BASE_WEIGHTS_FILE);
        let text = format!("{:#}\n", serde_json::json!({ "base_weights": format }));
        std::fs::write(&path, text).map_err(FileError::on("write", path))?;
    }
    Ok(())
}

/// The format that the base was kept in while the adapter of a folder was trained over it, as its `base_weights.json` says;
/// f32 where there is none.
///
/// # Errors
/// The file cannot be read, or names no format.
pub fn trained_over(folder: &Path) -> Result<WeightFormat, ModelError> {
    let path = adapter_folder(folder).join(BASE_WEIGHTS_FILE);
    if !path.is_file() {
        return Ok(WeightFormat::F32);
    }
    let bytes = read_small(&path).map_err(FileError::on("read", &path))?;
    let format = json_object(&path, &bytes)?.remove("base_weights").unwrap_or_default();
    serde_json::from_value(format)
        .map_err(|error| ModelError::Format { path, reason: format!("base_weights: {error}") })
}

/// The files of an adapter's folder: the settings, and the matrices, whether or not they exist. A run's folder stands for
/// the adapter in it.
pub fn adapter_files(folder: &Path) -> [PathBuf; 2] {
    let folder = adapter_folder(folder);
    let (weights, pickled) = (folder.join(WEIGHTS_FILE), folder.join(PICKLED_FILE));
    let old = !weights.exists() && pickled.exists();
    [folder.join(CONFIG_FILE), if old { pickled } else { weights }]
}

/// The folder that an adapter's files are in: the given one, or that of the adapter in it where it is a run's.
pub fn adapter_folder(folder: &Path) -> PathBuf {
    let of_a_run = folder.join(OF_A_RUN);
    let is = |folder: &Path| folder.join(CONFIG_FILE).is_file();
    if !is(folder) && is(&of_a_run) { of_a_run } else { folder.to_path_buf() }
}

/// Freezes the base and attaches the adapter of a PEFT folder, or of a run's.
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
    let [settings, path] = adapter_files(folder);
    let config = read_config(&settings, &paths)?;
    let mut file = TensorFile::open(&path)?;
    let (mut found, mut problems) = matrices(&file);
    // What the file's settings ask for is the file's fault.
    let refuse = |error: ModelError| match error {
        ModelError::Lora(reason) => ModelError::Adapter { path: settings.clone(), reason },
        other => other,
    };
    let mut model = attach(model, &config, device).map_err(refuse)?;
    let mut places = Vec::new();
    for (path, _, linear) in model.linears() {
        let Some(lora) = &linear.lora else { continue };
        let lengths = lora.magnitude.as_ref().map(|lengths| (Part::Magnitude, lengths.lazy_shape()));
        let matrices = [(Part::A, lora.a.lazy_shape()), (Part::B, lora.b.lazy_shape())];
        for (part, shape) in matrices.into_iter().chain(lengths) {
            let expected = shape.to_vec();
            match found.remove(&(path.clone(), part)) {
                None => problems.push(format!("{}: missing", key(&path, part))),
                Some((name, shape)) if shape != expected => {
                    problems
                        .push(format!("{}: expected shape {expected:?}, found {shape:?}", excerpt(&name)));
                }
                Some((name, _)) => places.push(name),
            }
        }
    }
    problems.extend(found.into_values().map(|(name, _)| format!("{}: unexpected", excerpt(&name))));
    if !problems.is_empty() {
        problems.sort();
        return Err(ModelError::Weights { path, problems: list_problems(&problems, PROBLEMS_SHOWN) });
    }
    let mut places = places.into_iter();
    for (_, _, linear) in model.linears_mut() {
        let Some(lora) = &mut linear.lora else { continue };
        for param in [&mut lora.a, &mut lora.b] {
            let Some(name) = places.next() else { continue };
            let value = Tensor::from_data(file.read(&name)?, (device, DType::F32));
            *param = Param::initialized(param.id, value.require_grad());
        }
        if let Some(lengths) = &mut lora.magnitude
            && let Some(name) = places.next()
        {
            let value = Tensor::from_data(file.read(&name)?, (device, DType::F32));
            *lengths = Param::initialized(lengths.id, value.require_grad());
        }
    }
    Ok((model, config))
}

/// An adapter's tensors by their layer and what they are to it: name in the file, and shape.
type Matrices = BTreeMap<(String, Part), (String, Vec<usize>)>;

/// The matrices of a file, and what is wrong with everything else in it.
fn matrices(file: &TensorFile) -> (Matrices, Vec<String>) {
    let (mut found, mut problems) = (Matrices::new(), Vec::new());
    for (name, entry) in file.entries() {
        let shown = excerpt(&name);
        let shape = match entry {
            Found::Tensor(shape) => shape,
            Found::Other(kind) => {
                problems.push(format!("{shown}: expected a tensor of floats, found {kind}"));
                continue;
            }
        };
        match layer_and_part(&name) {
            Some(place) => {
                if let Some((other, _)) = found.insert(place, (name, shape)) {
                    let other = excerpt(&other);
                    problems.push(format!("{shown}: the layer has {other} as well; save one adapter alone"));
                }
            }
            None => problems.push(format!("{shown}: {}", why_unexpected(&name))),
        }
    }
    (found, problems)
}

/// The layer's path and what the tensor is to it, from its key.
fn layer_and_part(name: &str) -> Option<(String, Part)> {
    const PARTS: [(&str, Part); 3] =
        [(".lora_A", Part::A), (".lora_B", Part::B), (".lora_magnitude_vector", Part::Magnitude)];
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let (path, part, rest) = PARTS.into_iter().find_map(|(word, part)| {
        let (path, rest) = name.split_once(word)?;
        Some((path, part, rest))
    })?;
    // The adapter's name may stand before the last part, which DoRA's lengths may go without.
    let rest = match rest.strip_suffix(".weight") {
        Some(rest) => rest,
        None if part == Part::Magnitude => rest,
        None => return None,
    };
    let weight = rest.is_empty() || rest.strip_prefix('.').is_some_and(|name| !name.contains('.'));
    let path = if path.starts_with("h.") { format!("transformer.{path}") } else { path.to_string() };
    weight.then_some((path, part))
}

/// Why a tensor that is no matrix of an adapter stands beside some.
fn why_unexpected(name: &str) -> String {
    let parts = ["embed_tokens", "wte", "wpe", "lm_head"];
    if name.split('.').any(|part| parts.contains(&part)) {
        return format!(
            "unexpected, an embedding or head, which PEFT saves beside an adapter where it was trained or its vocabulary \
             changed; {MERGE}"
        );
    }
    if name.contains("lora_") {
        return format!("unexpected, a part of an adapter that is not implemented; {MERGE}");
    }
    "unexpected".to_string()
}

fn read_config(path: &Path, paths: &[String]) -> Result<LoraConfig, ModelError> {
    let bytes = match read_small(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return Err(no_adapter(path).unwrap_or_else(|| FileError::on("read", path)(error).into()));
        }
    };
    let map = json_object(path, &bytes)?;
    config_from_json(&map, paths)
        .map_err(|problems| ModelError::Adapter { path: path.into(), reason: problems.join("; ") })
}

/// What a folder without the settings file `path` is instead, if that can be told.
fn no_adapter(path: &Path) -> Option<ModelError> {
    let folder = path.parent()?;
    let refuse = |reason: String| Some(ModelError::Adapter { path: folder.into(), reason });
    if folder.is_file() {
        return refuse("it is a file; give the folder that holds it and adapter_config.json".into());
    }
    if folder.join("config.json").is_file() {
        return refuse(
            "it is a whole model, without adapter_config.json; give it as the model instead".into(),
        );
    }
    // PEFT saves adapters of other names in folders of their own.
    let inner = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let inner = inner.filter(|path| path.join(CONFIG_FILE).is_file()).min()?;
    refuse(format!("it has no adapter_config.json, but {} has one: give that folder", inner.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_matrix_is_known_by_each_of_its_keys() {
        let path = "transformer.h.0.mlp.c_fc".to_string();
        let expected = Some((path.clone(), Part::A));
        for name in [
            "base_model.model.transformer.h.0.mlp.c_fc.lora_A.weight",
            "base_model.model.transformer.h.0.mlp.c_fc.lora_A.default.weight",
            "transformer.h.0.mlp.c_fc.lora_A.medical.weight",
            "base_model.model.h.0.mlp.c_fc.lora_A.weight",
        ] {
            assert_eq!(layer_and_part(name), expected, "{name}");
        }
        for rest in ["", ".weight", ".default", ".default.weight"] {
            let name = format!("base_model.model.transformer.h.0.mlp.c_fc.lora_magnitude_vector{rest}");
            assert_eq!(layer_and_part(&name), Some((path.clone(), Part::Magnitude)), "{name}");
        }
        for name in [
            "h.0.mlp.c_fc.lora_magnitude_vectors",
            "base_model.model.lm_head.weight",
            "h.0.mlp.c_fc.lora_A.bias",
            "h.0.lora_A.a.b.weight",
            "lora_A",
        ] {
            assert_eq!(layer_and_part(name), None, "{name}");
        }
        assert!(why_unexpected("base_model.model.lm_head.weight").contains("merge_and_unload"));
    }

    #[test]
    fn what_is_no_adapter_is_told_with_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let said = || read_config(&adapter_files(folder.path())[0], &[]).unwrap_err().to_string();
        assert!(said().contains("cannot read"), "{}", said());
        std::fs::create_dir(folder.path().join("medical")).unwrap();
        std::fs::write(folder.path().join("medical").join(CONFIG_FILE), "{}").unwrap();
        assert!(said().contains("medical has one"), "{}", said());
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert!(said().contains("as the model"), "{}", said());
        // A run's folder stands for its adapter.
        std::fs::create_dir(folder.path().join("adapter")).unwrap();
        std::fs::write(folder.path().join("adapter").join(CONFIG_FILE), "[]").unwrap();
        assert!(said().contains("adapter_config.json") && said().contains("found []"), "{}", said());
    }
}
