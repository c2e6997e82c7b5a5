//! Reading a model folder, in any of the formats that its weights may be in, as float32.

use std::path::Path;

use burn::tensor::DType;
use burn::tensor::backend::Backend;

use super::parameters::{Held, parameters, replaced, shapes};
use super::weights::{EMBEDDING, HEAD, Weights};
use crate::{GptNeo, GptNeoConfig, ModelError, WeightFormat};

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
    load_into(GptNeo::init(config, device), folder, |path| Held::As(table_type(path, format.of_table())))
}

/// Reads a folder as a base to train an adapter over, its matrices in this format as [`GptNeo::with_base_weights`] has
/// them, tensor by tensor: the model is never there in f32.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_base<B: Backend>(
    config: &GptNeoConfig,
    format: WeightFormat,
    folder: &Path,
    device: &B::Device,
) -> Result<GptNeo<B>, ModelError> {
    load_into(GptNeo::init(config, device), folder, |path| match format {
        WeightFormat::F32 => Held::As(DType::F32),
        format if is_matrix(path) => Held::Packed(format),
        _ => Held::As(DType::F32),
    })
}

/// Whether a parameter is a matrix of a linear layer, the token embedding or the head.
fn is_matrix(path: &str) -> bool {
    const LAYERS: [&str; 6] = ["q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"];
    let of_layer = |path: &str| path.rsplit('.').next().is_some_and(|name| LAYERS.contains(&name));
    [EMBEDDING, HEAD].contains(&path) || path.strip_suffix(".weight").is_some_and(of_layer)
}

/// The type of a parameter, where token embedding and head are of type `table`.
fn table_type(path: &str, table: DType) -> DType {
    if [EMBEDDING, HEAD].contains(&path) { table } else { DType::F32 }
}

/// Replaces all weights of a model without an adapter by those of a folder.
///
/// # Errors
///
/// As [`load_model`].
pub fn load_weights<B: Backend>(model: GptNeo<B>, folder: &Path) -> Result<GptNeo<B>, ModelError> {
    load_into(model, folder, |_| Held::As(DType::F32))
}

/// What of a folder's weights a model does not use, or uses against its configuration: a sentence, where there is
/// something to say.
///
/// # Errors
///
/// The weights cannot be read.
pub fn note_on_weights(config: &GptNeoConfig, folder: &Path) -> Result<Option<String>, ModelError> {
    /// Names that are shown before the rest is only counted.
    const SHOWN: usize = 3;
    let weights = Weights::open(folder, config.tie_word_embeddings)?;
    let mut notes = Vec::new();
    if config.tie_word_embeddings && weights.own_head {
        notes.push(
            "config.json says that the head is the token embedding (tie_word_embeddings), but the weights hold a head \
             that differs from it, which is used"
                .to_string(),
        );
    }
    let unused: Vec<String> = weights.unused().iter().map(|name| gptneo_files::excerpt(name)).collect();
    if !unused.is_empty() {
        let more = match unused.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = unused.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        notes.push(format!("the weights hold {names}{more}, which a language model has no use for"));
    }
    Ok((!notes.is_empty()).then(|| notes.join("; ")))
}

/// Replaces all weights; `held` says how each is held, by its path.
fn load_into<B: Backend>(
    model: GptNeo<B>,
    folder: &Path,
    held: impl Fn(&str) -> Held,
) -> Result<GptNeo<B>, ModelError> {
    let mut weights = Weights::open(folder, model.config().tie_word_embeddings)?;
    let model = if weights.own_head { model.with_own_head() } else { model };
    let shapes = shapes(&model);
    if let Err(error) = weights.check(&shapes) {
        return Err(match error {
            ModelError::Weights { path, problems } if problems.contains(&format!("{HEAD}: missing")) => {
                let way_out = "tie_word_embeddings is false in config.json, but the weights hold no lm_head.weight: \
                               set it to true or add the head";
                ModelError::Weights { path, problems: format!("{problems}\n{way_out}") }
            }
            other => other,
        });
    }
    replaced(model, |path, _| Ok((weights.read(path)?, held(path))))
}

/// Reads every weight back from the device and compares it with the folder that the model was loaded from.
///
/// # Errors
///
/// [`ModelError::Damaged`] with the first tensor that is not the file's in the type it is held in, bit for bit; or a
/// file cannot be read.
pub fn check_loaded<B: Backend>(model: &GptNeo<B>, folder: &Path) -> Result<(), ModelError> {
    let mut weights = Weights::open(folder, model.config().tie_word_embeddings)?;
    for parameter in parameters(model) {
        let held = parameter.data();
        let expected = weights.read(&parameter.path)?.convert_dtype(held.dtype);
        if held.as_bytes() != expected.as_bytes() {
            return Err(ModelError::Damaged { tensor: parameter.path, path: folder.into() });
        }
    }
    Ok(())
}
