//! How a run begins: its settings settled, its folder taken, its model and data found, read and hashed. Nothing is
//! computed yet, and what cannot be is refused before anything is fetched for it.

use std::path::Path;

use gptneo_datasets::{DataReport, Dataset, Example, Reading};
use gptneo_report::Decoding;
use gptneo_training::TuningKind;

use super::data::{FoundData, OpenedData};
use super::embedded::Unpacked;
use super::facts;
use super::folder::RunFolder;
use super::manifest::{Inputs, Manifest};
use super::model_folder::ModelFolder;
use super::source::{Found, Kind, Source, Sources};
use super::taken::Taken;
use crate::backend::{Load, Work, smaller_batches};
use crate::settings::{Layer, Settings};
use crate::{Error, Problem, Remedy, Result};

/// Whether a run is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A new one.
    New,
    /// It goes on from its newest checkpoint.
    Resumed,
}

/// A run whose settings are settled; its model and data are still names.
pub struct Opening {
    settings: Settings,
    taken: Taken,
    start: Start,
    /// What the settings ask for and do not get.
    warning: Option<Problem>,
    /// A run that this one is to be compared with: it has the same inputs.
    beside: Option<RunFolder>,
}

/// A run whose inputs are read: the model's folder looked at, the data encoded and split, everything hashed.
pub struct Run {
    pub(crate) settings: Settings,
    pub(crate) folder: RunFolder,
    /// The folder in this process's hands: a new run's appears when the run begins.
    pub(crate) taken: Taken,
    pub(crate) base: ModelFolder,
    pub(crate) data: Dataset,
    /// The longest text in tokens.
    pub(crate) max_length: usize,
    /// Where model and data came from.
    pub(crate) sources: Sources,
    pub(crate) inputs: Inputs,
    pub(crate) start: Start,
    /// What a person should know before it begins.
    pub(crate) warnings: Vec<Problem>,
}

impl Opening {
    /// A new run in the folder that the settings name, which must be new or empty.
    ///
    /// # Errors
    /// Settings that cannot be, a used folder or one that another process has, data that are not named, or a device that
    /// cannot compute.
    pub fn new(settings: Settings) -> Result<Self> {
        let taken = Taken::new(settings.run.folder()?)?;
        Self::settle(settings, taken, Start::New)
    }

    /// The run in `folder` goes on, with its own settings and those of `layer` over them.
    ///
    /// # Errors
    /// There is no run, or as [`Opening::new`].
    pub fn resume(folder: &Path, layer: Layer) -> Result<Self> {
        let taken = Taken::begun(folder)?;
        let settings = taken.folder().settings_with(layer)?;
        Self::settle(settings, taken, Start::Resumed)
    }

    fn settle(mut settings: Settings, taken: Taken, start: Start) -> Result<Self> {
        settings.validate()?;
        settings.data.file()?;
        settings.run.check_devices()?;
        let (precision, warning) = settings.run.place().precision(settings.run.precision)?;
        settings.run.precision = precision;
        settings.run.place().check_base_weights(settings.run.base_weights)?;
        Ok(Self { settings, taken, start, warning, beside: None })
    }

    /// The run goes beside another, which was made from the same inputs.
    pub(super) fn beside(self, other: RunFolder) -> Self {
        Self { beside: Some(other), ..self }
    }

