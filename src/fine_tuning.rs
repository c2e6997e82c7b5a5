//! One fine-tuning run: settings, data and model brought together in a run's folder, trained, and the result saved.
//! `train` is this alone; `run` measures and compares around it.

mod watching;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use gptneo_datasets::{DataReport, Dataset, Example, Tokenizer};
use gptneo_model::adapter::{load_adapter, save_adapter, set_dropout};
use gptneo_model::checkpoint::save_model;
use gptneo_model::{GptNeo, LoraConfig, NeoBackend};
use gptneo_training::checkpoint::RunState;
use gptneo_training::metrics::read_metrics;
use gptneo_training::report::loss_chart;
use gptneo_training::tensorboard::EventLog;
use gptneo_training::{Ending, Interrupter, Trained, TrainingRun, Tuning};

use crate::backend::{self, Training};
use crate::cli::TrainArgs;
use crate::dashboard::{self, Dashboard};
use crate::embedded::Unpacked;
use crate::failure::{Interrupted, Misuse};
use crate::hub::{self, Found, Kind, Sources};
use crate::interrupt;
use crate::live::Live;
use crate::loading::{load_base, read_config, read_tokenizer};
use crate::manifest::{BURN_VERSION, Counts, Inputs, Manifest};
use crate::notes;
use crate::report_page;
use crate::run_folder::RunFolder;
use crate::settings::{DataSettings, Flags, Origin, Settings};

/// A run whose inputs are read: the model's folder looked at, the data encoded and split, everything hashed.
pub(crate) struct FineTuning {
    pub(crate) settings: Settings,
    pub(crate) folder: RunFolder,
    unpacked: Unpacked,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) data: Dataset,
    /// The base model's folder.
    pub(crate) base: Found,
    /// Where model and data came from.
    sources: Sources,
    /// The longest text in tokens.
    pub(crate) max_length: usize,
    inputs: Inputs,
    resume: bool,
    tui: bool,
    /// The command that goes on with the run, for messages.
    command: &'static str,
}

/// What the user asks for.
pub(crate) struct Request<'a> {
    /// The command that goes on with the run, for messages.
    pub(crate) command: &'static str,
    pub(crate) args: &'a TrainArgs,
    /// Flags that are not `train`'s.
    pub(crate) flags: Flags,
    /// Where the settings start from, unless the run is resumed.
    pub(crate) origin: Origin<'a>,
    /// The run's folder where neither the flags nor a file name one.
    pub(crate) default_output: Option<PathBuf>,
}

impl FineTuning {
    /// Settles the settings and reads the data.
    ///
    /// # Errors
    /// Settings that cannot be, a used output folder, a file that cannot be read.
    pub(crate) fn open(request: Request<'_>) -> Result<Self> {
        let Request { command, args, flags, origin, default_output } = request;
        if args.tui {
            dashboard::check_terminal()?;
        }
        let flags = flags
            .with("model", &args.model)?
            .with("model", &args.tuning)?
            .with("data", &args.data)?
            .with("lora", &args.lora)?
            .with("training", &args.batch)?
            .with("training", &args.training)?
            .with("answers", &args.samples)?
            .with("run", &args.run)?;
        let (mut settings, folder) = match (args.resume, &args.run.output) {
            (true, Some(output)) => {
                let folder = RunFolder::existing(output)?;
                (Settings::resolve(Origin::File(&folder.settings_file()), flags)?, folder)
            }
            (true, None) => return Err(Misuse::error("--resume needs --output RUN, the run to go on with")),
            (false, _) => {
                let mut settings = Settings::resolve(origin, flags)?;
                settings.run.output = settings.run.output.or(default_output);
                let folder = RunFolder::new(settings.run.folder()?)?;
                (settings, folder)
            }
        };
        // Known before anything is downloaded.
        settings.data.file()?;
        settings.run.check_devices()?;
        settings.run.precision = settings.run.place().precision(settings.run.precision)?;
        let before = if args.resume { folder.sources()? } else { Sources::default() };
        let mut unpacked = Unpacked::new(folder.path());
        settings.model.path = Some(unpacked.model(settings.model.folder()?)?);
        let base = hub::find(Kind::Model, settings.model.folder()?, before.model.as_ref())?;
        let config = read_config(&base.path)?;
        let tokenizer = read_tokenizer(&base.path, &config)?;
        settings.data.path = Some(unpacked.data(settings.data.file()?)?);
        let file = hub::find(Kind::Data, settings.data.file()?, before.data.as_ref())?;
        let max_length = settings.data.resolve_length(Some(config.max_position_embeddings))?;
        let data = Dataset::from_file(&file.path, &settings.data_options(), &tokenizer)?;
        let inputs = Inputs::hash(&base.path, settings.model.adapter.as_deref(), &file.path)?;
        let sources = Sources { model: base.source.clone(), data: file.source };
        Ok(Self {
            settings,
            folder,
            unpacked,
            tokenizer,
            data,
            base,
            sources,
            max_length,
            inputs,
            resume: args.resume,
            tui: args.tui,
            command,
        })
    }

