//! The data of a run or of a look at them: the names in the settings found, and the files put together by what they are
//! for. What is named for a part of its own wins over what a data set brings along for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gptneo_datasets::{
    BadRecords, DataError, DataFiles, DataOptions, Dataset, Leaks, Tokenizer, grouped, listed,
};

use super::source::{Found, Kind, Source, Sources};
use crate::settings::{DataSettings, Settings};
use crate::{Error, Problem, Remedy};

/// Data files that were found, and where they came from.
#[derive(Clone, Debug)]
pub struct FoundData {
    /// The files by what they are for.
    pub files: DataFiles,
    /// Where they came from; no model is among them.
    pub sources: Sources,
    /// Whether the data to test with were named, and not brought along.
    test_is_named: bool,
}

/// Data that were read.
#[derive(Debug)]
pub struct OpenedData {
    /// The examples and what is known of them.
    pub data: Dataset,
    /// What a person should know before they are trained on.
    pub warnings: Vec<Problem>,
}

impl FoundData {
    /// Looks for the data of `settings`. `find` turns a name into local files, see [`crate::run::Opening::read`];
    /// `before` is where an earlier start found them.
    ///
    /// # Errors
    /// No data are named, what `find` says, or it is not clear which files are meant.
    pub fn of<E: From<Error>>(
        settings: &DataSettings,
        before: &Sources,
        find: &mut impl FnMut(Kind, &Path, Option<&Source>) -> Result<Found, E>,
    ) -> Result<Self, E> {
        let mut look = |name: &Path, before: &Option<Source>| -> Result<(DataFiles, Option<Source>), E> {
            let found = find(Kind::Data, name, before.as_ref())?;
            Ok((found.data_files().map_err(Error::from)?, found.source))
        };
        let (mut files, data) = look(settings.file()?, &before.data)?;
        let mut sources = Sources { data, ..Sources::default() };
        if let Some(name) = &settings.validation_data {
            let (own, source) = look(name, &before.validation_data)?;
            files.validation = part(own, |files| &files.validation);
            sources.validation_data = source;
        }
        if let Some(name) = &settings.test_data {
            let (own, source) = look(name, &before.test_data)?;
            files.test = part(own, |files| &files.test);
            sources.test_data = source;
        }
        Ok(Self { files, sources, test_is_named: settings.test_data.is_some() })
    }

    /// Reads the files, tokenized and split.
    ///
    /// The test split of an exam often has no answers: where a data set brought it along, it is left out then.
    ///
    /// # Errors
    /// As [`Dataset::from_files`].
    pub fn read(&self, settings: &Settings, tokenizer: &Tokenizer) -> crate::Result<OpenedData> {
        let options = settings.data_options();
        let (data, unanswered) = match Dataset::from_files(&self.files, &options, tokenizer) {
            Err(DataError::BadRecords { path, bad, .. })
                if !self.test_is_named && bad.count == bad.records && self.files.test.contains(&path) =>
            {
                let files = DataFiles { test: Vec::new(), ..self.files.clone() };
                (Dataset::from_files(&files, &options, tokenizer)?, Some(unanswered(&bad)))
            }
            read => (read?, None),
        };
        let warnings =
            self.passed_over().into_iter().chain(unanswered).chain(warnings(&data, &options)).collect();
        Ok(OpenedData { data, warnings })
    }

    /// What a person should know of files that are not read.
    pub(crate) fn passed_over(&self) -> Option<Problem> {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names: BTreeSet<String> = self.files.passed_over.iter().map(name).collect();
        (!names.is_empty()).then(|| Problem {
            what: format!("as other files are named for training, these are not read: {}", listed(&names)),
            remedy: Remedy::say("to use them, name each for what it is: train, validation or test"),
        })
    }
}

/// The part of a data set that it is named for, where it has such a split; else all of it.
fn part(files: DataFiles, own: fn(&DataFiles) -> &Vec<PathBuf>) -> Vec<PathBuf> {
    match own(&files).is_empty() {
        true => files.training,
        false => own(&files).clone(),
    }
}

