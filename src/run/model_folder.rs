//! A model's folder, opened once: its shape and its tokenizer, and from there its weights, as often as they are needed.

use std::path::{Path, PathBuf};

use gptneo_datasets::Tokenizer;
use gptneo_model::adapter::load_adapter;
use gptneo_model::checkpoint::{check_loaded, load_model_of};
use gptneo_model::engine::Adapter;
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, WeightFormat};

use crate::backend::is_gpu;
use crate::error::{Error, Remedy, Result};

/// Adapters apart from their base, by their names.
pub(crate) type NamedAdapters<B> = Vec<(String, Adapter<B>)>;

/// A Hugging Face folder of a GPT-Neo.
#[derive(Clone)]
pub struct ModelFolder {
    path: PathBuf,
    config: GptNeoConfig,
    tokenizer: Tokenizer,
}

impl ModelFolder {
    /// Reads the configuration and the tokenizer of the folder at `path`.
    ///
    /// # Errors
    /// There is no such folder, a file is missing or damaged, or the tokenizer has ids that the model has no embedding
    /// for.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if !path.is_dir() {
            return Err(Error::input(
                format!("there is no folder {}", path.display()),
                Remedy::say("give the folder of a model, or its name on the Hub, OWNER/NAME"),
            ));
        }
        let config = GptNeoConfig::from_folder(&path)?;
        let tokenizer = Tokenizer::from_folder(&path)?;
        if tokenizer.vocab_size() > config.vocab_size {
            let what = format!(
                "the tokenizer in {} has {} tokens, but the model's vocabulary has {}",
                path.display(),
                tokenizer.vocab_size(),
                config.vocab_size
            );
            return Err(Error::input(what, Remedy::say("they do not belong together")));
        }
        Ok(Self { path, config, tokenizer })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's shape.
    pub fn config(&self) -> &GptNeoConfig {
        &self.config
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model. On a GPU the weights are read back and compared with the files.
    ///
    /// # Errors
    /// As [`load_model_of`]; or the GPU holds other numbers.
    pub fn load<B: NeoBackend>(&self, device: &B::Device) -> Result<GptNeo<B>> {
        self.load_in(WeightFormat::F32, device)
    }

    /// The model with the adapter of a folder, where one is given, and its weights in this format: other formats than
    /// f32 are for answers and measurements alone.
    ///
    /// # Errors
    /// As [`ModelFolder::load`] and [`load_adapter`].
    pub fn load_adapted<B: NeoBackend>(
        &self,
        adapter: Option<&Path>,
        format: WeightFormat,
        device: &B::Device,
    ) -> Result<GptNeo<B>> {
        let model = self.load_in(format, device)?;
        let model = match adapter {
            Some(adapter) => load_adapter(model, adapter, device)?.0,
            None => model,
        };
        Ok(model.with_weights(format))
    }

    /// The model in this format, and the adapters of these folders apart from it, by their names.
    ///
    /// # Errors
    /// As [`ModelFolder::load_adapted`].
    pub(crate) fn load_with<B: NeoBackend>(
        &self,
        adapters: &[(String, PathBuf)],
        format: WeightFormat,
        device: &B::Device,
    ) -> Result<(GptNeo<B>, NamedAdapters<B>)> {
        let model = self.load_in(format, device)?;
        let load =
            |(name, folder): &(String, PathBuf)| Ok((name.clone(), Adapter::load(&model, folder, device)?));
        let adapters = adapters.iter().map(load).collect::<Result<Vec<_>>>()?;
        Ok((model.with_weights(format), adapters))
    }

    fn load_in<B: NeoBackend>(&self, format: WeightFormat, device: &B::Device) -> Result<GptNeo<B>> {
        let model = load_model_of::<B>(&self.config, format, &self.path, device)?;
        if is_gpu::<B>(device) {
            check_loaded(&model, &self.path)?;
        }
        Ok(model)
    }

    /// The folder's own settings for generation, where it has some: a file that a merged model takes along.
    pub(crate) fn generation_config(&self) -> Option<(String, Vec<u8>)> {
        let name = "generation_config.json";
        std::fs::read(self.path.join(name)).ok().map(|bytes| (name.to_string(), bytes))
    }
}
