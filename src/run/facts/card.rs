//! The model card: names, and how the model was trained, an item each.

use std::path::Path;

use gptneo_datasets::DEFAULT_INSTRUCTION;
use gptneo_model::LoraConfig;
use gptneo_report::{Findings, ModelCard, Provenance, RunFacts};
use gptneo_training::TuningKind;

use super::file_name;
use crate::run::folder::RunFolder;
use crate::run::manifest::Manifest;
use crate::run::source::Source;
use crate::settings::Settings;

/// What the examples of use ask.
const QUESTION: &str = "What causes asthma?";

/// The card of a run.
pub(crate) fn card<'a>(
    settings: &Settings,
    manifest: &Manifest,
    run: &'a RunFacts,
    findings: &'a Findings,
) -> ModelCard<'a> {
    let Manifest { version, burn, backend, seed, sources, .. } = manifest;
    ModelCard {
        run,
        base: provenance(sources.model.as_ref(), settings.model.path.as_deref()),
        base_place: base_place(sources.model.as_ref(), settings),
        data: provenance(sources.data.as_ref(), settings.data.path.as_deref()),
        lora: settings.model.tuning == TuningKind::Lora,
        made_by: format!("gptneo-lora {version} on Burn {burn}, backend {backend}, seed {seed}"),
        details: details(settings, manifest),
        perplexities: &findings.perplexities,
        discrimination: findings.discrimination.as_ref(),
        scores: &findings.scores,
        answers: &findings.answers,
        decoding: super::decoding(settings),
        question: QUESTION.to_string(),
        prompt: settings.data.options.prompt_template.question_prompt(QUESTION, DEFAULT_INSTRUCTION),
    }
}

fn provenance(source: Option<&Source>, path: Option<&Path>) -> Provenance {
    let repository = source.map(|source| source.repository.clone());
    Provenance { name: repository.clone().unwrap_or_else(|| file_name(path)), repository }
}

/// What transformers loads the base by: its repository, the folder of the run that an embedded base was unpacked into,
/// or the path as it was given.
fn base_place(source: Option<&Source>, settings: &Settings) -> String {
    let path = settings.model.path.as_deref().unwrap_or(Path::new(""));
    // A run that goes on may have been named otherwise before.
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let within = settings.run.output.as_deref().map(RunFolder::at).and_then(|run| {
        let path = resolved(path);
        let inside = path.strip_prefix(resolved(run.path())).ok()?;
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        path.starts_with(resolved(&run.base())).then(|| parts.join("/"))
    });
    match source {
        Some(source) => source.repository.clone(),
        None => within.unwrap_or_else(|| path.to_string_lossy().into_owned()),
    }
}

fn details(settings: &Settings, manifest: &Manifest) -> Vec<String> {
    let Settings { data, training, lora, model, .. } = settings;
    let mut details = Vec::new();
    let sources = &manifest.sources;
    for (noun, source) in [
        ("Base", &sources.model),
        ("Data", &sources.data),
        ("Validation data", &sources.validation_data),
        ("Test data", &sources.test_data),
    ] {
        if let Some(Source { repository, commit, file, files, .. }) = source {
            let listed = file.iter().chain(files).map(|file| format!("`{file}`")).collect::<Vec<_>>();
            let file = match listed.len() {
                0 => String::new(),
                1 => format!(", file {}", listed[0]),
                _ => format!(", files {}", listed.join(", ")),
            };
            details.push(format!("{noun}: `{repository}` at commit `{commit}`{file}"));
        }
    }
    if manifest.counts.test_examples > 0 {
        details.push(format!(
            "Results are those of {} test examples, which were measured on once, at the end",
            manifest.counts.test_examples
        ));
    }
    if model.tuning == TuningKind::Lora {
        details.push(format!("LoRA: {}", lora_text(lora)));
    }
    details.push(format!(
        "AdamW, learning rate {}, {} schedule, {} warm-up steps, weight decay {}, gradient norm at most {}",
        training.learning_rate,
        name_of(&training.schedule),
        training.warmup_steps,
        training.weight_decay,
        training.max_grad_norm
    ));
    details.push(format!(
        "batches of {} x {}, at most {} tokens, supervised: {}",
        training.batch_size,
        training.grad_accumulation_steps,
        data.options.max_seq_length.unwrap_or_default(),
        name_of(&data.options.supervise)
    ));
    details
}

fn lora_text(lora: &LoraConfig) -> String {
    let targets: Vec<&str> = lora.target_modules.iter().map(|target| target.as_str()).collect();
    let patterned = if lora.rank_pattern.is_empty() && lora.alpha_pattern.is_empty() {
        ""
    } else {
        ", some layers of their own (rank_pattern and alpha_pattern in adapter_config.json)"
    };
    format!(
        "r {}, alpha {}, dropout {}, on {}{patterned}",
        lora.r,
        lora.alpha,
        lora.dropout,
        targets.join(", ")
    )
}

/// A setting's value by the name that the settings file has for it.
fn name_of(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_loaded_by_what_resolves() {
        let of = |model: &str, source: Option<&Source>| {
            let mut settings = Settings::default();
            (settings.model.path, settings.run.output) = (Some(model.into()), Some("runs/first".into()));
            base_place(source, &settings)
        };
        assert_eq!(of("runs/first/base/small-medical", None), "base/small-medical");
        assert_eq!(of("models/gpt-neo", None), "models/gpt-neo");
        assert_eq!(of(".", None), ".");
        let source = Source {
            repository: "tiny/window".into(),
            revision: "main".into(),
            commit: "0".into(),
            file: None,
            files: Vec::new(),
        };
        assert_eq!(of("tiny/window@main", Some(&source)), "tiny/window");
    }
}
