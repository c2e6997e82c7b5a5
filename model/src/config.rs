//! GPT-Neo's configuration: what a Hugging Face `config.json` says, checked before anything is built.

use std::path::Path;

use gptneo_files::{FileError, read_small};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::fields::Fields;
pub use self::published::PublishedShape;
use crate::ModelError;
use crate::error::{json_object, shown};

mod fields;
mod published;

pub(crate) use self::fields::token_ids;

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
    /// The form of GELU; the tanh form where the file gives none.
    pub activation: Activation,
    /// Added to the variance in layer norm; 1e-5 where the file gives none.
    pub layer_norm_epsilon: f64,
    /// Standard deviation of fresh random weights; 0.02 where the file gives none.
    pub initializer_range: f64,
    /// Whether the head is the token embedding, as it is where the file does not say.
    pub tie_word_embeddings: bool,
    /// The largest of the base's own dropout rates, which apply in training only.
    pub base_dropout: f64,
    /// The ids of the tokens that end a text, where the file names some.
    pub eos_token_ids: Vec<u32>,
    /// The file as it was read, so that a saved model keeps the fields this program does not use.
    source: Map<String, Value>,
}

/// GELU's forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The tanh form, which the published models have.
    GeluTanh,
    /// The form with the error function.
    Gelu,
}

/// transformers' names of the two forms.
const ACTIVATIONS: [(&str, Activation); 7] = [
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
];

