//! A run on its device: the model loaded, settings and manifest in the folder; then trained, and the result saved.

use std::path::PathBuf;

use std::sync::Arc;

use gptneo_datasets::{Example, Turns};
use gptneo_model::adapter::{load_adapter, save_adapter, set_dropout};
use gptneo_model::checkpoint::save_model;
use gptneo_model::{GptNeo, LoraConfig, NeoBackend};
use gptneo_report::{Chart, Findings, Page};
use gptneo_training::checkpoint::{Checkpoints, RunState};
use gptneo_training::samples::{SampleQuestion, SampleQuestions};
use gptneo_training::{BatchOrder, Ending, Interrupter, Trained, TrainingRun, Tuning, check_threads};

use super::manifest::{BURN_VERSION, Counts, Manifest};
use super::opening::{Run, Start};
use super::preflight::{Planned, Preflight};
use super::progress::{Event, Told, TrainingSummary};
use super::tensorboard::{Curves, Watched};
use super::{answers, facts};
use crate::backend::{self, Training};
use crate::settings::Settings;
use crate::{Error, Remedy, Result};

/// A run that is ready to train; its folder stands, with settings and manifest in it.
pub(crate) struct Started<B: NeoBackend> {
    pub(crate) run: Run,
    /// The model as it was found, without any adapter.
    pub(crate) base: GptNeo<Training<B>>,
    /// The base; with the adapter to go on with, if one was given. A fresh adapter is not attached yet.
    model: GptNeo<Training<B>>,
    tuning: Tuning,
    training: Arc<[Example]>,
    /// The examples that guide the training.
    validation: Arc<[Example]>,
    /// The examples that the result is told of: those to test with, where there are such.
    pub(crate) measured: Arc<[Example]>,
    pub(crate) manifest: Manifest,
    pub(crate) device: B::Device,
    /// Devices that take a share of each training step.
    further_devices: Vec<B::Device>,
    pub(crate) observer: Told,
}

/// A run whose training is done and whose result is saved.
pub(crate) struct FineTuned<B: NeoBackend> {
    /// The trained model: with its adapter, or, after full tuning, a plain model.
    pub(crate) model: GptNeo<B>,
    /// The step its weights are of.
    pub(crate) model_step: usize,
    /// How the run stands.
    pub(crate) state: RunState,
    /// The folder of the adapter, or of the model after full tuning.
    pub(crate) weights: PathBuf,
}

impl Run {
    /// Loads the model, tells what a new run will take, and lets the run begin: its folder appears with settings and
    /// manifest in it, or they are compared with those there. Whatever is refused is refused before.
    ///
    /// # Errors
    /// A model or an adapter that cannot be used, settings that contradict the adapter or the run, a step without a
    /// supervised token, a device that fails, a full disk.
    pub(crate) fn start<B: NeoBackend>(mut self, device: B::Device, observer: Told) -> Result<Started<B>> {
        self.settings.run.precision.check::<B>(&device)?;
        check_threads()?;
        let (training, validation) = (self.data.training(), self.data.validation());
        let measured = self.data.measured();
        check_validation(&self.settings, &validation)?;
        check_supervised(&validation, self.max_length)?;

        let further_devices = backend::further_devices::<B>(&device, self.settings.run.further_devices())?;
        let run = &self.settings.run;
        backend::suit_allocator(run.activations());
        let base = self.base.load_base::<B>(run.base_weights, &device)?.with_activations(run.activations());
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
            base_weights: self.settings.run.base_weights,
            inputs: self.inputs.clone(),
            sources: self.sources.clone(),
            counts: Counts {
                records: self.data.count,
                train_examples: training.len(),
                validation_examples: validation.len(),
                test_examples: self.data.test().len(),
                trainable_parameters,
                total_parameters,
            },
        };
        if self.start == Start::New {
            let order = BatchOrder::new(training.clone(), &self.settings.training)?;
            let found = Preflight::measure(&Planned {
                settings: &self.settings,
                model: &model,
                tuning: &tuning,
                order: &order,
                truncation: &self.data.truncation,
                parameters: (trainable_parameters, total_parameters),
                folder: self.folder.path(),
            })?;
            observer.tell(Event::Preflight(&found));
        }
        self.begin(&manifest)?;
        Ok(Started {
            run: self,
            base,
            model,
            tuning,
            training,
            validation,
            measured,
            manifest,
            device,
            further_devices,
            observer,
        })
    }
}

