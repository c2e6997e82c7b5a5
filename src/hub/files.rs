//! Which files of a repository or a folder are needed: a model's, and the one file of a data set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::terminal::notes;

/// The formats that records come in.
const RECORDS: [&str; 5] = [".json", ".jsonl", ".ndjson", ".csv", ".parquet"];
/// Plain text, which can be named but is not searched for: a README is one too.
const TEXT: [&str; 2] = [".txt", ".txt.gz"];
/// JSON that describes a data set instead of holding it.
const DESCRIPTIONS: [&str; 4] =
    ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"];
/// The files with weights, the best format first, as the model's reader prefers them.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
];

/// What a model is used with beside its weights and its vocabulary, and what a model made from it keeps.
const OPTIONAL: [&str; 7] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
];

/// Whether a file's name says that it holds data.
pub(super) fn has_data_format(name: &str) -> bool {
    let name = name.to_lowercase();
    RECORDS.iter().chain(&TEXT).any(|format| name.ends_with(format))
}

/// The files of a model that must be there before its weights, and the file of its weights or their index.
///
/// # Errors
/// The repository has no `config.json`, no tokenizer or no weights.
pub(super) fn of_model(all: &BTreeSet<String>) -> Result<(Vec<String>, String)> {
    let has = |name: &&str| all.contains(*name);
    if !has(&"config.json") {
        bail!("config.json is missing: it is not a model for transformers; it has {}", listed(all));
    }
    let tokenizer = match (has(&"tokenizer.json"), has(&"vocab.json") && has(&"merges.txt")) {
        (true, _) => vec!["tokenizer.json"],
        (false, true) => vec!["vocab.json", "merges.txt"],
        (false, false) => {
            bail!("its tokenizer is missing: expected tokenizer.json, or vocab.json and merges.txt")
        }
    };
    let small = ["config.json"].into_iter().chain(tokenizer).chain(OPTIONAL.into_iter().filter(has));
    let weights = WEIGHTS.into_iter().find(has).with_context(|| {
        format!("its weights are missing: expected one of {}; it has {}", WEIGHTS.join(", "), listed(all))
    })?;
    Ok((small.map(String::from).collect(), weights.to_string()))
}

/// The shards that an index of weights names.
///
/// # Errors
/// It is no index, or names a file that the repository does not have.
pub(super) fn shards(index: &Path, all: &BTreeSet<String>) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).with_context(|| format!("cannot read {}", index.display()))?;
    let index: Index = serde_json::from_str(&text).context("its index of weights is damaged")?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !all.contains(*shard)) {
        Some(missing) => bail!("its index of weights names {missing}, which it does not have"),
        None => Ok(shards.into_iter().collect()),
    }
}

/// Whether a folder has all that a model needs.
pub(super) fn is_whole_model(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let tokenizer = has("tokenizer.json") || (has("vocab.json") && has("merges.txt"));
    let weights = gptneo_model::checkpoint::weight_files(folder);
    has("config.json") && tokenizer && weights.is_ok_and(|files| files.iter().all(|file| file.is_file()))
}

