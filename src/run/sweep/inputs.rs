//! What all trials of a sweep share: the base, the records that they learn from and are measured on, and those that are
//! put aside until the end.

use std::io::Write;
use std::path::{Path, PathBuf};

use gptneo_datasets::{Columns, DataFiles, DataOptions, Dataset, Record, read_data, split_by_question};
use gptneo_files::{FileError, write_file};

use super::plan::{Plan, trial_folder};
use crate::run::data::FoundData;
use crate::run::embedded::unpacked_into;
use crate::run::folder::RunFolder;
use crate::run::model_folder::ModelFolder;
use crate::run::source::{Found, Kind, Source, Sources};
use crate::settings::{DataSettings, Settings};
use crate::{Error, Problem, Remedy, Result};

/// Local files, found once.
pub(super) struct Inputs {
    pub(super) model: PathBuf,
    /// What the trials learn from, and what they are chosen by where it is no data set of its own.
    data: Found,
    /// What they are chosen by, where it was named apart.
    validation: Option<Found>,
    /// What is measured once.
    pub(super) test: Vec<PathBuf>,
    /// How all of them are read.
    pub(super) options: DataOptions,
    /// How many examples there are to learn from.
    pub(super) examples: usize,
    /// What a person should know of the data.
    pub(super) warnings: Vec<Problem>,
}

impl Inputs {
    /// Finds the base and the data, and puts the test's records aside in `folder` where none are given.
    ///
    /// # Errors
    /// What `find` says, or data that cannot be read or parted.
    pub(super) fn find<E: From<Error>>(
        plan: &Plan,
        folder: &Path,
        mut find: impl FnMut(Kind, &Path, Option<&Source>) -> Result<Found, E>,
    ) -> Result<Self, E> {
        let settings = &plan.settings;
        let names = (settings.model.folder()?, settings.data.file()?);
        let (model, data) = unpacked_into(&RunFolder::at(folder), names.0, names.1)?;
        let model = find(Kind::Model, &model, None)?.path;
        let named = DataSettings { path: Some(data), ..settings.data.clone() };
        let found = FoundData::of(&named, &Sources::default(), &mut find)?;
        Ok(Self::settle(plan, folder, model, named, found)?)
    }

    fn settle(
        plan: &Plan,
        folder: &Path,
        model: PathBuf,
        mut named: DataSettings,
        found: FoundData,
    ) -> Result<Self> {
        let base = ModelFolder::open(model.clone())?;
        named.resolve_length(Some(base.config().max_position_embeddings))?;
        let settings = Settings { data: named, ..plan.settings.clone() };
        let given = settings.data_options();
        let mut warnings: Vec<Problem> = found.passed_over().into_iter().collect();
        if !found.files.test.is_empty() {
            let opened = found.read(&settings, base.tokenizer())?;
            warnings = opened.warnings;
            // A test split without answers is no test.
            if !opened.data.split.test.is_empty() {
                let parts = folder.join("parts");
                if parts.is_dir() {
                    return Err(other_data(&parts));
                }
                let (data, validation) = apart(&settings.data, &found);
                let examples = to_learn_from(&opened.data, &given)?;
                let test = found.files.test;
                return Ok(Self { model, data, validation, test, options: given, examples, warnings });
            }
        }
        let (files, test) = put_aside(&found.files, &given, plan.halving.test_fraction, folder)?;
        let options = with_usual_columns(&given);
        let examples = to_learn_from(&Dataset::from_files(&files, &options, base.tokenizer())?, &options)?;
        let local = |files: Vec<PathBuf>| {
            let files = DataFiles { training: files, ..DataFiles::default() };
            files.training.first().cloned().map(|path| Found { path, files: Some(files), source: None })
        };
        let validation = local(files.validation);
        let data = local(files.training).unwrap_or_else(|| Found::local(folder));
        Ok(Self { model, data, validation, test: vec![test], options, examples, warnings })
    }

    /// The same after the folder `from` has become `to`.
    pub(super) fn moved(mut self, from: &Path, to: &Path) -> Self {
        let mut paths: Vec<&mut PathBuf> = vec![&mut self.model];
        paths.extend(&mut self.test);
        for found in self.validation.iter_mut().chain([&mut self.data]) {
            paths.push(&mut found.path);
            let files = found.files.iter_mut();
            paths.extend(files.flat_map(|DataFiles { training, validation, test, .. }| {
                training.iter_mut().chain(validation).chain(test)
            }));
        }
        for path in paths {
            if let Ok(below) = path.strip_prefix(from) {
                *path = to.join(below);
            }
        }
        self
    }

    /// The settings of a trial on these files.
    pub(super) fn settings(&self, trial: &Settings) -> Settings {
        let mut settings = trial.clone();
        settings.model.path = Some(self.model.clone());
        settings.data.path = Some(self.data.path.clone());
        settings.data.validation_data = self.validation.as_ref().map(|found| found.path.clone());
        // No trial sees it.
        settings.data.test_data = None;
        settings.data.options = self.options.clone();
        settings
    }

    /// What the names in a trial's settings stand for.
    pub(super) fn found(&self, name: &Path) -> Found {
        let known = self.validation.iter().chain([&self.data]).find(|found| found.path == name);
        known.cloned().unwrap_or_else(|| Found::local(name))
    }
}