impl<B: NeoBackend> Started<B> {
    /// Trains, saves the adapter or the model, and draws the loss.
    ///
    /// # Errors
    /// [`Error::Interrupted`], what the training says, or a file that cannot be written.
    pub(crate) fn train(&self) -> Result<FineTuned<B>> {
        let Run { settings, folder, base, .. } = &self.run;
        let total_steps = settings.training.total_steps(self.training.len());
        let interrupter = Interrupter::new();
        let curves = match settings.run.tensorboard {
            true => Some(Curves::open(&folder.tensorboard(), self.run.start)?),
            false => None,
        };
        let samples = self.samples()?;
        let done = match self.run.start {
            Start::New => 0,
            Start::Resumed => Checkpoints::new(folder.checkpoints()).steps().pop().unwrap_or(0),
        };
        self.observer.tell(Event::TrainingBegins { done, total_steps, interrupter: &interrupter });
        let training = TrainingRun::new(self.model.clone(), self.training.clone())
            .tuning(self.tuning.clone())
            .validation(self.validation.clone())
            .config(settings.training.clone())
            .precision(settings.run.precision)
            .folder(folder.path())
            .fingerprint(self.fingerprint())
            .interrupter(interrupter)
            .samples(samples)
            .observer(Watched { observer: self.observer.clone(), curves })
            .further_devices(self.further_devices.clone());
        let trained = match self.run.start {
            Start::New => training.train()?,
            Start::Resumed => training.resume().train()?,
        };
        if trained.ending == Ending::Interrupted {
            return Err(Error::Interrupted { step: trained.state.step, folder: folder.path().into() });
        }
        let weights = match &self.tuning {
            Tuning::Lora(config) => {
                let named = self.run.sources.model.as_ref().map(|source| source.repository.clone());
                let base_name = named.unwrap_or(settings.model.folder()?.display().to_string());
                save_adapter(&trained.model, config, &base_name, &folder.adapter(), &self.template_files())?;
                folder.adapter()
            }
            Tuning::Full => {
                let mut files = base.kept_files_of_tuned()?;
                for file in self.template_files() {
                    files.retain(|(name, _)| *name != file.0);
                    files.push(file);
                }
                save_model(&trained.model, &folder.merged(), settings.run.save_format(), &files)?;
                folder.merged()
            }
        };
        Chart::losses(&facts::losses(&folder.metrics()?))?.write_png(folder.loss_chart())?;
        let Trained { model, model_step, state, ending } = trained;
        self.observer.tell(Event::TrainingEnds(&TrainingSummary {
            steps: state.step,
            total_steps: state.total_steps,
            stopped_early: ending == Ending::StoppedEarly,
            best: state.best,
            model_step,
            weights: weights.clone(),
        }));
        Ok(FineTuned { model, model_step, state, weights })
    }

    /// The template that the texts were made with, for whoever asks the model; plain text has none.
    fn template_files(&self) -> Vec<(String, Vec<u8>)> {
        let Run { settings, data, .. } = &self.run;
        match data.records.is_empty() {
            true => Vec::new(),
            false => settings.data.options.prompt_template.files(Turns::of(&data.records)),
        }
    }

    /// Stands for the base and the texts, which depend on the settings of the data as much as on the file.
    fn fingerprint(&self) -> String {
        let data = self.run.settings.data.without_names();
        serde_json::to_string(&(&self.manifest.inputs, data)).unwrap_or_default()
    }