/// More layers than any model has; each costs memory before a weight is read.
const MOST_LAYERS: usize = 10_000;
/// More numbers than any machine holds.
const MOST_PARAMETERS: u64 = 1 << 42;

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
        let bytes = read_small(path).map_err(FileError::on("read", path))?;
        Self::from_json(json_object(path, &bytes)?).map_err(|error| match error {
            ModelError::Config(reason) => ModelError::ConfigFile { path: path.into(), reason },
            other => other,
        })
    }

    /// Checks the fields of a `config.json`. What a file leaves out is what transformers takes for it.
    ///
    /// # Errors
    ///
    /// As [`GptNeoConfig::from_file`].
    pub fn from_json(source: Map<String, Value>) -> Result<Self, ModelError> {
        let mut fields = Fields { map: &source, problems: Vec::new() };
        match fields.map.get("model_type") {
            Some(Value::String(kind)) if kind == "gpt_neo" => {}
            // Without it, the sizes say whether it is a model's configuration at all.
            None | Some(Value::Null) => {
                fields.require(&["hidden_size", "vocab_size", "max_position_embeddings"])
            }
            Some(other) => fields.refuse(format!("model_type is {}, expected \"gpt_neo\"", shown(other))),
        }
        let hidden_size = fields.size(&["hidden_size"]).unwrap_or(2048);
        let num_layers = fields.size(&["num_layers", "num_hidden_layers"]).unwrap_or(24);
        let num_heads = fields.size(&["num_heads", "num_attention_heads"]).unwrap_or(16);
        let attention_layers = fields.attention_layers(num_layers);
        let activation = fields.activation();
        let dropouts = ["attention_dropout", "embed_dropout", "resid_dropout"];
        let rate = |rate: f64| (0.0..=1.0).contains(&rate);
        let dropouts = dropouts.map(|name| fields.number(name, "0 to 1", rate).unwrap_or(0.0));
        // What is computed with them stays within f32.
        let positive = |number: f64| (0.0..=1e30).contains(&number);
        let config = Self {
            hidden_size,
            intermediate_size: fields.size(&["intermediate_size"]).unwrap_or(hidden_size.saturating_mul(4)),
            attention_layers,
            num_heads,
            vocab_size: fields.size(&["vocab_size"]).unwrap_or(50257),
            max_position_embeddings: fields.size(&["max_position_embeddings"]).unwrap_or(2048),
            window_size: fields.size(&["window_size"]).unwrap_or(256),
            activation,
            layer_norm_epsilon: fields.number("layer_norm_epsilon", "0 to 1e30", positive).unwrap_or(1e-5),
            initializer_range: fields.number("initializer_range", "0 to 1e30", positive).unwrap_or(0.02),
            tie_word_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
            base_dropout: dropouts.into_iter().fold(0.0, f64::max),
            eos_token_ids: fields.tokens("eos_token_id"),
            source: Map::new(),
        };
        if !hidden_size.is_multiple_of(num_heads.max(1)) {
            fields.refuse(format!("hidden_size {hidden_size} is not a multiple of num_heads {num_heads}"));
        }
        let parameters = config.parameters();
        if parameters > MOST_PARAMETERS {
            fields.refuse(format!(
                "these sizes make a model of {parameters:.1e} parameters",
                parameters = parameters as f64
            ));
        }
        let problems = fields.problems;
        if !problems.is_empty() {
            return Err(ModelError::Config(problems.join("; ")));
        }
        Ok(Self { source, ..config })
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
        self.eos_token_ids = vec![end_of_text];
        self.source.insert("bos_token_id".into(), end_of_text.into());
        self
    }

    /// The same shape with a head that is not the token embedding.
    #[must_use]
    pub(crate) fn with_own_head(&self) -> Self {
        Self { tie_word_embeddings: false, ..self.clone() }
    }

    /// `generation_config.json` of a model that comes with none: where its texts begin and end.
    pub(crate) fn generation_settings(&self) -> Map<String, Value> {
        let mut map = self.changed_source();
        map.retain(|field, id| {
            ["bos_token_id", "eos_token_id", "pad_token_id"].contains(&field.as_str()) && !id.is_null()
        });
        map
    }

    /// The name of the activation: the file's, unless it has changed since.
    pub(crate) fn activation_name(&self) -> &'static str {
        let named = self.source.get("activation_function").and_then(Value::as_str);
        let of_kind =
            || ACTIVATIONS.iter().filter(|(_, kind)| *kind == self.activation).map(|(name, _)| *name);
        of_kind().find(|name| Some(*name) == named).or_else(|| of_kind().next()).unwrap_or_default()
    }

    /// The file as it was read, with the fields that have changed since.
    fn changed_source(&self) -> Map<String, Value> {
        let mut map = self.source.clone();
        let read = Self::from_json(self.source.clone()).ok();
        let before = read.as_ref().map(Self::typed);
        for (at, (names, value)) in self.typed().into_iter().enumerate() {
            if before.as_ref().is_none_or(|before| before[at].1 != value) {
                names[1..].iter().for_each(|other| _ = map.shift_remove(*other));
                map.insert(names[0].into(), value);
            }
        }
        // What a file leaves out follows from the width.
        if read.is_none_or(|read| read.hidden_size != self.hidden_size) {
            map.insert("intermediate_size".into(), self.intermediate_size.into());
        }
        map
    }

    /// What a program can change, as files have it: the field's name, other names of it, and the value.
    fn typed(&self) -> Vec<(&'static [&'static str], Value)> {
        let ends = match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => (*one).into(),
            several => several.into(),
        };
        vec![
            (&["hidden_size"], self.hidden_size.into()),
            (&["intermediate_size"], self.intermediate_size.into()),
            (&["num_layers", "num_hidden_layers"], self.num_layers().into()),
            (&["num_heads", "num_attention_heads"], self.num_heads.into()),
            (&["attention_types", "attention_layers"], json!([[self.attention_layers, 1]])),
            (&["vocab_size"], self.vocab_size.into()),
            (&["max_position_embeddings"], self.max_position_embeddings.into()),
            (&["window_size"], self.window_size.into()),
            (&["activation_function"], self.activation_name().into()),
            (&["layer_norm_epsilon"], self.layer_norm_epsilon.into()),
            (&["initializer_range"], self.initializer_range.into()),
            (&["tie_word_embeddings"], self.tie_word_embeddings.into()),
            // The largest of three rates.
            (&["resid_dropout", "attention_dropout", "embed_dropout"], self.base_dropout.into()),
            (&["eos_token_id"], ends),
        ]
    }

    /// The configuration as `config.json` holds it, with the fields that transformers needs to find the class
    /// and `torch_dtype` as given ("float32", "float16", "bfloat16").
    pub fn to_json(&self, dtype: &str) -> Value {
        let mut map = self.changed_source();
        map.insert("architectures".into(), Value::from(vec!["GPTNeoForCausalLM"]));
        map.insert("model_type".into(), "gpt_neo".into());
        // Older files say torch_dtype, newer ones dtype; a file with both could contradict itself.
        map.shift_remove("dtype");
        map.insert("torch_dtype".into(), dtype.into());
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests;
