//! `push`: a run's adapter or model, with its card and report, as one commit of a repository on the Hub.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gptneo_files::read_small_text;
use gptneo_lora::run::{EXPORT_PROOF, MERGE_PROOF, RunFolder};
use indicatif::DecimalBytes;
use serde_json::Value;

use crate::cli::PushArgs;
use crate::hub::{self, Content, State, Upload};
use crate::terminal::failure::Misuse;
use crate::terminal::{notes, output};

/// The files of a tokenizer, in a merged model's folder.
const TOKENIZER: [&str; 5] =
    ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"];
/// The report of a run, with its tables and charts. It shows paths as the user gave them.
const SHOWN: [&str; 4] = [".html", ".csv", ".png", ".svg"];

/// Which of a run's weights are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weights {
    Adapter,
    Merged,
    /// What the run wrote for other engines.
    Exported,
}

impl Weights {
    /// Those asked for, else the adapter where the run has one.
    fn of(args: &PushArgs, run: &RunFolder) -> Result<Self> {
        let path = run.path();
        let refuse = |what| Err(Misuse::error(what));
        if !path.is_dir() {
            return refuse(format!("there is no folder {}: give the folder of a run", path.display()));
        }
        let has = |weights: Self| weights.folder(run).join(weights.needed()).is_file();
        let asked = match (args.adapter, args.merged, args.exported) {
            (true, ..) => Some(Self::Adapter),
            (_, true, _) => Some(Self::Merged),
            (.., true) => Some(Self::Exported),
            _ => [Self::Adapter, Self::Merged].into_iter().find(|weights| has(*weights)),
        };
        match asked {
            Some(weights) if has(weights) => Ok(weights),
            Some(Self::Exported) => refuse(format!(
                "{} holds no export: leave --exported out, or give a run that was told to `--export`",
                path.display()
            )),
            Some(Self::Adapter) if has(Self::Merged) => {
                refuse(format!("{} holds a whole model and no adapter: leave --adapter out", path.display()))
            }
            Some(weights) => refuse(format!(
                "{} is missing: only a run that went to its end can be published",
                weights.folder(run).join(weights.needed()).display()
            )),
            None => refuse(format!(
                "{} has neither adapter/ nor merged/: give the folder of a run",
                path.display()
            )),
        }
    }