    /// The longest text in tokens.
    pub(crate) fn longest(&self) -> usize {
        self.data.examples().map(|example| example.ids.len()).max().unwrap_or_default()
    }

    /// Refuses a model, or batches of texts of `tokens` tokens, that the device cannot hold.
    ///
    /// # Errors
    /// As [`crate::backend::Place::check_room`].
    pub(crate) fn check_room(&self, tokens: usize) -> Result<()> {
        let config = read_config(&self.base.path)?;
        self.settings.run.place().check_room(&config, self.settings.training.batch_size, tokens)
    }

    /// What the data hold.
    pub(crate) fn data_report(&self) -> DataReport {
        let config = &self.settings.training;
        self.data.report(config.batch_size, config.seed)
    }

    /// Loads the model and writes settings and manifest into the run's folder, or compares them with those there.
    ///
    /// # Errors
    /// A model or an adapter that cannot be used, settings that contradict the adapter or the run, a full disk.
    pub(crate) fn start<B: NeoBackend>(mut self, device: B::Device) -> Result<Started<B>> {
        let precision = self.settings.run.precision;
        precision.check::<B>(&device)?;
        let (training, validation) = (self.data.training(), self.data.validation());
        check_validation(&self.settings, &validation)?;

        let further_devices = backend::further_devices::<B>(&device, self.settings.run.further_devices())?;
        let base = load_base::<Training<B>>(&self.base.path, &device)?;
        let model = match &self.settings.model.adapter {
            Some(adapter) => {
                let (mut model, found) = load_adapter(base.clone(), adapter, &device)?;
                self.settings.lora = adapters_settings(&self.settings.lora, found)?;
                set_dropout(&mut model, self.settings.lora.dropout);
                model
            }
            None => base.clone(),
        };
        let tuning = Tuning::of(self.settings.model.tuning, self.settings.lora.clone());
        let (trainable_parameters, total_parameters) = tuning.count_parameters(&model)?;
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").to_string(),
            burn: BURN_VERSION.to_string(),
            backend: self.settings.run.backend.resolved().name().to_string(),
            seed: self.settings.training.seed,
            inputs: self.inputs.clone(),
            sources: self.sources.clone(),
            counts: Counts {
                records: self.data.count,
                train_examples: training.len(),
                validation_examples: validation.len(),
                trainable_parameters,
                total_parameters,
            },
        };
        match self.resume {
            true => self.folder.check_continues(&self.settings, &manifest)?,
            false => self.folder.save(&self.settings, &manifest)?,
        }
        self.unpacked.keep();
        Ok(Started {
            plan: self,
            base,
            model,
            tuning,
            training,
            validation,
            manifest,
            device,
            further_devices,
        })
    }
}

/// A run that is ready to train; its folder stands, with settings and manifest in it.
pub(crate) struct Started<B: NeoBackend> {
    pub(crate) plan: FineTuning,
    /// The model as it was found, without any adapter.
    pub(crate) base: GptNeo<Training<B>>,
    /// The base; with the adapter to go on with, if one was given. A fresh adapter is not attached yet.
    model: GptNeo<Training<B>>,
    tuning: Tuning,
    training: Arc<[Example]>,
    /// The examples that are measured on.
    pub(crate) validation: Arc<[Example]>,
    pub(crate) manifest: Manifest,
    pub(crate) device: B::Device,
    /// Devices that take a share of each training step.
    further_devices: Vec<B::Device>,
}

/// A run whose training is done and whose result is saved.
pub(crate) struct FineTuned<B: NeoBackend> {
    /// The trained model: with its adapter, or, after full tuning, a plain model.
    pub(crate) model: GptNeo<B>,
    /// The step its weights are of.
    pub(crate) model_step: usize,
    /// How the run stands.
    pub(crate) state: RunState,
    /// How it ended.
    ending: Ending,
    /// The folder of the adapter, or of the model after full tuning.
    pub(crate) result: PathBuf,
}

