//! Which files make a data set: one, several shards, a folder, and which of them are for what, as their names say.
//!
//! The rule is that of names alone, so that it serves a folder and a list of files that are not here yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::source::{FileFormat, SUPPORTED};

/// JSON that describes a data set instead of holding it.
const DESCRIPTIONS: [&str; 4] =
    ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"];

/// The files of a data set by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFiles {
    /// To learn from; to be split where the others are empty.
    pub training: Vec<PathBuf>,
    /// To measure on while learning.
    pub validation: Vec<PathBuf>,
    /// To measure on once, at the end.
    pub test: Vec<PathBuf>,
    /// Data files of no split, which are not read because others are of the training split.
    pub passed_over: Vec<PathBuf>,
}

impl DataFiles {
    /// One file of everything.
    pub fn one(path: impl Into<PathBuf>) -> Self {
        Self { training: vec![path.into()], ..Self::default() }
    }

    /// What `path` is: a file, or a folder of files, see [`DataFiles::choose`].
    ///
    /// # Errors
    /// The folder cannot be read, or as [`DataFiles::choose`].
    pub fn of(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Ok(Self::one(path));
        }
        let names = paths_under(path).map_err(DataError::io("read", path))?;
        let chosen = Self::choose(&names, Together::All)
            .map_err(|reason| DataError::Unclear { folder: path.to_path_buf(), reason })?;
        Ok(chosen.under(path))
    }

    /// The data files among `names`, paths with `/` between their parts.
    ///
    /// A name with the word train, validation (valid, val, dev) or test in its last part or in a folder before it is
    /// of that split. Where some are of the training split, files of no split are passed over. Several files of a
    /// split, `NAME-00000-of-00002` or all of one folder whose names are numbers, are one; other files go together
    /// where `together` says so.
    ///
    /// # Errors
    /// There is none, or it is not clear which one is meant; the message is for a sentence that begins with the place.
    pub fn choose(names: &BTreeSet<String>, together: Together) -> Result<Self, String> {
        let mut found: Vec<&String> = names.iter().filter(|name| is_records(name)).collect();
        if found.is_empty() && together == Together::All {
            found = names.iter().filter(|name| is_text(name)).collect();
        }
        if found.is_empty() {
            return Err(format!("it has no data file ({SUPPORTED}); it has {}", listed(names)));
        }
        let mut splits: BTreeMap<Split, Vec<&String>> = BTreeMap::new();
        for name in &found {
            splits.entry(Split::of(name)).or_default().push(name);
        }
        let mut take = |split| splits.remove(&split).unwrap_or_default();
        let [training, validation, test, rest] =
            [Split::Training, Split::Validation, Split::Test, Split::None].map(&mut take);
        let (training, passed_over) = match (training.is_empty(), rest.is_empty()) {
            (false, _) => (training, rest),
            (true, false) => (rest, Vec::new()),
            // Files of other splits alone are all there is.
            (true, true) => {
                let training = together_or_unclear(&found, &found, together)?;
                return Ok(Self { training, ..Self::default() });
            }
        };
        Ok(Self {
            training: together_or_unclear(&training, &found, together)?,
            validation: together_or_unclear(&validation, &found, together)?,
            test: together_or_unclear(&test, &found, together)?,
            passed_over: passed_over.into_iter().map(PathBuf::from).collect(),
        })
    }

    /// All that are read.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.training.iter().chain(&self.validation).chain(&self.test)
    }

    /// Those to measure a model on that learned from others: of the last split that there is.
    pub fn to_measure(&self) -> &[PathBuf] {
        let found = [&self.test, &self.validation].into_iter().find(|files| !files.is_empty());
        found.unwrap_or(&self.training)
    }

    /// Whether nothing of a list that was read too early seems to be missing: there is something to learn from, and all
    /// shards of a file are there.
    pub fn is_whole(&self) -> bool {
        let names = || self.training.iter().map(|path| path.to_string_lossy().replace('\\', "/"));
        let other = |name: String| matches!(Split::of(&name), Split::Validation | Split::Test);
        let shards = names().all(|name| match shards(&name) {
            Some(count) => names().filter(|other| family(other) == family(&name)).count() == count,
            None => true,
        });
        !self.training.is_empty() && !names().any(other) && shards
    }

    /// The same files in `folder`.
    #[must_use]
    pub fn under(self, folder: &Path) -> Self {
        let inside = |files: Vec<PathBuf>| files.into_iter().map(|file| folder.join(file)).collect();
        let Self { training, validation, test, passed_over } = self;
        Self {
            training: inside(training),
            validation: inside(validation),
            test: inside(test),
            passed_over: inside(passed_over),
        }
    }
}

