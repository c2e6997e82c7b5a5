//! A model in hand, with its tokenizer and the template it is asked with: it answers, is measured and is saved.

use std::path::Path;

use gptneo_datasets::{DEFAULT_INSTRUCTION, DataOptions, PromptTemplate, Record, Tokenizer, encode_examples};
use gptneo_model::adapter::{adapter_folder, load_adapter};
use gptneo_model::checkpoint::{SaveFormat, save_model};
use gptneo_model::generate::{GenerationConfig, generate};
use gptneo_model::{GptNeo, NeoBackend, SamplingConfig};
use gptneo_training::measure::{Bytes, Evaluation, evaluate};

use super::model_folder::ModelFolder;
use super::template::own_template;
use crate::Result;
use crate::backend::{Cpu, on_compute_thread};

/// The longest answer where nothing else is asked for, in tokens.
const ANSWER_TOKENS: usize = 100;
/// Texts in a batch of a measurement; the result does not depend on it beyond rounding.
const BATCH: usize = 8;

/// A GPT-Neo that can be asked.
pub struct Model<B: NeoBackend = Cpu> {
    pub(crate) network: GptNeo<B>,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: PromptTemplate,
    pub(crate) device: B::Device,
    /// What goes beside the weights.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// The tokens that end an answer.
    pub(crate) end_tokens: Vec<u32>,
}

impl<B: NeoBackend> Model<B> {
    /// A network with the tokenizer and the settings of its base's folder, asked with a template.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of(
        network: GptNeo<B>,
        folder: &ModelFolder,
        template: PromptTemplate,
        device: B::Device,
    ) -> Result<Self> {
        let (files, end_tokens) = (folder.kept_files()?, folder.end_tokens_of_tuned());
        let tokenizer = folder.tokenizer().clone();
        Ok(Self { network, tokenizer, template, device, files, end_tokens })
    }

    /// The model with the LoRA adapter of a folder, one that this program or PEFT wrote; asked with the template that the
    /// adapter was tuned with, where the folder has it.
    ///
    /// # Errors
    /// As [`load_adapter`]; or `prompt_template.txt` is no template.
    pub fn with_adapter(self, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let template = own_template(&adapter_folder(folder))?.unwrap_or(self.template);
        let network = load_adapter(self.network, folder, &self.device)?.0;
        Ok(Self { network, template, ..self })
    }

    /// The model, asked with another template than its own.
    #[must_use]
    pub fn with_template(self, template: PromptTemplate) -> Self {
        Self { template, ..self }
    }

    /// The network itself.
    pub fn network(&self) -> &GptNeo<B> {
        &self.network
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The likeliest answer to a question.
    ///
    /// # Errors
    /// The question leaves no room for an answer, or the tokenizer fails.
    pub fn answer(&self, question: &str) -> Result<String> {
        self.stream(question, |_| {})
    }

    /// As [`Model::answer`]; `on_text` hears each piece of the answer as soon as it is whole characters.
    ///
    /// # Errors
    /// As [`Model::answer`].
    pub fn stream(&self, question: &str, on_text: impl FnMut(&str) + Send) -> Result<String> {
        let prompt = self.template.question_prompt(question, DEFAULT_INSTRUCTION);
        let config = GenerationConfig {
            max_new_tokens: ANSWER_TOKENS,
            sampling: SamplingConfig::default(),
            end_tokens: self.end_tokens.clone(),
        };
        Ok(self.generate(&prompt, &config, on_text)?.trim().to_string())
    }

    /// What follows a prompt; `on_text` hears it piece by piece.
    ///
    /// # Errors
    /// As [`generate`]; or the tokenizer fails.
    pub fn generate(
        &self,
        prompt: &str,
        config: &GenerationConfig,
        mut on_text: impl FnMut(&str) + Send,
    ) -> Result<String> {
        let prompt = self.tokenizer.encode(prompt)?;
        let mut decoder = self.tokenizer.stream();
        // The decode loop cannot be stopped, so the first failure is kept.
        let mut failed = None;
        let mut hear = |_: usize, id: u32| match decoder.push(id) {
            Ok(piece) => on_text(&piece),
            Err(error) => failed = failed.take().or(Some(error)),
        };
        let on_token: &mut (dyn FnMut(usize, u32) + Send) = &mut hear;
        let texts = on_compute_thread(|| generate(&self.network, &[prompt], config, on_token))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        on_text(&decoder.finish()?);
        let ids: Vec<u32> = texts.into_iter().flat_map(|text| text.ids).collect();
        Ok(self.tokenizer.decode(&ids)?)
    }

    /// Loss, perplexity and bits per byte on records, by three protocols. A text of more than 256 tokens, or than the model
    /// has positions, loses the end of its answer.
    ///
    /// # Errors
    /// No records, none of which something of an answer is left, or a loss that is not finite.
    pub fn evaluate(&self, records: &[Record]) -> Result<Evaluation> {
        let options = DataOptions::default();
        let length = options.max_length().min(self.network.config().max_position_embeddings);
        let DataOptions { supervise, overlong, .. } = options;
        let texts = encode_examples(records, &self.template, &self.tokenizer, length, supervise, overlong)?;
        let end_of_text = self.tokenizer.end_of_text();
        let on_batch: &mut (dyn FnMut(usize, usize) + Send) = &mut |_, _| {};
        let measure = || evaluate::<B>(&self.network, &texts.examples, end_of_text, length, BATCH, on_batch);
        let found = on_compute_thread(measure)?;
        Ok(found.in_bytes(Bytes::of(&texts.examples, &self.tokenizer, length)?))
    }

    /// Writes a Hugging Face folder, in place of one that may be there. It appears whole or not at all.
    ///
    /// # Errors
    /// The model carries an adapter, which is to be merged first; or the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        Ok(save_model(&self.network, folder.as_ref(), SaveFormat::default(), &self.files)?)
    }
}
