//! GPT-Neo's configuration: what a Hugging Face `config.json` says, checked before anything is built.

use std::path::Path;

use gptneo_files::FileError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ModelError;

/// The file of a model folder that holds the configuration.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// How far back a layer's attention sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionKind {
    /// Position i sees positions 0 ... i.
    Global,
    /// Position i sees positions i - window + 1 ... i.
    Local,
}

/// The shape of a GPT-Neo and the numbers its arithmetic needs.
///
/// Field names and defaults are those of transformers' `GPTNeoConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct GptNeoConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer; four times `hidden_size` where the file gives none.
    pub intermediate_size: usize,
    /// One entry per layer.
    pub attention_layers: Vec<AttentionKind>,
    /// Attention heads; `hidden_size` is a multiple of it.
    pub num_heads: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Rows of the position embedding: the longest text in tokens.
    pub max_position_embeddings: usize,
    /// Positions that a local layer sees, the current one included; 256 where the file gives none.
    pub window_size: usize,
    /// Added to the variance in layer norm; 1e-5 where the file gives none.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of fresh random weights; 0.02 where the file gives none.
    pub initializer_range: f64,
    /// Whether the head is the token embedding, as it is where the file does not say.
    pub tie_word_embeddings: bool,
    /// The largest of the base's own dropout rates, which apply in training only.
    pub base_dropout: f64,
    /// The end-of-text token's id, where the file names one.
    pub eos_token_id: Option<u32>,
    /// The file as it was read, so that a saved model keeps the fields this program does not use.
    source: Map<String, Value>,
}

/// The fields of `config.json` that are read, as they stand in the file.
#[derive(Deserialize)]
struct RawConfig {
    model_type: Option<String>,
    hidden_size: usize,
    num_layers: usize,
    num_heads: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    attention_types: Option<Vec<(Vec<AttentionKind>, usize)>>,
    attention_layers: Option<Vec<AttentionKind>>,
    intermediate_size: Option<usize>,
    #[serde(default = "default_window")]
    window_size: usize,
    #[serde(default = "default_activation")]
    activation_function: String,
    #[serde(default = "default_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "default_range")]
    initializer_range: f64,
    #[serde(default = "default_tie")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_dropout: f64,
    #[serde(default)]
    embed_dropout: f64,
    #[serde(default)]
    resid_dropout: f64,
    eos_token_id: Option<u32>,
}

fn default_window() -> usize {
    256
}
fn default_activation() -> String {
    "gelu_new".into()
}
fn default_epsilon() -> f64 {
    1e-5
}
fn default_range() -> f64 {
    0.02
}
fn default_tie() -> bool {
    true
}

