//! Who answers, for `serve` and `chat`: a base and adapters, of a finished run or by their folders, each with a name and
//! with the template that it was tuned with.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gptneo_datasets::{PromptTemplate, Turns};
use gptneo_lora::run::{Kind, ModelFolder, RunFolder};
use gptneo_model::adapter::adapter_folder;
use gptneo_serve::{ChatTemplate, Models, ServedModel};

use crate::cli::{NamedFolder, ServedFlags};
use crate::hub;
use crate::terminal::failure::Misuse;

/// The base, opened, and what else answers.
pub(super) struct Opened {
    /// The base's folder.
    pub(super) folder: ModelFolder,
    /// The adapters' names and folders.
    pub(super) adapters: Vec<(String, PathBuf)>,
    /// All of them, by name.
    pub(super) models: Models,
}

/// Where the base is, what it is called, and what comes with it.
struct Base {
    path: PathBuf,
    name: String,
    /// The run's adapter.
    adapter: Option<NamedFolder>,
    /// The template of the run's settings.
    template: Option<PromptTemplate>,
    /// Whether every weight of it was tuned.
    is_tuned: bool,
}

impl Opened {
    /// Finds everything that the flags name; a base on the Hub is downloaded.
    pub(super) fn of(flags: &ServedFlags) -> Result<Self> {
        let base = match (&flags.run, &flags.model) {
            (Some(run), _) => of_run(run)?,
            (None, Some(model)) => {
                let (path, name) = (hub::model(model)?, last_part(model));
                Base { path, name, adapter: None, template: None, is_tuned: false }
            }
            (None, None) => {
                return Err(Misuse::error("--model is missing: give it, or the folder of a run as --run"));
            }
        };
        let Base { path, name, adapter, template, is_tuned } = base;
        let adapters: Vec<NamedFolder> = adapter.into_iter().chain(flags.adapter.iter().cloned()).collect();
        check_names(&name, &adapters)?;
        let folder = ModelFolder::open(path)?;
        let end = folder.tokenizer().end_of_text_token();
        let given = flags.chat_template.as_deref().map(|file| ChatTemplate::read(file, end)).transpose()?;
        let of_settings = template
            .map(|template| ChatTemplate::new(&template.chat_template(Turns::One), end))
            .transpose()?;
        let usual = ChatTemplate::new(&PromptTemplate::default().chat_template(Turns::One), end)?;
        let of_base = ChatTemplate::of_folder(folder.path(), end)?;
        let mut of_adapters = Vec::new();
        for adapter in &adapters {
            of_adapters.push(ChatTemplate::of_folder(&adapter_folder(&adapter.folder), end)?);
        }
        // A base that has none is asked as the first adapter is, so that the two can be compared.
        let of_first = of_adapters.first().cloned().flatten();
        let base_template = [&given, &of_base, &of_first, &of_settings].into_iter().flatten().next();
        let base_template = base_template.unwrap_or(&usual).clone();
        let served = adapters.iter().zip(of_adapters).map(|(NamedFolder { name, .. }, own)| {
            let template = given.clone().or(own).or(of_settings.clone()).unwrap_or(base_template.clone());
            let end_tokens = folder.end_tokens_of_tuned();
            ServedModel { name: name.clone(), adapter: Some(name.clone()), template, end_tokens }
        });
        let served: Vec<ServedModel> = served.collect();
        let end_tokens = if is_tuned { folder.end_tokens_of_tuned() } else { folder.end_tokens() };
        let base = ServedModel { name, adapter: None, template: base_template, end_tokens };
        let models = Models::new(base, served);
        let adapters = adapters.into_iter().map(|NamedFolder { name, folder }| (name, folder)).collect();
        Ok(Self { folder, adapters, models })
    }
}

/// The base and the adapter of a finished run; of one that tuned every weight, or with DoRA, the tuned model alone.
fn of_run(path: &Path) -> Result<Base> {
    let run = RunFolder::existing(path)?;
    let settings = run.settings()?;
    let template = Some(settings.data.options.prompt_template.clone());
    let name = last_part(path);
    let merged = run.merged().join("config.json").is_file();
    // An adapter with DoRA answers beside no other, but its merged model does.
    let apart = run.adapter().join("adapter_config.json").is_file() && !(settings.lora.use_dora && merged);
    if apart {
        let base = settings.model.folder()?;
        // The run may have been moved since, and the base that was unpacked in it with it.
        let unpacked = run.base().join(base.file_name().unwrap_or_default());
        let source = run.manifest()?.sources.model;
        let found = match (!base.exists() && unpacked.is_dir(), source) {
            (true, _) => unpacked,
            (false, source) => hub::find(Kind::Model, base, source.as_ref())?.path,
        };
        // A run may be called as its base is.
        let of_base = last_part(base);
        let of_base = if of_base == name { format!("{of_base}-base") } else { of_base };
        let adapter = Some(NamedFolder { name, folder: run.adapter() });
        return Ok(Base { path: found, name: of_base, adapter, template, is_tuned: false });
    }
    if merged {
        return Ok(Base { path: run.merged(), name, adapter: None, template, is_tuned: true });
    }
    bail!(
        "the run in {} is not finished: it has neither adapter/ nor merged/; `gptneo-lora run --resume --output {}` \
         goes on with it",
        path.display(),
        path.display()
    )
}

/// What a folder or a name on the Hub is called: its last part, without a revision.
fn last_part(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match (path.exists(), name.split_once('@')) {
        (false, Some((name, _))) => name.to_string(),
        _ => name,
    }
}

fn check_names(base: &str, adapters: &[NamedFolder]) -> Result<()> {
    let mut names = vec![base];
    for NamedFolder { name, .. } in adapters {
        if names.contains(&name.as_str()) {
            return Err(Misuse::error(format!(
                "two models are called {name:?}: give the adapter another name, --adapter NAME=DIR"
            )));
        }
        names.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_model_is_called_by_its_last_part() {
        assert_eq!(last_part(Path::new("EleutherAI/gpt-neo-125m@main")), "gpt-neo-125m");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a@b");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(last_part(&path.join(".")), "a@b");
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let named = |name: &str| NamedFolder { name: name.into(), folder: "x".into() };
        check_names("base", &[named("a"), named("b")]).unwrap();
        for adapters in [vec![named("base")], vec![named("a"), named("a")]] {
            assert!(check_names("base", &adapters).unwrap_err().to_string().contains("another name"));
        }
    }
}
