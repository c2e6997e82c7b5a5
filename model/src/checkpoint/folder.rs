//! What of a model's folder goes along when the model is written anew, beside configuration, weights and tokenizer.

use std::path::Path;

use gptneo_files::{FileError, read_small};
use serde_json::{Map, Value};

use super::save::GENERATION_FILE;
use crate::config::{CONFIG_FILE, token_ids};
use crate::error::{json_object, shown};
use crate::{GptNeoConfig, ModelError};

/// The ends of names of files that hold weights, in whatever program's format, or a training's state.
const WEIGHTS: [&str; 17] = [
    ".safetensors",
    ".bin",
    ".index.json",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".onnx_data",
    ".gguf",
    ".ggml",
    ".npz",
    ".tflite",
    ".pkl",
    ".mlmodel",
];
/// Files that speak of the base, and would be wrong of what was made from it. At the settings of an adapter, transformers
/// loads the base that they name, in place of the model beside them.
const OF_THE_BASE: [&str; 4] = [CONFIG_FILE, "README.md", "merge_proof.json", "adapter_config.json"];
/// The setting that names the tokens which end a text.
const END_TOKENS: &str = "eos_token_id";
/// A larger file is no setting.
const LARGEST: u64 = 32 << 20;

/// The files of a model's folder that a model made from it keeps: settings for generation, chat templates, a licence;
/// everything that is neither weights nor about the base alone. The tokenizer's files are among them.
///
/// # Errors
///
/// The folder or a file cannot be read.
pub fn kept_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, ModelError> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(FileError::on("read", folder))? {
        let path = entry.map_err(FileError::on("read", folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_string) else {
            continue;
        };
        let is_left = name.starts_with('.')
            || OF_THE_BASE.contains(&name.as_str())
            || WEIGHTS.iter().any(|end| name.to_lowercase().ends_with(end));
        // What a link leads to counts: the Hub's cache is made of them.
        let small = path.metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
        if !is_left && small {
            kept.push((name, std::fs::read(&path).map_err(FileError::on("read", &path))?));
        }
    }
    kept.sort();
    Ok(kept)
}

/// The tokens at which a model of this folder ends its texts: those of `generation_config.json`, else those of
/// `config.json`; none where neither names any.
///
/// # Errors
///
/// `generation_config.json` cannot be read, or names something else.
pub fn end_tokens(folder: &Path, config: &GptNeoConfig) -> Result<Vec<u32>, ModelError> {
    let path = folder.join(GENERATION_FILE);
    match read_small(&path) {
        Ok(bytes) => ends_of(&json_object(&path, &bytes)?, &path, config),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(config.eos_token_ids.clone()),
        Err(error) => Err(FileError::on("read", path)(error).into()),
    }
}

/// The tokens that the settings for generation end texts at, or the configuration where they name none.
fn ends_of(
    settings: &Map<String, Value>,
    path: &Path,
    config: &GptNeoConfig,
) -> Result<Vec<u32>, ModelError> {
    match settings.get(END_TOKENS).filter(|value| !value.is_null()) {
        None => Ok(config.eos_token_ids.clone()),
        Some(value) => token_ids(value).ok_or_else(|| ModelError::Format {
            path: path.into(),
            reason: format!("{END_TOKENS} is {}, expected a token's number or a list of them", shown(value)),
        }),
    }
}