impl GptNeoConfig {
    /// Reads and checks the `config.json` of a model folder.
    ///
    /// # Errors
    ///
    /// As [`GptNeoConfig::from_file`].
    pub fn from_folder(folder: &Path) -> Result<Self, ModelError> {
        Self::from_file(&folder.join(CONFIG_FILE))
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a GPT-Neo configuration, or asks for something that this program does
    /// not implement; all such points are named together.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(FileError::on("read", path))?;
        let source: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| ModelError::Format { path: path.into(), reason: error.to_string() })?;
        Self::from_json(source).map_err(|error| match error {
            ModelError::Format { reason, .. } => ModelError::Format { path: path.into(), reason },
            other => other,
        })
    }

    /// Checks the fields of a `config.json`.
    ///
    /// # Errors
    ///
    /// As [`GptNeoConfig::from_file`].
    pub fn from_json(source: Map<String, Value>) -> Result<Self, ModelError> {
        let raw: RawConfig = serde_json::from_value(Value::Object(source.clone()))
            .map_err(|error| ModelError::Format { path: CONFIG_FILE.into(), reason: error.to_string() })?;
        let attention_layers = match (raw.attention_layers, raw.attention_types) {
            (Some(layers), _) => layers,
            (None, Some(types)) => types
                .iter()
                .flat_map(|(kinds, times)| std::iter::repeat_n(kinds.as_slice(), *times).flatten().copied())
                .collect(),
            (None, None) => {
                return Err(ModelError::Config(
                    "neither attention_types nor attention_layers is given".to_string(),
                ));
            }
        };
        let mut problems = Vec::new();
        if let Some(kind) = raw.model_type.filter(|kind| kind != "gpt_neo") {
            problems.push(format!("model_type is \"{kind}\", expected \"gpt_neo\""));
        }
        if raw.activation_function != "gelu_new" {
            problems.push(format!(
                "activation_function is \"{}\", only \"gelu_new\" is implemented",
                raw.activation_function
            ));
        }
        if raw.num_heads == 0 || !raw.hidden_size.is_multiple_of(raw.num_heads) {
            problems.push(format!(
                "hidden_size {} is not a multiple of num_heads {}",
                raw.hidden_size, raw.num_heads
            ));
        }
        if attention_layers.len() != raw.num_layers {
            problems.push(format!(
                "num_layers is {}, but the attention types name {} layers",
                raw.num_layers,
                attention_layers.len()
            ));
        }
        let sizes = [
            ("hidden_size", raw.hidden_size),
            ("num_layers", raw.num_layers),
            ("vocab_size", raw.vocab_size),
            ("max_position_embeddings", raw.max_position_embeddings),
            ("window_size", raw.window_size),
            ("intermediate_size", raw.intermediate_size.unwrap_or(1)),
        ];
        problems
            .extend(sizes.iter().filter(|(_, size)| *size == 0).map(|(name, _)| format!("{name} is zero")));
        if !problems.is_empty() {
            return Err(ModelError::Config(problems.join("; ")));
        }
        Ok(Self {
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size.unwrap_or(4 * raw.hidden_size),
            attention_layers,
            num_heads: raw.num_heads,
            vocab_size: raw.vocab_size,
            max_position_embeddings: raw.max_position_embeddings,
            window_size: raw.window_size,
            layer_norm_epsilon: raw.layer_norm_epsilon,
            initializer_range: raw.initializer_range,
            tie_word_embeddings: raw.tie_word_embeddings,
            base_dropout: raw.attention_dropout.max(raw.embed_dropout).max(raw.resid_dropout),
            eos_token_id: raw.eos_token_id,
            source,
        })
    }

    /// Layers of the network.
    pub fn num_layers(&self) -> usize {
        self.attention_layers.len()
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// The same shape for a tokenizer of `vocab_size` tokens whose end-of-text is `end_of_text`.
    pub fn with_vocabulary(mut self, vocab_size: usize, end_of_text: u32) -> Self {
        self.vocab_size = vocab_size;
        self.eos_token_id = Some(end_of_text);
        self.source.insert("vocab_size".into(), vocab_size.into());
        self.source.insert("bos_token_id".into(), end_of_text.into());
        self.source.insert("eos_token_id".into(), end_of_text.into());
        self
    }

    /// The configuration as `config.json` holds it, with the fields that transformers needs to find the class
    /// and `torch_dtype` as given ("float32", "float16", "bfloat16").
    pub fn to_json(&self, dtype: &str) -> Value {
        let mut map = self.source.clone();
        map.insert("architectures".into(), Value::from(vec!["GPTNeoForCausalLM"]));
        map.insert("model_type".into(), "gpt_neo".into());
        // Older files say torch_dtype, newer ones dtype; a file with both could contradict itself.
        map.shift_remove("dtype");
        map.insert("torch_dtype".into(), dtype.into());
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<GptNeoConfig, ModelError> {
        GptNeoConfig::from_json(value.as_object().unwrap().clone())
    }

    fn base() -> Value {
        json!({
            "model_type": "gpt_neo", "hidden_size": 48, "num_layers": 3, "num_heads": 3, "vocab_size": 100,
            "max_position_embeddings": 64, "attention_types": [[["global"], 1], [["local"], 2]],
            "intermediate_size": null, "window_size": 5
        })
    }

    #[test]
    fn attention_types_expand_to_layers() {
        use AttentionKind::{Global, Local};
        let config = parse(base()).unwrap();
        assert_eq!(config.attention_layers, [Global, Local, Local]);
        assert_eq!(config.intermediate_size, 192);
        assert_eq!(config.head_size(), 16);
        let mut value = base();
        value["attention_types"] = json!([[["global", "local"], 2]]);
        value["num_layers"] = 4.into();
        assert_eq!(parse(value).unwrap().attention_layers, [Global, Local, Global, Local]);
    }

    #[test]
    fn unsupported_settings_are_refused_by_name() {
        for (field, value, word) in [
            ("activation_function", json!("relu"), "relu"),
            ("num_heads", json!(5), "num_heads 5"),
            ("num_layers", json!(4), "num_layers is 4"),
            ("model_type", json!("gpt2"), "gpt2"),
            ("window_size", json!(0), "window_size"),
        ] {
            let mut config = base();
            config[field] = value;
            let message = parse(config).unwrap_err().to_string();
            assert!(message.contains(word), "{field}: {message}");
        }
    }

    #[test]
    fn all_problems_are_named_together() {
        let mut config = base();
        config["activation_function"] = json!("relu");
        config["num_heads"] = json!(5);
        let message = parse(config).unwrap_err().to_string();
        assert!(message.contains("relu") && message.contains("num_heads 5"), "{message}");
    }

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let mut value = base();
        value["summary_type"] = json!("cls_index");
        let saved = parse(value).unwrap().to_json("float32");
        assert_eq!(saved["summary_type"], "cls_index");
        assert_eq!(saved["torch_dtype"], "float32");
        assert_eq!(saved["architectures"], json!(["GPTNeoForCausalLM"]));
    }
}
