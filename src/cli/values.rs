//! Values with names: a flag takes a library's type by the names that the type itself has, and the help lists them.

use std::error::Error;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use gptneo_datasets::DataFormat;
use gptneo_lora::backend::BackendKind;
use gptneo_lora::settings::Preset;
use gptneo_model::WeightFormat;
use gptneo_model::export::{ExportFormat, GgufType};
use gptneo_training::Precision;

/// Parses the name of one of `all`.
pub(super) fn one_of<T, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name)).try_map(|name| name.parse::<T>())
}

/// As [`one_of`]; the long help says what each is.
fn explained<T, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
    what: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Copy + Send + Sync + 'static,
{
    let values = all.map(|value| PossibleValue::new(name(value)).help(what(value)));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<T>())
}

pub(super) fn backend() -> impl TypedValueParser<Value = BackendKind> {
    explained(BackendKind::ALL, BackendKind::name, |kind| match kind {
        BackendKind::Auto => {
            "A GPU that this build can use and that computes as it should, else the processor"
        }
        BackendKind::Cuda => "NVIDIA GPUs",
        BackendKind::Wgpu => "Any GPU, through Vulkan or Metal",
        BackendKind::Flex => "The fast CPU backend",
        BackendKind::Ndarray => "A second CPU backend, to compare with",
    })
}

/// Bits of registers, or none for the widest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisterBits(pub(crate) Option<usize>);

pub(super) fn register_bits() -> impl TypedValueParser<Value = RegisterBits> {
    // A value that is no number is the one that leaves the choice to the program.
    PossibleValuesParser::new(["auto", "256", "512"]).map(|bits| RegisterBits(bits.parse().ok()))
}

pub(super) fn data_format() -> impl TypedValueParser<Value = DataFormat> {
    explained(DataFormat::ALL, DataFormat::name, DataFormat::description)
}

pub(super) fn preset() -> impl TypedValueParser<Value = Preset> {
    explained(Preset::ALL, Preset::name, |preset| match preset {
        Preset::Quick => "The embedded base and flashcards: minutes on a laptop, no network",
        Preset::Medical => "The full recipe: GPT-Neo-125M and 33,955 flashcards",
    })
}

pub(super) fn precision() -> impl TypedValueParser<Value = Precision> {
    explained(Precision::ALL, Precision::name, |precision| match precision {
        Precision::F32 => "32-bit floats throughout",
        Precision::F16 => "16-bit floats, with a scaled loss",
        Precision::Bf16 => "16-bit floats with the range of f32",
    })
}

pub(super) fn weights() -> impl TypedValueParser<Value = WeightFormat> {
    explained(WeightFormat::ALL, WeightFormat::name, |format| match format {
        WeightFormat::F32 => "32-bit floats",
        WeightFormat::F16 => "On GPUs: 16-bit floats, which are multiplied as such",
        WeightFormat::Bf16 => "On flex: 16-bit floats with the range of f32",
        WeightFormat::Int8 => "On flex: 8-bit integers with a scale for each 64 of them",
    })
}

pub(super) fn base_weights() -> impl TypedValueParser<Value = WeightFormat> {
    explained(WeightFormat::OF_A_BASE, WeightFormat::name, |format| match format {
        WeightFormat::Int8 => "On flex: 8-bit integers with a scale for each 64 of them, a quarter of f32",
        WeightFormat::Bf16 => "On flex: 16-bit floats with the range of f32, half of f32",
        WeightFormat::F16 | WeightFormat::F32 => "32-bit floats",
    })
}

pub(super) fn export_format() -> impl TypedValueParser<Value = ExportFormat> {
    explained(ExportFormat::ALL, ExportFormat::name, |format| match format {
        ExportFormat::Gpt2 => "A Hugging Face folder of a GPT-2, for transformers, vLLM and mlx-lm",
        ExportFormat::Gguf => "One file, for llama.cpp, Ollama and LM Studio",
    })
}

pub(super) fn gguf_type() -> impl TypedValueParser<Value = GgufType> {
    explained(GgufType::ALL, GgufType::name, |kind| match kind {
        GgufType::F32 => "32-bit floats: the weights as they are",
        GgufType::F16 => "16-bit floats",
        GgufType::Q8_0 => "8-bit integers with a scale for each 32 of them",
    })
}
