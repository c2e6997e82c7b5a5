//! The Hugging Face Hub: a name such as `owner/name` becomes local files, and a run's files become a repository.
//!
//! [`find`] is the one place where a name that a user gave turns into a path. Files go into the cache that Python's
//! `huggingface_hub` uses, in its layout, so that neither downloads what the other has.

mod bars;
mod cache;
mod client;
mod download;
mod errors;
mod files;
mod name;
mod upload;

use std::path::{Path, PathBuf};

use anyhow::Result;
use gptneo_datasets::DataFiles;
use gptneo_lora::run::{Found, Kind, Source, refuse_embedded};

use self::client::Repository;
pub(crate) use self::client::{endpoint, token};
pub(crate) use self::name::HubName;
pub(crate) use self::upload::{Content, State, Upload, state, upload};
use crate::terminal::failure::Misuse;

/// The local files that `name` means.
///
/// What exists on disk wins; a folder of data is all of its files. Anything else of the form `owner/name[@revision]`,
/// for data with `:file` or `:folder` after it, is looked up on the Hub. Other names stay as they are,
/// for the reader to refuse. `before` is where an earlier start of the same run found its files: the same name then
/// means the same commit.
///
/// # Errors
/// It is the name of something embedded, which a run has to unpack; the Hub does not have it, does not give it or
/// cannot be reached; a file does not arrive as announced; it is not
/// clear which data file is meant.
pub(crate) fn find(kind: Kind, name: &Path, before: Option<&Source>) -> Result<Found> {
    if kind == Kind::Data && name.is_dir() {
        let files = files::data_files_of_folder(name)?;
        return Ok(Found { files: Some(files), ..Found::local(name) });
    }
    if name.exists() {
        return Ok(Found::local(name));
    }
    refuse_embedded(name)?;
    match name.to_str().and_then(|text| HubName::parse(text, kind)) {
        Some(name) => on_the_hub(kind, name, before),
        None => Ok(Found::local(name)),
    }
}

/// The folder of the model that `name` means, see [`find`].
///
/// # Errors
/// As [`find`].
pub(crate) fn model(name: &Path) -> Result<PathBuf> {
    Ok(find(Kind::Model, name, None)?.path)
}

/// The data files that `name` means, see [`find`].
///
/// # Errors
/// As [`find`]; or it is not clear which are meant.
pub(crate) fn data(name: &Path) -> Result<DataFiles> {
    Ok(find(Kind::Data, name, None)?.data_files()?)
}

fn on_the_hub(kind: Kind, mut name: HubName, before: Option<&Source>) -> Result<Found> {
    let before =
        before.filter(|source| source.repository == name.repository() && source.revision == name.revision());
    if name.file.is_none() {
        name.file = before.and_then(|source| source.file.clone());
    }
    name.files = before.map(|source| source.files.clone()).unwrap_or_default();
    let repository = Repository::open(kind, name)?;
    let snapshot = match before {
        Some(source) => download::snapshot_of(&repository, &source.commit)?,
        None => download::snapshot(&repository)?,
    };
    let names = |files: &DataFiles| files.all().map(|file| file.to_string_lossy().into_owned()).collect();
    let mut all: Vec<String> = snapshot.files.as_ref().map(names).unwrap_or_default();
    let file = if all.len() == 1 { all.pop() } else { None };
    let source = Source {
        repository: repository.name.repository(),
        revision: repository.name.revision().to_string(),
        commit: snapshot.commit,
        file,
        files: all,
    };
    let files = snapshot.files.map(|files| files.under(&snapshot.folder));
    Ok(Found { path: snapshot.folder, files, source: Some(source) })
}

/// The model repository that `text` names, for publishing: no revision and no file.
///
/// # Errors
/// It is not of the form `owner/name`.
pub(crate) fn target(text: &str) -> Result<HubName> {
    HubName::parse(text, Kind::Model).filter(|name| name.asked_revision.is_none()).ok_or_else(|| {
        Misuse::error(format!(
            "{text} is not the name of a repository: expected OWNER/NAME, letters, digits, '-', '_' and '.'"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_exists_wins_and_what_is_no_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cards.json");
        std::fs::write(&file, "[]").unwrap();
        assert_eq!(model(folder.path()).unwrap(), folder.path());
        assert_eq!(data(&file).unwrap(), DataFiles::one(&file));
        assert_eq!(data(folder.path()).unwrap(), DataFiles::one(&file));
        for text in ["no-such-folder", "runs/none/merged", "data/none.json"] {
            let found = find(Kind::Data, Path::new(text), None).unwrap();
            assert_eq!((found.path.as_path(), found.source), (Path::new(text), None));
        }
        let refused = model(Path::new("embedded:small-medical")).unwrap_err().to_string();
        assert!(refused.contains("RUN/base"), "{refused}");
    }

    #[test]
    fn a_target_is_a_name_alone() {
        assert_eq!(target("me/cards").unwrap().repository(), "me/cards");
        for text in ["cards", "me/cards@main", "me/cards/x", ""] {
            assert!(target(text).is_err(), "{text}");
        }
    }
}
