//! Which files of a repository or a folder are needed: a model's, and those of a data set.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use gptneo_datasets::{DataFiles, PROMPT_TEMPLATE_FILE, Together, listed};
use gptneo_files::read_small_text;
use serde::Deserialize;

use crate::terminal::notes;

/// The files with weights, the best format first, as the model's reader prefers them.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
];

/// What a model is used with beside its weights and its vocabulary, and what a model made from it keeps.
const OPTIONAL: [&str; 8] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    PROMPT_TEMPLATE_FILE,
    "LICENSE",
];

/// Whether a file's name says that it holds data.
pub(super) fn has_data_format(name: &str) -> bool {
    gptneo_datasets::is_data(Path::new(name))
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
    let text = read_small_text(index).with_context(|| format!("cannot read {}", index.display()))?;
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

/// The data files among `all`, or among those under the folder that is `named`, by what they are for; see
/// [`DataFiles::choose`].
///
/// # Errors
/// There is none, or it is not clear which one is meant. `how` tells how to name one.
pub(super) fn data_files(all: &BTreeSet<String>, named: Option<&str>, how: &str) -> Result<DataFiles> {
    let under = |path: &&String| match named {
        Some(folder) => {
            path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        }
        None => true,
    };
    let chosen = all.iter().filter(under).cloned().collect();
    DataFiles::choose(&chosen, Together::Shards).map_err(|reason| match reason.contains("not clear") {
        true => anyhow!("{reason}; say {how}"),
        false => anyhow!(reason),
    })
}

/// The data files of a local folder.
///
/// # Errors
/// It cannot be read, it has none, or a file stands there twice.
pub(super) fn data_files_of_folder(folder: &Path) -> Result<DataFiles> {
    let files = DataFiles::of(folder)?;
    let shown = match &files.all().collect::<Vec<_>>()[..] {
        [file] => file.strip_prefix(folder).unwrap_or(file).display().to_string(),
        files => format!("{} files", files.len()),
    };
    notes::say(format_args!("data: {shown} of the folder {}", folder.display()));
    Ok(files)
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
            "prompt_template.txt",
            "pytorch_model.bin",
            "tokenizer.json",
            "vocab.json",
        ]);
        let (small, weights) = of_model(&all).unwrap();
        assert_eq!(
            (small, weights.as_str()),
            (
                vec!["config.json".into(), "tokenizer.json".into(), "prompt_template.txt".into()],
                "model.safetensors"
            )
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
        let choose = |names: &[&str]| data_files(&set(names), None, "OWNER/NAME:FILE");
        let training = |names: &[&str]| choose(names).unwrap().training;
        let path = |name: &str| vec![std::path::PathBuf::from(name)];
        assert_eq!(training(&["README.md", "dataset_infos.json", "a/cards.jsonl"]), path("a/cards.jsonl"));
        let splits = ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"];
        assert_eq!(training(&splits), path(splits[1]));
        assert_eq!(choose(&splits).unwrap().test, path(splits[0]));
        assert_eq!(training(&["test/x.csv", "train/x.csv"]), path("train/x.csv"));
        let configurations = set(&["a/train.csv", "ab/train.csv"]);
        assert_eq!(data_files(&configurations, Some("a"), "").unwrap().training, path("a/train.csv"));
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
