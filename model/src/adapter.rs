//! LoRA adapters of a whole model: attaching, freezing, PEFT's files, merging.
//!
//! PEFT's key of an adapter matrix is `base_model.model.{path of the linear layer}.lora_A.weight` (`lora_B`).

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_store::TensorSnapshot;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype as FileDtype;
use serde_json::{Map, Value, json};

use crate::checkpoint::{Dtype, write_tensors};
use crate::error::list_problems;
use crate::files::write_folder;
use crate::{GptNeo, LoraConfig, ModelError, Target};

/// The adapter's settings file.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The adapter's weights.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Freezes the base and attaches a fresh adapter to each targeted layer. Seed the backend before.
///
/// # Errors
///
/// Settings that [`LoraConfig::validate`] refuses.
pub fn attach<B: Backend>(
    model: GptNeo<B>,
    config: &LoraConfig,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    config.validate()?;
    let mut model = detach(model).no_grad();
    for (_, target, linear) in model.linears_mut() {
        if config.target_modules.contains(&target) {
            linear.attach(config, device);
        }
    }
    Ok(model)
}

/// Removes the adapter: the base model again.
pub fn detach<B: Backend>(mut model: GptNeo<B>) -> GptNeo<B> {
    for (_, _, linear) in model.linears_mut() {
        linear.lora = None;
    }
    model
}

/// Gives an attached adapter another dropout; its weights stay.
pub fn set_dropout<B: Backend>(model: &mut GptNeo<B>, dropout: f64) {
    for (_, _, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.set_dropout(dropout);
        }
    }
}

/// Adds the adapter's updates to the base weights and removes the adapter.
pub fn merge<B: Backend>(mut model: GptNeo<B>) -> GptNeo<B> {
    for (_, _, linear) in model.linears_mut() {
        linear.merge();
    }
    model
}

/// Trainable and total parameters, as PEFT counts them: with an adapter attached, the adapter's are trainable.
pub fn count_parameters<B: Backend>(model: &GptNeo<B>) -> (usize, usize) {
    struct Count(usize);
    impl<B: Backend> ModuleVisitor<B> for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0 += param.lazy_shape().num_elements();
        }
    }
    let mut total = Count(0);
    model.visit(&mut total);
    let mut adapter = Count(0);
    for (_, _, linear) in model.linears() {
        if let Some(lora) = &linear.lora {
            lora.visit(&mut adapter);
        }
    }
    (if adapter.0 > 0 { adapter.0 } else { total.0 }, total.0)
}

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

/// Writes the adapter as PEFT does, `adapter_config.json` and `adapter_model.safetensors`; the folder appears
/// whole or not at all. `base` is the base model's name or path, which PEFT loads it onto.
///
/// # Errors
///
/// No adapter is attached, or a file cannot be written.
pub fn save_adapter<B: Backend>(
    model: &GptNeo<B>,
    config: &LoraConfig,
    base: &str,
    folder: &Path,
) -> Result<(), ModelError> {
    write_folder(folder, |path| write_adapter(model, config, base, path))
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
    std::fs::write(&path, text).map_err(ModelError::io("write", path))?;
    let views = snapshots.iter().map(|(name, snapshot)| (name.clone(), snapshot));
    write_tensors(&folder.join(WEIGHTS_FILE), views, Dtype::F32)
}

fn config_to_json(config: &LoraConfig, base: &str) -> Value {
    json!({
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": config.r,
        "target_modules": config.target_modules.iter().map(|target| target.name()).collect::<Vec<_>>(),
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": config.use_rslora,
    })
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
    let config = read_config(folder)?;
    let path = folder.join(WEIGHTS_FILE);
    let bytes = std::fs::read(&path).map_err(ModelError::io("read", &path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| ModelError::Format {
        path: path.clone(),
        reason: format!("{error}; the file may be cut short: fetch it again"),
    })?;
    let mut found: BTreeMap<String, TensorData> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, view) in file.iter() {
        match to_float32(view.dtype(), view.data(), view.shape()) {
            Some(data) => {
                found.insert(name.to_string(), data);
            }
            None => problems.push(format!("{name}: {:?} is not a floating-point type", view.dtype())),
        }
    }
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
    Err(ModelError::Weights { path, problems: list_problems(&problems, 30) })
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

fn read_config(folder: &Path) -> Result<LoraConfig, ModelError> {
    let path = folder.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(ModelError::io("read", &path))?;
    let map: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| ModelError::Format { path: path.clone(), reason: error.to_string() })?;
    config_from_json(&map)
        .map_err(|problems| ModelError::Adapter { path: folder.into(), reason: problems.join("; ") })
}

/// PEFT's fields that change the arithmetic and are not implemented: the value that means "off".
const MUST_BE_OFF: [(&str, &str); 11] = [
    ("bias", "\"none\""),
    ("use_dora", "false"),
    ("fan_in_fan_out", "false"),
    ("modules_to_save", "null"),
    ("rank_pattern", "{}"),
    ("alpha_pattern", "{}"),
    ("lora_bias", "false"),
    ("layers_to_transform", "null"),
    ("target_parameters", "null"),
    ("trainable_token_indices", "null"),
    ("exclude_modules", "null"),
];

fn config_from_json(map: &Map<String, Value>) -> Result<LoraConfig, Vec<String>> {
    let mut problems = Vec::new();
    if map.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        let found = map.get("peft_type").unwrap_or(&Value::Null);
        problems.push(format!("peft_type is {found}, expected \"LORA\""));
    }
    for (field, off) in MUST_BE_OFF {
        if let Some(value) = map.get(field)
            && !value.is_null()
            && value.to_string().as_str() != off
        {
            problems.push(format!("{field} is {value}, which is not implemented (expected {off})"));
        }
    }
    let mut number = |field: &str| {
        let value = map.get(field).and_then(Value::as_f64);
        if value.is_none() {
            problems.push(format!("{field} is missing or not a number"));
        }
        value.unwrap_or_default()
    };
    let (r, alpha) = (number("r"), number("lora_alpha"));
    let mut target_modules = Vec::new();
    match map.get("target_modules") {
        Some(Value::Array(names)) => {
            for name in names {
                match name.as_str().unwrap_or_default().parse::<Target>() {
                    Ok(target) => target_modules.push(target),
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
        other => problems.push(format!(
            "target_modules is {}, expected a list of module names",
            other.unwrap_or(&Value::Null)
        )),
    }
    target_modules.sort();
    let config = LoraConfig {
        r: r as usize,
        alpha,
        dropout: map.get("lora_dropout").and_then(Value::as_f64).unwrap_or(0.0),
        target_modules,
        use_rslora: map.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
    };
    if let Err(error) = config.validate() {
        problems.push(error.to_string());
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}
