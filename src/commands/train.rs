//! `train`: settings, data and model brought together in a run's folder, and the training run itself.

use anyhow::Result;
use burn::train::Interrupter;
use gptneo_datasets::{Example, Tokenizer};
use gptneo_model::adapter::{attach, count_parameters, load_adapter, save_adapter, set_dropout};
use gptneo_model::checkpoint::{Dtype, load_model, save_model};
use gptneo_model::{GptNeo, LoraConfig, NeoBackend};
use gptneo_training::checkpoint;
use gptneo_training::metrics::{MetricsRow, read_metrics};
use gptneo_training::report::{LossCurves, loss_chart};
use gptneo_training::strategy::Ending;
use gptneo_training::train::{self, TrainingRun};

use crate::backend::{Job, Training, dispatch};
use crate::cli::TrainArgs;
use crate::data::Data;
use crate::failure::{Interrupted, Misuse};
use crate::live::Live;
use crate::loading::{read_config, read_tokenizer};
use crate::manifest::{BURN_VERSION, Counts, Inputs, Manifest};
use crate::run_folder::RunFolder;
use crate::settings::{DataSettings, Flags, Settings, Tuning};

/// Runs the command.
pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let flags = Flags::default()
        .with("model", &args.model)?
        .with("model", &args.tuning)?
        .with("data", &args.data)?
        .with("lora", &args.lora)?
        .with("training", &args.batch)?
        .with("training", &args.training)?
        .with("run", &args.run)?;
    let (mut settings, folder) = match (args.resume, &args.run.output) {
        (true, Some(output)) => {
            let folder = RunFolder::existing(output)?;
            (Settings::resolve(Some(&folder.settings_file()), flags)?, folder)
        }
        (true, None) => return Err(Misuse::error("--resume needs --output RUN, the run to go on with")),
        (false, _) => {
            let settings = Settings::resolve(args.file.config.as_deref(), flags)?;
            let folder = RunFolder::new(settings.run.folder()?)?;
            (settings, folder)
        }
    };
    let model = settings.model.folder()?;
    let config = read_config(model)?;
    let tokenizer = read_tokenizer(model, &config)?;
    let max_length = settings.data.resolve_length(Some(config.max_position_embeddings))?;
    let data = Data::load(&settings.data, &tokenizer, max_length, settings.training.seed)?;
    let inputs = Inputs::hash(model, settings.model.adapter.as_deref(), settings.data.file()?)?;
    let backend = settings.run.backend;
    dispatch(backend, Train { settings, folder, tokenizer, data, inputs, resume: args.resume })
}

struct Train {
    settings: Settings,
    folder: RunFolder,
    tokenizer: Tokenizer,
    data: Data,
    inputs: Inputs,
    resume: bool,
}

/// Everything a training run needs; its folder stands, with settings and manifest in it.
struct Prepared<B: NeoBackend> {
    /// The base; with the adapter to go on with, if one was given. A fresh adapter is not attached yet.
    model: GptNeo<Training<B>>,
    tuning: checkpoint::Tuning,
    training: Vec<Example>,
    validation: Vec<Example>,
    tokenizer: Tokenizer,
    settings: Settings,
    folder: RunFolder,
    manifest: Manifest,
    resume: bool,
    device: B::Device,
}

impl Job for Train {
    type Output = ();