/// What a trial learns from and what it is chosen by, without what is tested with.
fn apart(named: &DataSettings, FoundData { files, sources, .. }: &FoundData) -> (Found, Option<Found>) {
    let validation = named.validation_data.as_ref().map(|name| Found {
        path: name.clone(),
        files: Some(DataFiles { training: files.validation.clone(), ..DataFiles::default() }),
        source: sources.validation_data.clone(),
    });
    let brought = if validation.is_some() { Vec::new() } else { files.validation.clone() };
    let data = Found {
        path: named.path.clone().unwrap_or_default(),
        files: Some(DataFiles {
            training: files.training.clone(),
            validation: brought,
            ..DataFiles::default()
        }),
        source: sources.data.clone(),
    };
    (data, validation)
}

/// How many examples the trials learn from.
///
/// # Errors
/// None is left to choose them by.
fn to_learn_from(data: &Dataset, options: &DataOptions) -> Result<usize> {
    match data.validation().is_empty() {
        false => Ok(data.training().len()),
        true => Err(Error::settings(
            format!(
                "a sweep chooses by records that no trial learns from, but none is left for that \
                 (validation_fraction is {})",
                options.validation_fraction
            ),
            Remedy::Either(vec![
                Remedy::Raise("data.validation_fraction"),
                Remedy::Give("data.validation_data"),
            ]),
        )),
    }
}

/// Parts the records to learn from by question and writes the parts into `folder`: the files of the search, with a copy
/// of those to validate with where there are such, and that of the test. Parts that stand there stay.
///
/// # Errors
/// The parts that stand are not those of the data: trials learned from them, and what they would be measured on may have
/// been among what they saw.
fn put_aside(
    files: &DataFiles,
    options: &DataOptions,
    fraction: f64,
    folder: &Path,
) -> Result<(DataFiles, PathBuf)> {
    let records = records(&files.training, options)?;
    let questions: Vec<&str> = records.iter().map(|record| record.input.as_str()).collect();
    let split = split_by_question(&questions, fraction, options.seed)?;
    if split.validation.is_empty() {
        return Err(Error::settings(
            format!("of {} records, test_fraction {fraction} puts none aside to measure on", records.len()),
            Remedy::say("raise test_fraction under [sweep]"),
        ));
    }
    let parts = folder.join("parts");
    let text = |part: Vec<&Record>| serde_json::to_string(&part).unwrap_or_default();
    let of = |indices: &[usize]| text(indices.iter().map(|&index| &records[index]).collect());
    let validation = match files.validation.as_slice() {
        [] => None,
        files => Some(text(self::records(files, options)?.iter().collect())),
    };
    let [search, validate, test] =
        ["search.json", "validation.json", "test.json"].map(|name| parts.join(name));
    let wanted =
        [(&search, Some(of(&split.train))), (&validate, validation), (&test, Some(of(&split.validation)))];
    let begun = parts.is_dir();
    if !begun && trial_folder(folder, 1).exists() {
        return Err(other_data(&parts));
    }
    for (path, text) in &wanted {
        if begun && !stands(path, text.as_deref())? {
            return Err(other_data(path));
        }
    }
    if !begun {
        std::fs::create_dir_all(&parts).map_err(FileError::on("create the folder", &parts))?;
        for (path, text) in &wanted {
            if let Some(text) = text {
                write_file(path, |file| file.write_all(text.as_bytes()))?;
            }
        }
    }
    let validation = if validate.is_file() { vec![validate] } else { Vec::new() };
    Ok((DataFiles { training: vec![search], validation, ..DataFiles::default() }, test))
}

/// Whether a part is there as it would be written, or is not there where there is none.
fn stands(path: &Path, text: Option<&str>) -> Result<bool> {
    let found = match path.is_file() {
        true => Some(std::fs::read(path).map_err(FileError::on("read", path))?),
        false => None,
    };
    Ok(found.as_deref() == text.map(str::as_bytes))
}

fn other_data(part: &Path) -> Error {
    Error::settings(
        format!(
            "the data are not parted as they were when the sweep began ({}): a data file was changed, and trials could \
             be measured on records that they learned from",
            part.display()
        ),
        Remedy::Either(vec![
            Remedy::say("put the data back as they were"),
            Remedy::say("start a new sweep in another folder"),
        ]),
    )
}

/// Records that can be written anew, each by itself.
fn records(files: &[PathBuf], options: &DataOptions) -> Result<Vec<Record>> {
    let read = read_data(files, options)?;
    let kind = match read.records.iter().any(|record| !record.further.is_empty()) {
        _ if !read.documents.is_empty() => Some("plain text"),
        true => Some("conversations"),
        false => None,
    };
    match (kind, files.first()) {
        (Some(kind), Some(first)) => Err(Error::settings(
            format!("{} holds {kind}, of which no records can be put aside to measure on", first.display()),
            Remedy::Either(vec![Remedy::Give("data.test_data")]),
        )),
        _ => Ok(read.records),
    }
}

/// The options for a file whose records are written as this program writes them.
fn with_usual_columns(options: &DataOptions) -> DataOptions {
    let Columns { instruction, input, output } = Columns::default();
    DataOptions {
        format: None,
        instruction_column: instruction,
        question_column: input,
        answer_column: output,
        ..options.clone()
    }
}