/// The one data file among `all`: the only one, or the only one of a training split.
///
/// # Errors
/// There is none, or it is not clear which one is meant. `how` tells how to name one.
pub(super) fn only_data_file(all: &BTreeSet<String>, how: &str) -> Result<String> {
    let found: Vec<&String> = all.iter().filter(|path| is_records(path)).collect();
    let training: Vec<&String> = found.iter().copied().filter(|path| is_training_split(path)).collect();
    match (found.as_slice(), training.as_slice()) {
        ([], _) => bail!("it has no data file ({}); it has {}", RECORDS.join(", "), listed(all)),
        ([only], _) | (_, [only]) => Ok((*only).clone()),
        _ => bail!(
            "it has {} data files, and it is not clear which one is meant: {}; say {how}",
            found.len(),
            found.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The one data file of a local folder, by the same rule.
///
/// # Errors
/// As [`only_data_file`]; or the folder cannot be read.
pub(super) fn only_data_file_of_folder(folder: &Path) -> Result<PathBuf> {
    let all = paths_under(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let file = only_data_file(&all, "which file with its path")
        .with_context(|| format!("cannot take data from the folder {}", folder.display()))?;
    notes::say(format_args!("data: {file} of the folder {}", folder.display()));
    Ok(folder.join(file))
}

/// The files under a folder, hidden ones left out, as paths from it with `/` between the parts.
pub(super) fn paths_under(folder: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let mut waiting = vec![String::new()];
    while let Some(inside) = waiting.pop() {
        for entry in std::fs::read_dir(folder.join(&inside))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
            match folder.join(&path).metadata() {
                _ if name.starts_with('.') => {}
                Ok(metadata) if metadata.is_dir() => waiting.push(path),
                Ok(_) => _ = all.insert(path),
                // A link to nothing.
                Err(_) => {}
            }
        }
    }
    Ok(all)
}

fn is_records(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    !hidden && !DESCRIPTIONS.contains(&name.as_str()) && RECORDS.iter().any(|end| name.ends_with(end))
}

/// `train.json`, `train-00000-of-00001.parquet`, `train/cards.json`.
fn is_training_split(path: &str) -> bool {
    let path = path.to_lowercase();
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let named = name.strip_prefix("train").is_some_and(|rest| rest.starts_with(['.', '-', '_']));
    named || parts.next() == Some("train")
}

/// At most a dozen names: a message is for reading.
fn listed(all: &BTreeSet<String>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match all.len() {
        0 => "no files".to_string(),
        more if more > SHOWN => format!("{} and {} more files", names.join(", "), more - SHOWN),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_string()).collect()
    }

    #[test]
    fn the_best_files_of_a_model_are_taken_and_no_others() {
        let all = set(&[
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "merges.txt",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "vocab.json",
        ]);
        let (small, weights) = of_model(&all).unwrap();
        assert_eq!(
            (small, weights.as_str()),
            (vec!["config.json".into(), "tokenizer.json".into()], "model.safetensors")
        );
        let all = set(&["config.json", "merges.txt", "pytorch_model.bin", "vocab.json"]);
        assert_eq!(of_model(&all).unwrap().1, "pytorch_model.bin");
        for (missing, word) in
            [("config.json", "config.json"), ("vocab.json", "tokenizer"), ("pytorch_model.bin", "weights")]
        {
            let mut all = all.clone();
            all.remove(missing);
            assert!(of_model(&all).unwrap_err().to_string().contains(word));
        }
    }

    #[test]
    fn one_data_file_is_taken_and_of_many_the_training_split() {
        let choose = |names: &[&str]| only_data_file(&set(names), "OWNER/NAME:FILE");
        assert_eq!(choose(&["README.md", "dataset_infos.json", "a/cards.jsonl"]).unwrap(), "a/cards.jsonl");
        let splits = ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"];
        assert_eq!(choose(&splits).unwrap(), splits[1]);
        assert_eq!(choose(&["test/x.csv", "train/x.csv"]).unwrap(), "train/x.csv");
        let message = choose(&["train-1.json", "train-2.json", "trains.json"]).unwrap_err().to_string();
        assert!(
            message.contains("train-1.json, train-2.json, trains.json; say OWNER/NAME:FILE"),
            "{message}"
        );
        assert!(choose(&["README.md"]).unwrap_err().to_string().contains("README.md"));
    }

    #[test]
    fn an_index_names_files_that_are_there() {
        let index = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(index.path(), r#"{"weight_map": {"a": "1.safetensors", "b": "1.safetensors"}}"#)
            .unwrap();
        assert_eq!(shards(index.path(), &set(&["1.safetensors"])).unwrap(), ["1.safetensors"]);
        assert!(shards(index.path(), &set(&[])).unwrap_err().to_string().contains("1.safetensors"));
    }
}