    /// Reads model and data. `find` turns their names into local files; it also hears where an earlier start of the
    /// same run found them. Where there are only local files, it is [`local`].
    ///
    /// # Errors
    /// What `find` says, or a file that cannot be read or does not fit.
    pub fn read<E: From<Error>>(
        self,
        mut find: impl FnMut(Kind, &Path, Option<&Source>) -> Result<Found, E>,
    ) -> Result<Run, E> {
        let Self { mut settings, taken, start, warning, beside } = self;
        let folder = taken.folder().clone();
        let before = match start {
            Start::New => Sources::default(),
            Start::Resumed => folder.manifest()?.sources,
        };
        let name = settings.model.folder()?.to_path_buf();
        let found = match Unpacked::model(&name, &taken)? {
            Some(unpacked) => {
                settings.model.path = Some(unpacked.later);
                Found::local(&unpacked.now)
            }
            None => find(Kind::Model, &name, before.model.as_ref())?,
        };
        let base = ModelFolder::open(found.path)?;
        let note = base.note().map(|what| Problem { what, remedy: Remedy::None });
        let unpacked = Unpacked::data(settings.data.file()?, &taken)?;
        if let Some(unpacked) = &unpacked {
            settings.data.path = Some(unpacked.now.clone());
        }
        let files = FoundData::of(&settings.data, &before, &mut find)?;
        let max_length = settings.data.resolve_length(Some(base.config().max_position_embeddings))?;
        let OpenedData { data, warnings } = files.read(&settings, base.tokenizer())?;
        let inputs = Inputs::hash(base.path(), settings.model.adapter.as_deref(), &files.files)?;
        beside.iter().try_for_each(|other| other.check_inputs(&inputs))?;
        if let Some(unpacked) = unpacked {
            settings.data.path = Some(unpacked.later);
        }
        let sources = Sources { model: found.source, ..files.sources };
        let warnings = warning.into_iter().chain(note).chain(warnings).collect();
        Ok(Run { settings, folder, taken, base, data, max_length, sources, inputs, start, warnings })
    }
}

/// A name as the path that it is, for [`Opening::read`].
///
/// # Errors
/// None.
pub fn local(_kind: Kind, name: &Path, _before: Option<&Source>) -> Result<Found> {
    Ok(Found::local(name))
}

impl Run {
    /// The run's folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The settings, resolved.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is tuned on what.
    pub fn title(&self) -> String {
        facts::title(&self.settings)
    }

    /// How the answers are chosen.
    pub fn decoding(&self) -> Decoding {
        facts::decoding(&self.settings)
    }

    /// How the data were read.
    pub fn reading(&self) -> Option<&Reading> {
        self.data.reading.as_ref()
    }

    /// What the data hold.
    pub fn data_report(&self) -> DataReport {
        self.data.report(self.settings.training.batch_size, self.settings.training.seed)
    }

    /// The longest text in tokens.
    pub(crate) fn longest(&self) -> usize {
        let lengths = self.data.examples().map(|example: &Example| example.ids.len());
        lengths.max().unwrap_or_default()
    }

    /// Refuses a model, an adapter, or batches of texts of `tokens` tokens, that the device cannot hold.
    ///
    /// # Errors
    /// As [`crate::backend::Place::check_room`]; or the machine's memory is too small whatever is done.
    pub(crate) fn check_room(&self, tokens: usize) -> Result<()> {
        let Settings { run, training, model, lora, .. } = &self.settings;
        let (place, examples) = (run.place(), self.data.examples().count().max(1));
        let rows = training.batch_size.min(examples);
        place.check_room(self.base.config(), rows, tokens)?;
        if model.tuning == TuningKind::Lora {
            place.check_adapter(self.base.config(), lora)?;
        }
        // The largest batch has at least the mean's tokens.
        let all: usize = self.data.examples().map(|example| example.ids.len()).sum();
        place.check_memory(&Load {
            model: self.base.config(),
            weights: run.base_weights,
            work: Work::Training(model.tuning, lora, run.activations()),
            positions: all as f64 / examples.div_ceil(rows) as f64,
            smaller: smaller_batches(),
        })
    }

    /// Lets the run begin: a new run's folder appears, and its base with it.
    ///
    /// # Errors
    /// As [`Taken::begin`].
    pub(crate) fn begin(&mut self, manifest: &Manifest) -> Result<()> {
        let room = self.taken.room();
        self.taken.begin(&self.settings, manifest)?;
        if let Ok(within) = self.base.path().strip_prefix(room.path()) {
            self.base = self.base.clone().at(self.folder.path().join(within));
        }
        Ok(())
    }
}
