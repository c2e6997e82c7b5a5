//! A model's folder, opened once: its shape and its tokenizer, and from there its weights, as often as they are needed.

use std::path::{Path, PathBuf};

use burn::module::AutodiffModule;
use gptneo_datasets::{PromptTemplate, Tokenizer, Turns};
use gptneo_model::adapter::{adapter_folder, load_adapter};
use gptneo_model::checkpoint::{
    check_loaded, end_texts_at, end_tokens, kept_files, load_base, load_model_of, note_on_weights,
};
use gptneo_model::engine::Adapter;
use gptneo_model::{GptNeo, GptNeoConfig, NeoBackend, WeightFormat};

use super::template::{own_template, own_turns};
use crate::backend::{Load, Training, Work, is_gpu};
use crate::{Error, Remedy, Result};

/// Adapters apart from their base, by their names.
pub(crate) type NamedAdapters<B> = Vec<(String, Adapter<B>)>;

/// A Hugging Face folder of a GPT-Neo.
#[derive(Clone)]
pub struct ModelFolder {
    path: PathBuf,
    config: GptNeoConfig,
    tokenizer: Tokenizer,
    end_tokens: Vec<u32>,
}

impl ModelFolder {
    /// Reads the configuration and the tokenizer of the folder at `path`.
    ///
    /// # Errors
    /// There is no such folder, a file is missing or damaged, or the tokenizer's vocabulary has ids that the model has no
    /// embedding for.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if !path.is_dir() {
            return Err(Error::input(
                format!("there is no folder {}", path.display()),
                Remedy::say("give the folder of a model, or its name on the Hub, OWNER/NAME"),
            ));
        }
        let config = GptNeoConfig::from_folder(&path)?;
        let tokenizer = Tokenizer::for_model(&path, config.vocab_size)?;
        let end_tokens = end_tokens(&path, &config)?;
        Ok(Self { path, config, tokenizer, end_tokens })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same folder after it was moved to `path`.
    pub(crate) fn at(self, path: PathBuf) -> Self {
        Self { path, ..self }
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

    /// The model as the base of a training, its matrices in this format.
    ///
    /// # Errors
    /// As [`ModelFolder::load`].
    pub(crate) fn load_base<B: NeoBackend>(
        &self,
        format: WeightFormat,
        device: &B::Device,
    ) -> Result<GptNeo<Training<B>>> {
        if format == WeightFormat::F32 {
            return self.load::<Training<B>>(device);
        }
        Ok(GptNeo::from_inner(load_base::<B>(&self.config, format, &self.path, device)?))
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

    /// The model as the adapter of a folder was trained over it: its matrices in `format`.
    ///
    /// # Errors
    /// As [`ModelFolder::load_adapted`].
    pub(crate) fn load_trained<B: NeoBackend>(
        &self,
        adapter: &Path,
        format: WeightFormat,
        device: &B::Device,
    ) -> Result<GptNeo<B>> {
        let base = load_base::<B>(&self.config, format, &self.path, device)?;
        Ok(load_adapter(base, adapter, device)?.0)
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
        if !is_gpu::<B>(device) {
            let (work, smaller) = (Work::Answering, Remedy::None);
            Load { model: &self.config, weights: format, work, positions: 0.0, smaller }.check_processor()?;
        }
        let model = load_model_of::<B>(&self.config, format, &self.path, device)?;
        if is_gpu::<B>(device) {
            check_loaded(&model, &self.path)?;
        }
        Ok(model)
    }

    /// The tokens at which the folder says that its model ends a text: by its settings for generation, else by its
    /// configuration, else the tokenizer's end-of-text.
    pub fn end_tokens(&self) -> Vec<u32> {
        match self.end_tokens.as_slice() {
            [] => vec![self.tokenizer.end_of_text()],
            named => named.to_vec(),
        }
    }

    /// [`ModelFolder::end_tokens`], and the end-of-text that closes every text of a training, for a model that was tuned.
    pub fn end_tokens_of_tuned(&self) -> Vec<u32> {
        let mut ends = self.end_tokens();
        if !ends.contains(&self.tokenizer.end_of_text()) {
            ends.push(self.tokenizer.end_of_text());
        }
        ends
    }

    /// How many questions a text may have, by what stands beside the weights of the adapter in a folder, where one is
    /// given, or of the model.
    pub fn turns(&self, adapter: Option<&Path>, template: &PromptTemplate) -> Turns {
        own_turns(&adapter.map_or_else(|| self.path.clone(), adapter_folder), template)
    }

    /// The template that the model is asked with: that of the adapter in a folder, where one is given and has one, else
    /// the model's own, else the recipe's.
    ///
    /// # Errors
    /// `prompt_template.txt` in one of the folders cannot be read, or is no template.
    pub fn template(&self, adapter: Option<&Path>) -> Result<PromptTemplate> {
        let of_adapter = adapter.map(|folder| own_template(&adapter_folder(folder))).transpose()?.flatten();
        match of_adapter {
            Some(template) => Ok(template),
            None => Ok(own_template(&self.path)?.unwrap_or_default()),
        }
    }

    /// What of the weights is not used, or is used against the configuration, where there is something to say. A folder
    /// whose weights cannot be read says so when they are.
    pub fn note(&self) -> Option<String> {
        let note = note_on_weights(&self.config, &self.path).ok().flatten()?;
        Some(format!("{}: {note}", self.path.display()))
    }

    /// The files that a model made from this one takes along: the tokenizer's, and every other setting of the folder.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn kept_files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = self.tokenizer.files();
        for (name, bytes) in kept_files(&self.path)? {
            if files.iter().all(|file| file.0 != name) {
                files.push((name, bytes));
            }
        }
        Ok(files)
    }

    /// [`ModelFolder::kept_files`] for a model that was tuned: its settings for generation end texts at the end-of-text
    /// that closed every text of the training as well.
    ///
    /// # Errors
    /// As [`ModelFolder::kept_files`]; or `generation_config.json` is damaged.
    pub fn kept_files_of_tuned(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = self.kept_files()?;
        end_texts_at(self.tokenizer.end_of_text(), &mut files, &self.config)?;
        Ok(files)
    }
}