    /// What the model is asked while it learns, if anything.
    pub(crate) fn samples(&self) -> Result<Option<SampleQuestions>> {
        let Run { settings, data, base, .. } = &self.run;
        let (tokenizer, positions) = (base.tokenizer(), base.config().max_position_embeddings);
        let (asked, wanted) = (&data.split.validation, settings.answers.samples);
        let questions = answers::held_out(settings, data, asked, tokenizer, positions, wanted)?;
        let questions: Vec<SampleQuestion> = questions
            .into_iter()
            .map(|question| SampleQuestion { text: question.text, prompt: question.prompt })
            .collect();
        Ok((!questions.is_empty()).then(|| SampleQuestions {
            questions,
            max_new_tokens: settings.answers.max_new_tokens,
            sampling: settings.answers.sampling(),
            tokenizer: tokenizer.clone(),
        }))
    }

    /// Writes the page that tells of the run.
    ///
    /// # Errors
    /// The run's logs cannot be read, or the page cannot be written.
    pub(crate) fn report(&self, tuned: &FineTuned<B>, findings: Option<&Findings>) -> Result<()> {
        let Run { folder, settings, .. } = &self.run;
        let metrics = folder.metrics()?;
        let page = Page {
            title: facts::title(settings),
            run: &facts::run(&self.manifest, tuned.state.step, tuned.model_step),
            losses: facts::losses(&metrics),
            steps: facts::steps(&metrics),
            samples: facts::samples(folder.samples()?),
            decoding: facts::decoding(settings),
            data: facts::data(&self.run.data_report()),
            settings: settings.to_toml()?,
            manifest: self.manifest.to_json(),
            findings,
        };
        Ok(page.write(folder.report())?)
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
        Some((name, _)) if validation.is_empty() => Err(Error::settings(
            format!(
                "{name} is given, but no record is left to measure on (validation_fraction is {})",
                settings.data.options.validation_fraction
            ),
            Remedy::Either(vec![
                Remedy::Raise("data.validation_fraction"),
                Remedy::Give("data.validation_data"),
            ]),
        )),
        _ => Ok(()),
    }
}

/// Refuses texts to validate with of which none has a token that is learned: they have no loss.
fn check_supervised(validation: &[Example], max_length: usize) -> Result<()> {
    match validation.iter().any(|example| example.supervised_tokens() > 0) {
        false if !validation.is_empty() => Err(nothing_left("validate with", validation.len(), max_length)),
        _ => Ok(()),
    }
}

/// Refuses texts to measure on of which none has a token of its answer left.
///
/// # Errors
/// What is refused, where there are texts.
pub(crate) fn check_answers(measured: &[Example], max_length: usize) -> Result<()> {
    match measured.iter().any(|example| !example.answers().is_empty()) {
        false if !measured.is_empty() => Err(nothing_left("measure on", measured.len(), max_length)),
        _ => Ok(()),
    }
}

fn nothing_left(purpose: &str, texts: usize, max_length: usize) -> Error {
    Error::settings(
        format!(
            "none of the {texts} texts to {purpose} has a token of its answer within the first {max_length}, where \
             texts are cut; expected at least one"
        ),
        Remedy::Either(vec![
            Remedy::Raise("data.max_seq_length"),
            Remedy::say(format!("give texts to {purpose} whose questions are shorter")),
        ]),
    )
}

/// The settings of an adapter to go on with: its own, but for the dropout, which belongs to the training.
fn adapters_settings(asked: &LoraConfig, found: LoraConfig) -> Result<LoraConfig> {
    let usual = LoraConfig::default();
    let contradicts = [
        ("r", asked.r != usual.r && asked.r != found.r),
        ("alpha", asked.alpha != usual.alpha && asked.alpha != found.alpha),
        ("use_rslora", asked.use_rslora && !found.use_rslora),
        ("use_dora", asked.use_dora && !found.use_dora),
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
        return Err(Error::settings(
            format!(
                "the adapter to go on with has its own shape, which contradicts the settings given for lora: {}",
                names.join(", ")
            ),
            Remedy::Either(vec![
                Remedy::say("leave them out"),
                Remedy::Both(vec![Remedy::say("train a new adapter"), Remedy::LeaveOut("model.adapter")]),
            ]),
        ));
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
        assert!(message.contains("lora: r:"), "{message}");
    }
}