/// Which files are read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Shards of one file: of others it has to be said which is meant.
    Shards,
    /// All files of a split.
    All,
}

/// What a file is for, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Split {
    Training,
    Validation,
    Test,
    None,
}

impl Split {
    /// By the last part of a path that says it.
    fn of(path: &str) -> Self {
        let lower = path.to_lowercase();
        let said = |part: &str| {
            part.split(|c: char| !c.is_alphabetic()).find_map(|word| match word {
                "train" | "training" => Some(Self::Training),
                "validation" | "valid" | "val" | "dev" => Some(Self::Validation),
                "test" | "testing" => Some(Self::Test),
                _ => None,
            })
        };
        lower.rsplit('/').find_map(said).unwrap_or(Self::None)
    }
}

/// The files of one split, where they go together.
fn together_or_unclear(
    split: &[&String],
    found: &[&String],
    together: Together,
) -> Result<Vec<PathBuf>, String> {
    let clear = match together {
        Together::All => one_format_each(split),
        Together::Shards => {
            split.len() < 2
                || split.iter().all(|path| family(path) == family(split[0]) && family(path).is_some())
        }
    };
    match clear {
        true => Ok(split.iter().map(PathBuf::from).collect()),
        false => Err(format!(
            "it has {} data files, and it is not clear which one is meant: {}",
            found.len(),
            found.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// What shards of one file have in common: all but their numbers. None for a file that is no shard.
fn family(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (stem, ending) = name.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(stem) {
        return Some(format!("{folder}/.{ending}"));
    }
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    (digits(count) && digits(number)).then(|| format!("{folder}/{name}-of-{count}.{ending}"))
}

/// How many shards a file's name says that there are.
fn shards(path: &str) -> Option<usize> {
    path.rsplit_once("-of-")?.1.split('.').next()?.parse().ok()
}

/// Whether no file stands there a second time in another format.
fn one_format_each(files: &[&String]) -> bool {
    let stem = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        format!("{folder}/{}", name.split('.').next().unwrap_or(name)).to_lowercase()
    };
    let stems: BTreeSet<String> = files.iter().map(|path| stem(path)).collect();
    stems.len() == files.len()
}

/// Whether a file's name says that it holds records.
fn is_records(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    let format = FileFormat::of(Path::new(&name));
    !hidden
        && !DESCRIPTIONS.contains(&name.as_str())
        && format.is_some_and(|format| format != FileFormat::Text)
}

/// Whether a file's name says that it holds text that is meant to be learned.
fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let about = ["readme", "license", "licence", "requirements"].iter().any(|word| name.starts_with(word));
    !path.split('/').any(|part| part.starts_with('.'))
        && !about
        && FileFormat::of(Path::new(&name)) == Some(FileFormat::Text)
}

/// The files under a folder, hidden ones left out, as paths from it with `/` between the parts.
///
/// # Errors
/// A folder cannot be read.
pub fn paths_under(folder: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let mut waiting = vec![String::new()];
    while let Some(inside) = waiting.pop() {
        for entry in std::fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
            match folder.join(&path).metadata() {
                _ if name.starts_with('.') => {}
                // A link to a folder may lead back.
                Ok(metadata) if metadata.is_dir() && entry.file_type()?.is_symlink() => {}
                Ok(metadata) if metadata.is_dir() => waiting.push(path),
                Ok(_) => _ = all.insert(path),
                // A link to nothing, or a name that is not UTF-8: to leave it out would be to read half of a folder.
                Err(error) => {
                    return Err(std::io::Error::new(
                        error.kind(),
                        format!("{path} in it cannot be read: {error}"),
                    ));
                }
            }
        }
    }
    Ok(all)
}

/// At most a dozen names: a message is for reading.
pub fn listed(all: &BTreeSet<String>) -> String {
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

    fn choose(names: &[&str], together: Together) -> Result<DataFiles, String> {
        DataFiles::choose(&names.iter().map(|name| (*name).to_string()).collect(), together)
    }

    fn files(training: &[&str], validation: &[&str], test: &[&str]) -> DataFiles {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        DataFiles {
            training: paths(training),
            validation: paths(validation),
            test: paths(test),
            passed_over: Vec::new(),
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_read_whole_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.jsonl"), "{}").unwrap();
        assert_eq!(paths_under(folder.path()).unwrap().len(), 1);
        std::os::unix::fs::symlink("nowhere", folder.path().join("train-2.jsonl")).unwrap();
        let said = paths_under(folder.path()).unwrap_err().to_string();
        assert!(said.contains("train-2.jsonl in it cannot be read"), "{said}");
    }

    #[test]
    fn files_of_no_split_beside_a_training_split_are_named() {
        let found = choose(&["train.jsonl", "extra.jsonl", "README.md"], Together::All).unwrap();
        let expected =
            DataFiles { passed_over: vec!["extra.jsonl".into()], ..files(&["train.jsonl"], &[], &[]) };
        assert_eq!(found, expected);
        let under = found.under(Path::new("set"));
        assert_eq!(under.passed_over, [PathBuf::from("set/extra.jsonl")]);
    }

    #[test]
    fn splits_are_taken_by_their_names_and_shards_as_one() {
        let shards = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];
        let rest =
            ["data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet", "README.md"];
        for together in [Together::Shards, Together::All] {
            let found = choose(&[&shards[..], &rest].concat(), together).unwrap();
            assert_eq!(found, files(&shards, &rest[..1], &rest[1..2]));
            assert_eq!(found.to_measure(), [PathBuf::from(rest[1])]);
            assert!(found.is_whole());
            assert!(!choose(&[shards[1]], together).unwrap().is_whole());
            assert!(!choose(&rest[1..2], together).unwrap().is_whole());
            let found =
                choose(&["default/train/0000.parquet", "default/train/0001.parquet"], together).unwrap();
            assert_eq!(found.training.len(), 2);
            assert_eq!(
                choose(&["cards.test.json"], together).unwrap(),
                files(&["cards.test.json"], &[], &[])
            );
            let found = choose(&["cards.jsonl.zst", "cards_val.tsv"], together).unwrap();
            assert_eq!(found, files(&["cards.jsonl.zst"], &["cards_val.tsv"], &[]));
        }
        let configurations =
            ["pqa_artificial/train-00000-of-00001.parquet", "pqa_labeled/train-00000-of-00001.parquet"];
        assert!(choose(&configurations, Together::Shards).unwrap_err().contains("pqa_labeled/"));
    }

    #[test]
    fn a_folder_of_files_is_one_data_set_and_no_file_is_read_twice() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.csv", "sub/c.tsv", ".hidden.json", "dataset_info.json", "notes.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let all = ["a.csv", "b.json", "sub/c.tsv"].map(|name| folder.path().join(name)).to_vec();
        assert_eq!(DataFiles::of(folder.path()).unwrap().training, all);
        assert!(choose(&["a.csv", "a.json"], Together::All).unwrap_err().contains("not clear"));
        assert_eq!(choose(&["README.txt", "b.txt", "a.txt.gz"], Together::All).unwrap().training.len(), 2);
        assert!(choose(&["README.md"], Together::All).unwrap_err().contains("README.md"));
    }
}
