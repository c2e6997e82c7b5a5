//! What all trials of a sweep share: the base, the records that they learn from and are measured on, and those that are
//! put aside until the end.

use std::io::Write;
use std::path::{Path, PathBuf};

use gptneo_datasets::{Columns, DataFiles, DataOptions, Dataset, Record, read_data, split_by_question};
use gptneo_files::{FileError, write_file};

use super::plan::Plan;
use crate::run::embedded::unpacked_into;
use crate::run::folder::RunFolder;
use crate::run::model_folder::ModelFolder;
use crate::run::source::{Found, Kind, Source};
use crate::settings::Settings;
use crate::{Error, Remedy, Result};

/// Local files, found once.
pub(super) struct Inputs {
    pub(super) model: PathBuf,
    /// What the trials learn from and are chosen by.
    pub(super) search: PathBuf,
    /// What is measured once.
    pub(super) test: PathBuf,
    /// How the file of the search is read.
    pub(super) search_options: DataOptions,
    /// How the file of the test is read.
    pub(super) test_options: DataOptions,
    /// How many examples there are to learn from.
    pub(super) examples: usize,
}

impl Inputs {
    /// Finds the base and the data, and puts the test's records aside in `folder`.
    ///
    /// # Errors
    /// What `find` says, or data that cannot be read or parted.
    pub(super) fn find<E: From<Error>>(
        plan: &Plan,
        folder: &Path,
        mut find: impl FnMut(Kind, &Path, Option<&Source>) -> Result<Found, E>,
    ) -> Result<Self, E> {
        let Plan { settings, halving, .. } = plan;
        let names = (settings.model.folder()?, settings.data.file()?);
        let (model, data) = unpacked_into(&RunFolder::at(folder), names.0, names.1)?;
        let model = find(Kind::Model, &model, None)?.path;
        let data = find(Kind::Data, &data, None)?.path;
        let test = match &halving.test_data {
            Some(name) => Some(find(Kind::Data, name, None)?.path),
            None => None,
        };
        Ok(Self::settle(plan, folder, model, data, test)?)
    }

    fn settle(
        plan: &Plan,
        folder: &Path,
        model: PathBuf,
        data: PathBuf,
        test: Option<PathBuf>,
    ) -> Result<Self> {
        let base = ModelFolder::open(model.clone())?;
        let mut of_file = plan.settings.data.clone();
        of_file.resolve_length(Some(base.config().max_position_embeddings))?;
        let seed = plan.settings.data_options().seed;
        let given = DataOptions { seed, ..of_file.options };
        let (search, test, options) = match test {
            Some(test) => (data, test, given.clone()),
            None => {
                let (search, test) = put_aside(&data, &given, plan.halving.test_fraction, folder)?;
                (search, test, with_usual_columns(&given))
            }
        };
        let examples = Dataset::from_file(&search, &options, base.tokenizer())?;
        if examples.validation().is_empty() {
            return Err(Error::settings(
                format!(
                    "a sweep chooses by records that no trial learns from, but none is left for that \
                     (validation_fraction is {})",
                    options.validation_fraction
                ),
                Remedy::Raise("data.validation_fraction"),
            ));
        }
        let count = examples.training().len();
        Ok(Self {
            model,
            search,
            test,
            test_options: options.clone(),
            search_options: options,
            examples: count,
        })
    }

    /// The same after the folder `from` has become `to`.
    pub(super) fn moved(mut self, from: &Path, to: &Path) -> Self {
        for path in [&mut self.model, &mut self.search, &mut self.test] {
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
        settings.data.path = Some(self.search.clone());
        settings.data.options = self.search_options.clone();
        settings
    }
}

/// Parts the records by question and writes both parts into `folder`: the file of the search, and that of the test.
fn put_aside(data: &Path, options: &DataOptions, fraction: f64, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let read = read_data(&DataFiles::of(data)?.training, options)?;
    let records = read.records;
    let kind = match records.iter().any(|record| !record.further.is_empty()) {
        _ if !read.documents.is_empty() => Some("plain text"),
        true => Some("conversations"),
        false => None,
    };
    if let Some(kind) = kind {
        return Err(Error::settings(
            format!("{} holds {kind}, of which no records can be put aside to measure on", data.display()),
            Remedy::say("name a file for that as test_data under [sweep]"),
        ));
    }
    let questions: Vec<&str> = records.iter().map(|record| record.input.as_str()).collect();
    let split = split_by_question(&questions, fraction, options.seed)?;
    if split.validation.is_empty() {
        return Err(Error::settings(
            format!("of {} records, test_fraction {fraction} puts none aside to measure on", records.len()),
            Remedy::say("raise test_fraction under [sweep]"),
        ));
    }
    let parts = folder.join("parts");
    std::fs::create_dir_all(&parts).map_err(FileError::on("create the folder", &parts))?;
    let write = |name: &str, indices: &[usize]| -> Result<PathBuf> {
        let path = parts.join(name);
        let part: Vec<&Record> = indices.iter().map(|&index| &records[index]).collect();
        let text = serde_json::to_string(&part).unwrap_or_default();
        write_file(&path, |file| file.write_all(text.as_bytes()))?;
        Ok(path)
    };
    Ok((write("search.json", &split.train)?, write("test.json", &split.validation)?))
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