    fn folder(self, run: &RunFolder) -> PathBuf {
        match self {
            Self::Adapter => run.adapter(),
            Self::Merged => run.merged(),
            Self::Exported => run.export(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::Merged => "merged",
            Self::Exported => "exported",
        }
    }

    fn needed(self) -> &'static str {
        match self {
            Self::Adapter => "adapter_config.json",
            Self::Merged => "config.json",
            Self::Exported => EXPORT_PROOF,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &PushArgs) -> Result<()> {
    let target = hub::target(&args.repo)?;
    let run = RunFolder::at(&args.run);
    let weights = Weights::of(args, &run)?;
    let files = files(&run, weights, args.license.as_deref())?;
    if hub::token().is_none() {
        bail!(
            "publishing needs a token: set HF_TOKEN or log in with `hf auth login`; tokens are made at \
             {}/settings/tokens and need the right to write",
            hub::endpoint()
        );
    }
    if !args.yes && !std::io::stdin().is_terminal() {
        return Err(Misuse::error(
            "push asks before it publishes, but there is no terminal to answer at: give --yes",
        ));
    }
    let state = hub::state(&target)?;
    if args.private && state == State::Public {
        bail!(
            "{} is there already and everybody sees it: make it private at {}/{}/settings first, or leave --private out",
            target.repository(),
            hub::endpoint(),
            target.repository()
        );
    }
    say(args, &target.repository(), state, &files)?;
    if !args.yes && !agreed()? {
        bail!("nothing was published");
    }
    let title = format!("Upload {} with gptneo-lora {}", weights.name(), env!("CARGO_PKG_VERSION"));
    let upload = Upload { target: &target, private: args.private, files: &files, title: &title };
    output::line(hub::upload(&upload)?)
}

/// Tells what would be published.
fn say(args: &PushArgs, repository: &str, state: State, files: &[(String, Content)]) -> Result<()> {
    let place = match (state, args.private) {
        (State::Absent, false) => "a new public repository",
        (State::Absent, true) => "a new private repository",
        (State::Public, _) => "a public repository that is there already",
        (State::Private, _) => "a private repository that is there already",
    };
    notes::warn(format_args!("{repository} at {}, {place}, gets:", hub::endpoint()));
    for (path, content) in files {
        notes::warn(format_args!("  {path} ({})", DecimalBytes(content.size()?)));
    }
    Ok(())
}

fn agreed() -> Result<bool> {
    notes::piece("Publish? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// What of a run is published, by the paths in the repository.
fn files(run: &RunFolder, weights: Weights, license: Option<&str>) -> Result<Vec<(String, Content)>> {
    let (folder, card) = (weights.folder(run), run.card());
    let card_name = card.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files: Vec<(String, PathBuf)> = names(&folder)?
        .into_iter()
        // The proof of a merge names folders of this machine, which are nobody else's business.
        .filter(|name| ![MERGE_PROOF, EXPORT_PROOF].contains(&name.as_str()) && *name != card_name)
        .map(|name| (name.clone(), folder.join(name)))
        .collect();
    if weights == Weights::Adapter {
        warn_of_local_base(&folder)?;
        let merged = run.merged();
        let tokenizer = TOKENIZER.map(|name| (name.to_string(), merged.join(name)));
        files.extend(tokenizer.into_iter().filter(|(_, path)| path.is_file()));
    }
    let shown = names(run.path())?.into_iter().filter(|name| SHOWN.iter().any(|end| name.ends_with(end)));
    files.extend(shown.map(|name| (name.clone(), run.path().join(name))));
    let mut files: Vec<(String, Content)> =
        files.into_iter().map(|(name, path)| (name, Content::File(path))).collect();
    match read_small_text(&card) {
        Ok(text) => {
            let mut text = card_for(weights, license, &text);
            if weights == Weights::Exported {
                if !folder.join(Weights::Merged.needed()).is_file() {
                    text = text.replacen("\nlibrary_name: transformers\n", "\nlibrary_name: gguf\n", 1);
                }
                text.push_str(&exports_page(&folder.join(&card_name))?);
            }
            files.push((card_name, Content::Text(text)));
        }
        Err(_) => notes::warn(format_args!(
            "{} is missing: the run is published without a model card",
            card.display()
        )),
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(files)
}

/// The files that stand directly in a folder; hidden ones are left out.
fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

/// The run's card speaks of its adapter and of no licence; over a merged model the Hub must know that transformers
/// loads it.
fn card_for(weights: Weights, license: Option<&str>, card: &str) -> String {
    let card = match weights {
        Weights::Adapter => card.to_string(),
        Weights::Merged | Weights::Exported => {
            card.replacen("\nlibrary_name: peft\n", "\nlibrary_name: transformers\n", 1)
        }
    };
    match license {
        None => card,
        Some(license) => card.replacen("---\n", &format!("---\nlicense: {license}\n"), 1),
    }
}

/// The page of an export without its front matter: what was proven, and what differs, under the run's own card.
fn exports_page(path: &Path) -> Result<String> {
    let page = read_small_text(path).with_context(|| format!("cannot read {}", path.display()))?;
    let body = page.splitn(3, "---\n").nth(2).unwrap_or(&page);
    Ok(format!("\n{}", body.replace("\n## ", "\n### ").replacen("\n# ", "\n## The export: ", 1)))
}

/// Others can load an adapter only where its base has a name on the Hub.
fn warn_of_local_base(folder: &Path) -> Result<()> {
    let path = folder.join(Weights::Adapter.needed());
    let text = read_small_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let base = config["base_model_name_or_path"].as_str().unwrap_or_default();
    if Path::new(base).exists() || hub::target(base).is_err() {
        notes::warn(format_args!(
            "the adapter's base is {base:?}, a path of this machine: others must name the base themselves; --merged \
             publishes the whole model"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_card_names_the_library_and_the_licence() {
        let card = "---\nlibrary_name: peft\ntags: []\n---\nlibrary_name: peft\n";
        assert_eq!(card_for(Weights::Adapter, None, card), card);
        let merged = card_for(Weights::Merged, None, card);
        assert_eq!(merged, "---\nlibrary_name: transformers\ntags: []\n---\nlibrary_name: peft\n");
        let licensed = card_for(Weights::Adapter, Some("cc-by-4.0"), card);
        assert!(licensed.starts_with("---\nlicense: cc-by-4.0\nlibrary_name: peft\n"), "{licensed}");
    }

    #[test]
    fn what_names_this_machine_stays_here() {
        let run = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = run.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        };
        for name in [
            "settings.toml",
            "manifest.json",
            "a.csv",
            "b.html",
            "checkpoints/x/state.json",
            "merged/.hidden",
        ] {
            write(name);
        }
        for name in ["merged/config.json", "merged/merge_proof.json", "merged/tokenizer.json"] {
            write(name);
        }
        write("adapter/adapter_config.json");
        let names = |weights| -> Vec<String> {
            files(&RunFolder::at(run.path()), weights, None).unwrap().into_iter().map(|file| file.0).collect()
        };
        assert_eq!(names(Weights::Merged), ["a.csv", "b.html", "config.json", "tokenizer.json"]);
        assert_eq!(names(Weights::Adapter), ["a.csv", "adapter_config.json", "b.html", "tokenizer.json"]);
    }
}
