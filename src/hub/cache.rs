//! One repository's part of the cache, in the layout of Python's `huggingface_hub`.
//!
//! `KIND--OWNER--NAME/blobs/ETAG` are the files' contents, `snapshots/COMMIT/PATH` links to them, and
//! `refs/REVISION` holds the commit that a branch or tag meant when it was last looked up.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use gptneo_files::write_file;

use super::name::HubName;
use gptneo_lora::run::Kind;

/// One repository's folder in the cache.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The part of `root` that belongs to a repository. Nothing is made.
    pub(super) fn new(root: PathBuf, kind: Kind, name: &HubName) -> Self {
        let kind = match kind {
            Kind::Model => "models",
            Kind::Data => "datasets",
        };
        Self { folder: root.join(format!("{kind}--{}--{}", name.owner, name.name)) }
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with the files' contents.
    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// The folder with the files of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit that a revision meant when it was last looked up.
    pub(super) fn reference(&self, revision: &str) -> Option<String> {
        let commit = std::fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        super::name::is_commit(commit).then(|| commit.to_string())
    }

    /// Keeps which commit a revision means now. It is written last, so that it never points to half a snapshot.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn set_reference(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.folder.join("refs").join(revision);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(write_file(&path, |file| file.write_all(commit.as_bytes()))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn references_are_pythons() {
        let root = tempfile::tempdir().unwrap();
        let name = HubName::parse("me/cards", Kind::Data).unwrap();
        let cache = Cache::new(root.path().into(), Kind::Data, &name);
        assert_eq!(cache.reference("main"), None);
        let commit = "0123456789abcdef0123456789abcdef01234567";
        cache.set_reference("refs/pr/1", commit).unwrap();
        assert_eq!(cache.reference("refs/pr/1").as_deref(), Some(commit));
        let file = root.path().join("datasets--me--cards/refs/refs/pr/1");
        assert_eq!(std::fs::read_to_string(file).unwrap(), commit);
    }
}
