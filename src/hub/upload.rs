//! Files to a model repository on the Hub, in one commit.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hf_hub::HFError;
use hf_hub::RepoTypeModel;
use hf_hub::repository::CommitOperation;

use super::bars::Transfer;
use super::client::{client, endpoint};
use super::errors;
use super::name::HubName;

/// Whether a repository is there, and who sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none yet.
    Absent,
    /// Everybody sees it.
    Public,
    /// Its owner alone.
    Private,
}

/// What is published where.
pub(crate) struct Upload<'a> {
    pub(crate) target: &'a HubName,
    /// Whether a repository that is made is private.
    pub(crate) private: bool,
    /// The files, by their paths in the repository.
    pub(crate) files: &'a [(String, Content)],
    /// What the commit is called.
    pub(crate) title: &'a str,
}

/// A file's content.
pub(crate) enum Content {
    /// A file on disk.
    File(PathBuf),
    /// A text.
    Text(String),
}

impl Content {
    /// Its size in bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn size(&self) -> Result<u64> {
        match self {
            Self::Text(text) => Ok(text.len() as u64),
            Self::File(path) => {
                Ok(path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len())
            }
        }
    }
}

/// How a repository stands.
///
/// # Errors
/// The Hub cannot be reached or refuses the token.
pub(crate) fn state(target: &HubName) -> Result<State> {
    match client()?.model(&target.owner, &target.name).info().send() {
        Ok(info) if info.private == Some(true) => Ok(State::Private),
        Ok(_) => Ok(State::Public),
        Err(HFError::RepoNotFound { .. }) => Ok(State::Absent),
        Err(error) => Err(errors::explain_upload(&error, &page(target))),
    }
}

/// Makes the repository if there is none, and puts all files into it in one commit. Returns its address.
///
/// # Errors
/// The Hub cannot be reached or refuses; nothing is published then, though an empty repository may be left.
pub(crate) fn upload(upload: &Upload<'_>) -> Result<String> {
    let Upload { target, private, files, title } = upload;
    let (client, page) = (client()?, page(target));
    let failed = |error: HFError| errors::explain_upload(&error, &page);
    let repository = target.repository();
    client
        .create_repository()
        .repo_id(&repository)
        .repo_type(RepoTypeModel)
        .private(*private)
        .exist_ok(true)
        .send()
        .map_err(failed)?;
    let mut size = 0;
    let mut operations = Vec::new();
    for (path, content) in files.iter() {
        size += content.size()?;
        operations.push(match content {
            Content::File(file) => CommitOperation::add_file(path, file),
            Content::Text(text) => CommitOperation::add_bytes(path, text.clone()),
        });
    }
    let transfer = Transfer::new(repository, size);
    client
        .model(&target.owner, &target.name)
        .create_commit()
        .operations(operations)
        .commit_message(*title)
        .progress(transfer.handler())
        .send()
        .map_err(failed)?;
    transfer.done("uploaded");
    Ok(page)
}

fn page(target: &HubName) -> String {
    format!("{}/{}", endpoint(), target.repository())
}