fn unanswered(bad: &BadRecords) -> Problem {
    let reason = bad.bad.first().map(|bad| bad.reason.as_str()).unwrap_or_default();
    let what =
        format!("none of the {} records to test with can be used ({reason}): they are left out", bad.records);
    Problem { what, remedy: Remedy::None }
}

/// What `data` have that a person should know.
fn warnings(data: &Dataset, options: &DataOptions) -> Vec<Problem> {
    let leaks = data.leaks.as_ref().filter(|leaks| !leaks.is_empty());
    let mut problems: Vec<Problem> = leaks.map(leaking).into_iter().collect();
    let fraction = options.validation_fraction;
    if fraction > 0.0 && data.split.validation.is_empty() {
        problems.push(Problem {
            what: format!(
                "validation_fraction {fraction} puts none of the {} records aside, and nothing is validated: the records \
                 of a question stay together",
                grouped(data.count)
            ),
            remedy: Remedy::Either(vec![
                Remedy::Raise("data.validation_fraction"),
                Remedy::Give("data.validation_data"),
            ]),
        });
    }
    if let Some(reading) = data.reading.as_ref().filter(|reading| reading.skipped > 0) {
        let what = format!("records that cannot be used are left out: {}", reading.reasons.join("; "));
        problems.push(Problem { what, remedy: Remedy::None });
    }
    problems
}

fn leaking(leaks: &Leaks) -> Problem {
    let remedy = Remedy::say("what is measured on them says little; take them out of the training data");
    Problem { what: leaks.to_string(), remedy }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_named_for_a_part_wins_over_what_the_data_bring_along() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["set/train.json", "set/validation.json", "set/test.json", "other/test.json", "own.json"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "[]").unwrap();
        }
        let path = |name: &str| Some(folder.path().join(name));
        let find = |settings: &DataSettings| {
            let found = FoundData::of(settings, &Sources::default(), &mut crate::run::local);
            found.map(|found: FoundData| found.files)
        };
        let set = DataSettings { path: path("set"), ..DataSettings::default() };
        let one = |name: &str| vec![path(name).unwrap()];
        let expected = DataFiles {
            training: one("set/train.json"),
            validation: one("set/validation.json"),
            test: one("set/test.json"),
            passed_over: Vec::new(),
        };
        assert_eq!(find(&set).unwrap(), expected);
        let own = DataSettings { validation_data: path("own.json"), test_data: path("other"), ..set };
        let expected = DataFiles { validation: one("own.json"), test: one("other/test.json"), ..expected };
        assert_eq!(find(&own).unwrap(), expected);
        assert!(find(&DataSettings::default()).is_err());
    }

    #[test]
    fn a_test_split_without_answers_is_left_out_unless_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let row = |cop: i32, number: i32| {
            format!(
                "{{\"question\":\"Q{number}?\",\"opa\":\"a\",\"opb\":\"b\",\"opc\":\"c\",\"opd\":\"d\",\"cop\":{cop}}}\n"
            )
        };
        std::fs::write(folder.path().join("train.jsonl"), (0..9).map(|n| row(1, n)).collect::<String>())
            .unwrap();
        let test = folder.path().join("test.jsonl");
        std::fs::write(&test, row(-1, 20)).unwrap();
        let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/window");
        let tokenizer = Tokenizer::from_folder(Path::new(tokenizer)).unwrap();
        let mut settings = Settings::default();
        settings.data.path = Some(folder.path().to_path_buf());
        let open = |settings: &Settings| {
            let found = FoundData::of(&settings.data, &Sources::default(), &mut crate::run::local)?;
            found.read(settings, &tokenizer)
        };
        let extra = folder.path().join("extra.jsonl");
        std::fs::write(&extra, row(1, 30)).unwrap();
        let told = open(&settings).unwrap().warnings;
        assert!(told[0].what.ends_with("not read: extra.jsonl"), "{told:?}");
        std::fs::remove_file(extra).unwrap();
        let opened = open(&settings).unwrap();
        assert!(opened.warnings[0].what.contains("`cop` is -1"), "{:?}", opened.warnings);
        assert_eq!((opened.data.training().len(), opened.data.test().len()), (8, 0));
        settings.data.test_data = Some(test);
        assert!(open(&settings).unwrap_err().to_string().contains("1 of 1 records cannot be used"));
    }
}
