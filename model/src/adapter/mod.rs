//! LoRA adapters of a whole model: attaching, freezing, merging, and PEFT's files.

mod apart;
mod config_file;
mod files;
mod layers;
mod pattern;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

pub use self::apart::Adapter;
pub use self::files::{
    CONFIG_FILE, WEIGHTS_FILE, adapter_files, adapter_folder, adapter_tensors, load_adapter, save_adapter,
    trained_over, write_adapter,
};
use crate::{GptNeo, LoraConfig, ModelError, WeightFormat};

/// Freezes the base and attaches a fresh adapter to each targeted layer. Seed the backend before.
///
/// # Errors
///
/// Settings that [`LoraConfig::validate`] refuses, or a name in them that fits no layer of this model.
pub fn attach<B: Backend>(
    model: GptNeo<B>,
    config: &LoraConfig,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    config.validate()?;
    check_names(&model, config)?;
    if config.use_dora && model.base_weights() == WeightFormat::Int8 {
        return Err(ModelError::Lora(
            "use_dora is on, which measures the rows of the base, and the base is kept in int8: keep it in f32 or bf16"
                .into(),
        ));
    }
    let mut model = detach(model).no_grad();
    for (path, _, linear) in model.linears_mut() {
        if config.targets(&path) {
            linear.attach(&path, config, device);
        }
    }
    Ok(model)
}

/// Refuses a model whose adapter is not one of these settings: it would be saved as what it is not.
///
/// # Errors
///
/// The layers that differ, and in what.
pub fn check_attached<B: Backend>(model: &GptNeo<B>, config: &LoraConfig) -> Result<(), ModelError> {
    let mut problems = Vec::new();
    for (path, _, linear) in model.linears() {
        let wanted = config.targets(&path);
        let Some(lora) = linear.lora.as_ref().filter(|_| wanted) else {
            if wanted != linear.lora.is_some() {
                problems.push(format!("{path}: {}", if wanted { "no adapter" } else { "an adapter" }));
            }
            continue;
        };
        let [rank, _] = lora.a.lazy_shape().dims();
        let same = rank == config.rank(&path)
            && (lora.scale - config.scale(&path)).abs() <= 1e-6 * config.scale(&path).abs()
            && lora.magnitude.is_some() == config.use_dora;
        if !same {
            let dora = if lora.magnitude.is_some() { ", DoRA" } else { "" };
            problems.push(format!("{path}: rank {rank}, a scale of {}{dora}", lora.scale));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let more = problems.len().saturating_sub(SHOWN_PROBLEMS);
    problems.truncate(SHOWN_PROBLEMS);
    Err(ModelError::Lora(format!(
        "the model carries another adapter than the settings say ({}{}): train with the settings that it was loaded with, or \
         detach it first",
        problems.join("; "),
        if more > 0 { format!("; and {more} more") } else { String::new() }
    )))
}

/// Layers that an error names.
const SHOWN_PROBLEMS: usize = 3;

/// Refuses names that fit no layer: nothing would come of them, which is not what was meant.
fn check_names<B: Backend>(model: &GptNeo<B>, config: &LoraConfig) -> Result<(), ModelError> {
    let paths: Vec<String> = model.linears().map(|(path, ..)| path).collect();
    let adapted: Vec<&String> = paths.iter().filter(|path| config.targets(path)).collect();
    let layers = model.config().num_layers();
    let names = config.target_modules.iter().map(|name| ("target_modules", name));
    let names = names.chain(config.rank_pattern.keys().map(|name| ("rank_pattern", name)));
    let names = names.chain(config.alpha_pattern.keys().map(|name| ("alpha_pattern", name)));
    let problems: Vec<String> = names
        .filter(|(_, name)| !adapted.iter().any(|path| name.matches(path)))
        .map(|(field, name)| {
            format!("{field}: {name} fits no layer that carries an adapter in {layers} blocks")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(ModelError::Lora(problems.join("; "))) }
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

/// The adapter of `from` on `base`, in place of one that may be there: the way back to exact weights from a model that
/// was rounded to train it faster.
pub fn hand_over<B: Backend>(from: GptNeo<B>, mut base: GptNeo<B>) -> GptNeo<B> {
    for ((_, _, linear), (_, _, trained)) in base.linears_mut().zip(from.linears()) {
        linear.lora = trained.lora.clone();
    }
    base
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