    fn run<B: NeoBackend>(self, device: B::Device) -> Result<()> {
        let Self { mut settings, folder, tokenizer, data, inputs, resume } = self;
        let training = data.examples(&data.split.train);
        let validation = data.examples(&data.split.validation);
        check_validation(&settings, &validation)?;

        let base = load_model::<Training<B>>(settings.model.folder()?, &device)?;
        let model = match &settings.model.adapter {
            Some(adapter) => {
                let (mut model, found) = load_adapter(base, adapter, &device)?;
                settings.lora = adapters_settings(&settings.lora, found)?;
                set_dropout(&mut model, settings.lora.dropout);
                model
            }
            None => base,
        };
        let (tuning, (trainable_parameters, total_parameters)) = match settings.model.tuning {
            Tuning::Full => (checkpoint::Tuning::Full, count_parameters(&model)),
            Tuning::Lora => {
                let config = settings.lora.clone();
                // Counting draws no numbers, and the run attaches its own adapter after it has set the seed.
                let counted = count_parameters(&attach(model.clone(), &config, &device)?);
                (checkpoint::Tuning::Lora(config), counted)
            }
        };
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").to_string(),
            burn: BURN_VERSION.to_string(),
            backend: settings.run.backend.resolved().name().to_string(),
            seed: settings.training.seed,
            inputs,
            counts: Counts {
                records: data.records,
                train_examples: training.len(),
                validation_examples: validation.len(),
                trainable_parameters,
                total_parameters,
            },
        };
        match resume {
            true => folder.check_continues(&settings, &manifest)?,
            false => folder.save(&settings, &manifest)?,
        }
        launch(Prepared {
            model,
            tuning,
            training,
            validation,
            tokenizer,
            settings,
            folder,
            manifest,
            resume,
            device,
        })
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
            settings.data.validation_fraction
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

fn launch<B: NeoBackend>(prepared: Prepared<B>) -> Result<()> {
    let Prepared { model, tuning, training, validation, tokenizer, settings, folder, manifest, .. } =
        prepared;
    let base_name = settings.model.folder()?.display().to_string();
    let total_steps = settings.training.total_steps(training.len());
    let interrupter = Interrupter::new();
    let pulled = interrupter.clone();
    ctrlc::set_handler(move || pulled.stop(None))?;
    let trained = train::train(TrainingRun {
        model,
        tuning: tuning.clone(),
        training,
        validation: &validation,
        padding_id: tokenizer.end_of_text(),
        config: settings.training.clone(),
        folder: folder.path(),
        // Texts depend on the settings of the data as much as on the file.
        fingerprint: serde_json::to_string(&(
            &manifest.inputs,
            DataSettings { path: None, ..settings.data.clone() },
        ))?,
        resume: prepared.resume,
        interrupter,
        observer: Box::new(Live::new(total_steps)),
        device: prepared.device,
    })?;
    if trained.ending == Ending::Interrupted {
        return Err(Interrupted { step: trained.state.step, folder: folder.path().into() }.into());
    }
    let result = match &tuning {
        checkpoint::Tuning::Lora(config) => {
            let adapter = folder.path().join("adapter");
            save_adapter(&trained.model, config, &base_name, &adapter)?;
            adapter
        }
        checkpoint::Tuning::Full => {
            let merged = folder.path().join("merged");
            save_model(&trained.model, &merged, Dtype::F32, &tokenizer.files())?;
            merged
        }
    };
    let rows = read_metrics(folder.path().join("metrics.jsonl"))?;
    loss_chart(folder.path().join("loss_chart.png"), &curves(&rows))?;
    let steps = trained.state.step;
    if trained.ending == Ending::StoppedEarly {
        eprintln!("stopped early after step {steps} of {}", trained.state.total_steps);
    }
    match trained.state.best {
        Some(best) => eprintln!(
            "{steps} steps; best validation loss {:.4} (perplexity {:.2}) after step {}",
            best.loss,
            best.loss.exp(),
            best.step
        ),
        None => eprintln!("{steps} steps"),
    }
    eprintln!("the weights of step {} are in {}", trained.model_step, result.display());
    Ok(())
}

fn curves(rows: &[MetricsRow]) -> LossCurves {
    let mut curves = LossCurves::default();
    for row in rows {
        match row {
            MetricsRow::Train(row) => curves.training.push((row.step as f64, row.loss)),
            MetricsRow::Validation(row) => curves.validation.push((row.step as f64, row.loss)),
        }
    }
    curves
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
