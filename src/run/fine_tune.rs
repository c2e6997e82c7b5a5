//! Fine-tuning in a few lines: a base, records, and the tuned model back. What a run leaves in its folder stays in
//! memory here, until it is saved.

use std::path::{Path, PathBuf};

use burn::backend::Autodiff;
use gptneo_datasets::{DataOptions, Dataset, Record, Turns};
use gptneo_files::FileError;
use gptneo_model::adapter::save_adapter;
use gptneo_model::checkpoint::end_texts_at;
use gptneo_model::{LoraConfig, NeoBackend};
use gptneo_training::{Event, Observer, Silent, TrainingConfig, TrainingRun, Tuning};

use super::embedded;
use super::merge::merged_with_proof;
use super::model::Model;
use super::model_folder::ModelFolder;
use crate::Result;
use crate::backend::{Cpu, on_compute_thread};
use crate::settings::DataSettings;

/// The model that training starts from.
#[derive(Clone, Debug)]
pub struct Base(Origin);

#[derive(Clone, Debug)]
enum Origin {
    Embedded,
    Folder(PathBuf),
}

impl Base {
    /// The small model that this library carries; `model/small-medical/README.md` is its card.
    pub fn embedded() -> Self {
        Self(Origin::Embedded)
    }

    /// A Hugging Face folder of a GPT-Neo.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self(Origin::Folder(path.into()))
    }

    /// The model, on the CPU.
    ///
    /// # Errors
    /// As [`Base::load_on`].
    pub fn load(&self) -> Result<Model> {
        self.load_on(Default::default())
    }

    /// The model, on a device; asked with the template that it was tuned with, where its folder has that, else with the
    /// recipe's.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn load_on<B: NeoBackend>(&self, device: B::Device) -> Result<Model<B>> {
        self.opened(|folder| Model::of(folder.load(&device)?, folder, folder.template(None)?, device))
    }

    /// Its name for the adapter's settings.
    fn name(&self) -> String {
        match &self.0 {
            Origin::Embedded => embedded::MODEL_NAME.to_string(),
            Origin::Folder(path) => path.display().to_string(),
        }
    }

    /// Hands its folder to `read`; the embedded model has one for that long.
    fn opened<T>(&self, read: impl FnOnce(&ModelFolder) -> Result<T>) -> Result<T> {
        match &self.0 {
            Origin::Folder(path) => read(&ModelFolder::open(path)?),
            Origin::Embedded => {
                let folder = tempfile::tempdir().map_err(FileError::on("create", std::env::temp_dir()))?;
                let path = folder.path().join(embedded::MODEL_NAME);
                embedded::unpack_model(&path)?;
                read(&ModelFolder::open(path)?)
            }
        }
    }
}

/// A fine-tuning with LoRA, about to begin: every part has the recipe's default.
///
/// The same seed gives the same adapter, as long as nothing else in the process draws random numbers meanwhile: Burn has one
/// generator for all.
///
/// ```
/// use gptneo_lora::{Base, FineTune, Record, TrainingConfig};
///
/// let records = vec![Record::new("What is measured in hertz?", "Frequency is measured in hertz.")];
/// let tuned = FineTune::of(Base::embedded())
///     .training(TrainingConfig { max_steps: Some(2), ..Default::default() })
///     .on(records)?;
/// let merged = tuned.merge()?;
/// println!("{}", merged.answer("What is measured in hertz?")?);
/// # Ok::<(), gptneo_lora::Error>(())
/// ```
pub struct FineTune<B: NeoBackend = Cpu> {
    base: Base,
    device: B::Device,
    lora: LoraConfig,
    training: TrainingConfig,
    data: DataOptions,
    observer: Box<dyn Observer>,
}

impl FineTune {
    /// Of a base, on the CPU.
    pub fn of(base: Base) -> Self {
        Self::of_on(base, Default::default())
    }
}

impl<B: NeoBackend> FineTune<B> {
    /// Of a base, on a device of another backend.
    pub fn of_on(base: Base, device: B::Device) -> Self {
        Self {
            base,
            device,
            lora: LoraConfig::default(),
            training: TrainingConfig::default(),
            // All records are for learning.
            data: DataOptions { validation_fraction: 0.0, ..DataOptions::default() },
            observer: Box::new(Silent),
        }
    }

    /// The adapter's shape.
    #[must_use]
    pub fn lora(self, lora: LoraConfig) -> Self {
        Self { lora, ..self }
    }

    /// How it is trained.
    #[must_use]
    pub fn training(self, training: TrainingConfig) -> Self {
        Self { training, ..self }
    }

    /// How records become texts; a share of them can be put aside to measure on. The split follows from the training's
    /// seed, and not from one of its own.
    #[must_use]
    pub fn data(self, data: DataOptions) -> Self {
        Self { data, ..self }
    }