/// Adds a token to those at which the `generation_config.json` among `files` lets texts end: that which closed the texts
/// of a training. Files that name it already stay as they are, byte for byte.
///
/// # Errors
///
/// `generation_config.json` is no JSON, or names something else.
pub fn end_texts_at(
    end: u32,
    files: &mut Vec<(String, Vec<u8>)>,
    config: &GptNeoConfig,
) -> Result<(), ModelError> {
    let path = Path::new(GENERATION_FILE);
    let found = files.iter().position(|(name, _)| name == GENERATION_FILE);
    let mut settings = match found {
        Some(place) => json_object(path, &files[place].1)?,
        None => config.generation_settings(),
    };
    let mut ends = ends_of(&settings, path, config)?;
    if ends.contains(&end) {
        return Ok(());
    }
    ends.push(end);
    let named = match ends[..] {
        [only] => only.into(),
        _ => ends.into(),
    };
    settings.insert(END_TOKENS.into(), named);
    let text = format!("{:#}\n", Value::Object(settings)).into_bytes();
    match found {
        Some(place) => files[place].1 = text,
        None => files.push((GENERATION_FILE.into(), text)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_kept_and_weights_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "config.json",
            "generation_config.json",
            "chat_template.jinja",
            "LICENSE",
            "README.md",
            ".gitattributes",
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "flax_model.msgpack",
            "rust_model.ot",
            "tf_model.h5",
            "training_args.bin",
            "adapter_config.json",
            "adapter_model.safetensors",
            "vocab.json",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::create_dir(folder.path().join("onnx")).unwrap();
        let kept: Vec<String> = kept_files(folder.path()).unwrap().into_iter().map(|file| file.0).collect();
        assert_eq!(kept, ["LICENSE", "chat_template.jinja", "generation_config.json", "vocab.json"]);
    }

    #[test]
    fn texts_end_where_the_folder_says() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"model_type": "gpt_neo", "eos_token_id": [5, 6]}"#;
        let config = GptNeoConfig::from_json(serde_json::from_str(text).unwrap()).unwrap();
        let ends = || end_tokens(folder.path(), &config).map_err(|error| error.to_string());
        assert_eq!(ends(), Ok(vec![5, 6]));
        for (text, expected) in [
            (r#"{"eos_token_id": 7}"#, vec![7]),
            (r#"{"eos_token_id": [7, 8]}"#, vec![7, 8]),
            ("{}", vec![5, 6]),
        ] {
            std::fs::write(folder.path().join(GENERATION_FILE), text).unwrap();
            assert_eq!(ends(), Ok(expected));
        }
        std::fs::write(folder.path().join(GENERATION_FILE), r#"{"eos_token_id": "x"}"#).unwrap();
        assert!(ends().unwrap_err().contains("eos_token_id is \"x\""));
    }

    #[test]
    fn the_token_that_closed_a_trainings_texts_is_named_unless_it_is_already() {
        let config = |text: &str| GptNeoConfig::from_json(serde_json::from_str(text).unwrap()).unwrap();
        let named = |config: &GptNeoConfig, file: Option<&str>| {
            let mut files: Vec<_> =
                file.map(|text| (GENERATION_FILE.to_string(), text.into())).into_iter().collect();
            end_texts_at(7, &mut files, config).map_err(|error| error.to_string())?;
            Ok::<_, String>(files.pop().map(|(_, text)| String::from_utf8(text).unwrap()))
        };
        let other = config(r#"{"model_type": "gpt_neo", "bos_token_id": 5, "eos_token_id": 5}"#);
        let same = config(r#"{"model_type": "gpt_neo", "eos_token_id": 7}"#);
        let none = config(r#"{"model_type": "gpt_neo"}"#);
        for (config, file, expected) in [
            (&other, None, json!({"bos_token_id": 5, "eos_token_id": [5, 7]})),
            (&other, Some(r#"{"top_k": 3}"#), json!({"top_k": 3, "eos_token_id": [5, 7]})),
            (&same, Some(r#"{"eos_token_id": [5, 6]}"#), json!({"eos_token_id": [5, 6, 7]})),
            (&none, None, json!({"eos_token_id": 7})),
        ] {
            let text = named(config, file).unwrap().unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "{file:?}");
        }
        let kept = r#"{ "eos_token_id":7}"#;
        for file in [None, Some(kept), Some("{}")] {
            assert_eq!(named(&same, file).unwrap().as_deref(), file);
        }
        assert!(named(&same, Some("[]")).unwrap_err().contains("generation_config.json"));
    }
}