impl<B: NeoBackend> Started<B> {
    /// Trains, saves the adapter or the model, and draws the loss.
    ///
    /// # Errors
    /// [`Interrupted`], what [`TrainingRun::train`] says, or a file that cannot be written.
    pub(crate) fn train(&self) -> Result<FineTuned<B>> {
        let FineTuning { settings, folder, tokenizer, .. } = &self.plan;
        let total_steps = settings.training.total_steps(self.training.len());
        let interrupter = Interrupter::new();
        let events = match settings.run.tensorboard {
            true => Some(EventLog::create(&folder.path().join("tensorboard"), self.plan.resume)?),
            false => None,
        };
        let samples = self.samples()?;
        let dashboard = self.plan.tui.then(|| Dashboard::open(total_steps, interrupter.clone()));
        let listening = interrupt::listen(interrupter.clone())?;
        // Texts depend on the settings of the data as much as on the file.
        let texts = DataSettings { path: None, ..settings.data.clone() };
        let run = TrainingRun::new(self.model.clone(), self.training.clone())
            .tuning(self.tuning.clone())
            .validation(self.validation.clone())
            .config(settings.training.clone())
            .precision(settings.run.precision)
            .folder(folder.path())
            .fingerprint(serde_json::to_string(&(&self.manifest.inputs, texts))?)
            .interrupter(interrupter)
            .samples(samples)
            .observer(Live::new(total_steps, events, dashboard))
            .further_devices(self.further_devices.clone());
        let trained = if self.plan.resume { run.resume() } else { run }.train()?;
        drop(listening);
        if trained.ending == Ending::Interrupted {
            let (step, folder) = (trained.state.step, folder.path().into());
            return Err(Interrupted { step, folder, command: self.plan.command }.into());
        }
        let result = match &self.tuning {
            Tuning::Lora(config) => {
                let adapter = folder.path().join("adapter");
                let named = self.plan.base.source.as_ref().map(|source| source.repository.clone());
                let base_name = named.unwrap_or(settings.model.folder()?.display().to_string());
                save_adapter(&trained.model, config, &base_name, &adapter)?;
                adapter
            }
            Tuning::Full => {
                let merged = folder.path().join("merged");
                save_model(&trained.model, &merged, settings.run.save_format(), &tokenizer.files())?;
                merged
            }
        };
        let rows = read_metrics(folder.path().join("metrics.jsonl"))?;
        loss_chart(folder.path().join("loss_chart.png"), &report_page::curves(&rows))?;
        let Trained { model, model_step, state, ending } = trained;
        let done = FineTuned { model, model_step, state, ending, result };
        done.say();
        Ok(done)
    }
}

impl<B: NeoBackend> FineTuned<B> {
    /// Tells how the training ended.
    fn say(&self) {
        let steps = self.state.step;
        if self.ending == Ending::StoppedEarly {
            notes::say(format_args!("stopped early after step {steps} of {}", self.state.total_steps));
        }
        match self.state.best {
            Some(best) => notes::say(format_args!(
                "{steps} steps; best validation loss {:.4} (perplexity {:.2}) after step {}",
                best.loss,
                best.loss.exp(),
                best.step
            )),
            None => notes::say(format_args!("{steps} steps")),
        }
        notes::say(format_args!("the weights of step {} are in {}", self.model_step, self.result.display()));
    }
}

/// Refuses settings that speak of validation where there is none.
fn check_validation(settings: &Settings, validation: &[Example]) -> Result<()> {
    let config = &settings.training;
    let named = [
        ("eval_steps", config.eval_steps.is_some()),
        ("early_stopping_patience", config.early_stopping_patience.is_some()),
    ];
    match named.iter().find(|(_, given)| *given) {
        Some((name, _)) if validation.is_empty() => Err(Misuse::error(format!(
            "{name} is given, but no record is left to measure on: raise validation_fraction (now {})",
            settings.data.options.validation_fraction
        ))),
        _ => Ok(()),
    }
}

/// The settings of an adapter to go on with: its own, but for the dropout, which belongs to the training.
fn adapters_settings(asked: &LoraConfig, found: LoraConfig) -> Result<LoraConfig> {
    let usual = LoraConfig::default();
    let contradicts = [
        ("r", asked.r != usual.r && asked.r != found.r),
        ("alpha", asked.alpha != usual.alpha && asked.alpha != found.alpha),
        ("use_rslora", asked.use_rslora && !found.use_rslora),
        ("rank_pattern", !asked.rank_pattern.is_empty() && asked.rank_pattern != found.rank_pattern),
        ("alpha_pattern", !asked.alpha_pattern.is_empty() && asked.alpha_pattern != found.alpha_pattern),
        ("target_modules", {
            let sorted = |config: &LoraConfig| {
                let mut targets = config.target_modules.clone();
                targets.sort();
                targets
            };
            sorted(asked) != sorted(&usual) && sorted(asked) != sorted(&found)
        }),
    ];
    let names: Vec<&str> = contradicts.iter().filter(|(_, wrong)| *wrong).map(|(name, _)| *name).collect();
    if !names.is_empty() {
        return Err(Misuse::error(format!(
            "the adapter to go on with has its own shape, which contradicts the settings given for lora: {}; leave \
             them out, or train a new adapter without --adapter",
            names.join(", ")
        )));
    }
    Ok(LoraConfig { dropout: asked.dropout, ..found })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_adapter_to_go_on_with_keeps_its_shape_and_takes_the_dropout_asked_for() {
        let found = LoraConfig { r: 4, alpha: 8.0, dropout: 0.3, ..LoraConfig::default() };
        let asked = LoraConfig { dropout: 0.0, ..LoraConfig::default() };
        let settled = adapters_settings(&asked, found.clone()).unwrap();
        assert_eq!(settled, LoraConfig { dropout: 0.0, ..found.clone() });
        let message = adapters_settings(&LoraConfig { r: 5, ..asked }, found).unwrap_err().to_string();
        assert!(message.contains("lora: r;"), "{message}");
    }
}