    /// Who hears of each step: a closure will do.
    #[must_use]
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        Self { observer: Box::new(observer), ..self }
    }

    /// Trains on `records`.
    ///
    /// # Errors
    /// A base that cannot be read, settings that make no sense, a longest text beyond the model's positions, or records
    /// without an answer to learn.
    pub fn on(self, records: Vec<Record>) -> Result<Tuned<B>> {
        let Self { base, device, lora, training, mut data, mut observer } = self;
        data.seed = training.seed;
        let turns = Turns::of(&records);
        base.opened(|folder| {
            let mut named = DataSettings { options: data, ..DataSettings::default() };
            named.resolve_length(Some(folder.config().max_position_embeddings))?;
            let data = named.options;
            let examples = Dataset::from_records(records, &data, folder.tokenizer())?;
            let trained = on_compute_thread(|| -> Result<_> {
                let run = TrainingRun::new(folder.load::<Autodiff<B>>(&device)?, examples.training())
                    .tuning(Tuning::Lora(lora.clone()))
                    .validation(examples.validation())
                    .config(training)
                    .observer(move |event: Event<'_>| observer.hear(event));
                Ok(run.train()?)
            })?;
            let model = Model::of(trained.model, folder, data.prompt_template, device.clone())?;
            Ok(Tuned { model, lora, base: base.name(), turns })
        })
    }
}

/// A base with the adapter that was trained on it.
pub struct Tuned<B: NeoBackend = Cpu> {
    model: Model<B>,
    lora: LoraConfig,
    base: String,
    turns: Turns,
}

impl<B: NeoBackend> Tuned<B> {
    /// The model, which carries the adapter: to ask and to measure.
    pub fn model(&self) -> &Model<B> {
        &self.model
    }

    /// Base and adapter as one plain model, which is proven to compute the same.
    ///
    /// # Errors
    /// [`crate::Error::Merge`]: it does not.
    pub fn merge(&self) -> Result<Model<B>> {
        let Model { network, tokenizer, template, device, files, end_tokens } = &self.model;
        let mut files = [files.as_slice(), &template.files(self.turns)].concat();
        end_texts_at(tokenizer.end_of_text(), &mut files, network.config())?;
        let (merged, _) = on_compute_thread(|| merged_with_proof(network.clone(), tokenizer))?;
        Ok(Model {
            network: merged,
            tokenizer: tokenizer.clone(),
            template: template.clone(),
            device: device.clone(),
            files,
            end_tokens: end_tokens.clone(),
        })
    }

    /// Writes the adapter as PEFT does, with the template that it was tuned with, in place of one that may be there. It
    /// appears whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save_adapter(&self, folder: impl AsRef<Path>) -> Result<()> {
        let Model { network, template, .. } = &self.model;
        Ok(save_adapter(network, &self.lora, &self.base, folder.as_ref(), &template.files(self.turns))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing;

    fn base() -> Base {
        Base::folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/window"))
    }

    fn tuned() -> Tuned {
        let records = ["heart", "lungs", "kidneys", "liver", "brain"];
        let records = records.map(|organ| Record::new(format!("What does the {organ} do?"), "It works."));
        let config = TrainingConfig { max_steps: Some(4), learning_rate: 1e-2, ..Default::default() };
        let template = "Q: {input}\nA: {output}".parse().unwrap();
        let data =
            DataOptions { prompt_template: template, validation_fraction: 0.0, ..DataOptions::default() };
        FineTune::of(base()).data(data).training(config).on(records.into()).unwrap()
    }

    #[test]
    fn what_is_tuned_merged_and_saved_answers_alike() {
        let (tuned, question) = (tuned(), "What does the heart do?");
        let answer = tuned.model().answer(question).unwrap();
        assert_ne!(answer, base().load().unwrap().answer(question).unwrap(), "something was learned");
        let merged = tuned.merge().unwrap();
        let mut pieces = String::new();
        let streamed = merged.stream(question, |piece| pieces.push_str(piece)).unwrap();
        assert_eq!([streamed.as_str(), pieces.trim()], [answer.as_str(); 2]);

        let folder = tempfile::tempdir().unwrap();
        let [adapter, model] = ["adapter", "merged"].map(|name| folder.path().join(name));
        tuned.save_adapter(&adapter).unwrap();
        merged.save(&model).unwrap();
        let adapted = base().load().unwrap().with_adapter(&adapter).unwrap();
        assert_eq!(adapted.answer(question).unwrap(), answer);
        let loaded = Base::folder(&model).load().unwrap();
        assert_eq!(loaded.answer(question).unwrap(), answer);
        assert_eq!([&adapted.template, &loaded.template], [&tuned.model().template; 2]);
        let records = [Record::new(question, "It works.")];
        let [one, other] = [&adapted, &merged].map(|model| model.evaluate(&records).unwrap().response.loss);
        assert!((one - other).abs() < 1e-4, "{one} {other}");
    }

    #[test]
    fn a_longest_text_beyond_the_models_positions_is_refused() {
        let data = DataOptions { max_seq_length: Some(129), ..DataOptions::default() };
        let refused = FineTune::of(base()).data(data).on(vec![Record::new("Why?", "So.")]).map(drop);
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("129 tokens") && said.contains("128 or less"), "{said}");
    }

    /// In a process of its own: Burn's generator is shared by all that is drawn in one, other tests' too.
    #[test]
    fn the_same_seed_gives_the_same_adapter() {
        const TEST: &str = "run::fine_tune::tests::the_same_seed_gives_the_same_adapter";
        if testing::passed_to_a_process_of_its_own(TEST) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| {
            let path = folder.path().join(name);
            tuned().save_adapter(&path).unwrap();
            std::fs::read(path.join("adapter_model.safetensors")).unwrap()
        });
        assert!(one == other);
    }
}
